"""How the screen keeps up: publish to visible, frames and memory while the bus is busy, in headless Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings

from bus.config import Config
from bus.publisher import Publisher
from dashboard.bench.report import Report, Table
from dashboard.headless import browser, dashboard, environment, sign_in, wait

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOPIC: Final = "orders"
RATES: Final = (100, 5_000)
BUSY_RATE: Final = 10_000
MEMORY_RATE: Final = 1_000
TICK_SECONDS: Final = 0.02
TRACES: Final = "dashboard.bench.screen_trace"
LONG_FRAME_MS: Final = 50
# Times are those of the entries, by the server's clock, which is this machine's. Visible: after the paint.
WATCH: Final = """() => {
    window.bench = { delays: [], frames: [], last: performance.now() };
    const body = document.querySelector("live-tail tbody");
    new MutationObserver((changes) => {
        const added = changes.flatMap((change) => [...change.addedNodes]);
        const rows = added.filter((node) => node.matches?.("tr[data-row]"));
        const times = rows.map((row) => Number(row.querySelector("time").dataset.ms));
        requestAnimationFrame(() => setTimeout(() => {
            const now = performance.timeOrigin + performance.now();
            window.bench.delays.push(...times.map((ms) => now - ms));
        }));
    }).observe(body, { childList: true });
    const step = (now) => {
        window.bench.frames.push(now - window.bench.last);
        window.bench.last = now;
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
}"""
RESET: Final = "() => { window.bench.delays = []; window.bench.frames = []; }"
TAKE: Final = "() => ({ ...window.bench, note: document.querySelector('[data-tail-note]').textContent })"


def add_arguments(parser: ArgumentParser) -> None:
    """How long to look."""
    parser.add_argument("--seconds", type=float, default=60.0, help="of frames at 10,000 events/s (default 60)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of memory; 0: not at all (default 10)")
    parser.add_argument("--no-traces", action="store_true", help="without large traces")


def run(options: Mapping[str, Any]) -> Report:
    """Measure on a dashboard of its own."""
    with TemporaryDirectory(prefix="fanlight-bench-") as place, browser() as chromium:
        folder = Path(place)
        has_traces = not options["no_traces"] and find_spec(TRACES) is not None
        if has_traces:
            _fill(folder)
        with dashboard(folder, "up") as link:
            page, origin = sign_in(chromium, link)
            tables = [import_module(TRACES).traces(page, origin)] if has_traces else []  # soon removed: they are old
            tables += _measured(page, origin, folder, options)
    return Report("screen", tables, [_load(), "Browser, web, recorder, server and publisher share the machine."])


def _measured(page: Page, origin: str, folder: Path, options: Mapping[str, Any]) -> Iterator[Table]:
    publisher = Publisher(Config(data_folder=folder / "data"))
    publisher.publish(publisher.draft(TOPIC, "order_placed", {"number": 0}))
    wait(lambda: "yes" if page.request.get(f"{origin}/topics/{TOPIC}/").ok else "", "the topic's page")
    yield _delays(page, origin, publisher, options)
    yield _frames(page, publisher, options)
    if options["minutes"]:
        yield _memory(page, publisher, options["minutes"])
    publisher.close()


def _delays(page: Page, origin: str, publisher: Publisher, options: Mapping[str, Any]) -> Table:
    raw = []
    for rate in RATES:
        page.goto(f"{origin}/topics/{TOPIC}/")
        page.wait_for_function(_IS_LIVE)
        page.evaluate(WATCH)
        with _published(publisher, rate) as count:
            _pass(page, 3)
            page.evaluate(RESET)
            began, before = time.monotonic(), count()
            _pass(page, min(options["seconds"], 20))
            achieved = (count() - before) / (time.monotonic() - began)
            delays = sorted(page.evaluate(TAKE)["delays"])
        raw.append({"rate": rate, "achieved": achieved, "rows": len(delays), **_percentiles(delays)})
    columns = ("asked", "published", "rows measured", "p50", "p95")
    rows = [
        (f"{one['rate']:,}/s", f"{one['achieved']:,.0f}/s", f"{one['rows']:,}", _ms(one["p50_ms"]), _ms(one["p95_ms"]))
        for one in raw
    ]
    return Table("Publish → visible in the browser", columns, rows, raw)


def _frames(page: Page, publisher: Publisher, options: Mapping[str, Any]) -> Table:
    with _published(publisher, BUSY_RATE) as count:
        _pass(page, 2)
        page.evaluate(RESET)
        began, before = time.monotonic(), count()
        _pass(page, options["seconds"])
        achieved = (count() - before) / (time.monotonic() - began)
        seen = page.evaluate(TAKE)
    frames = sorted(seen["frames"])
    long = sum(frame > LONG_FRAME_MS for frame in frames)
    raw = {"asked": BUSY_RATE, "achieved": achieved, "frames": len(frames), "long": long, **_percentiles(frames)}
    share = long / max(len(frames), 1)
    row = (f"{achieved:,.0f}/s", f"{len(frames):,}", _ms(raw["p50_ms"]), _ms(raw["p95_ms"]), f"{share:.2%}")
    columns = ("published", "frames", "p50", "p95", f"over {LONG_FRAME_MS} ms")
    return Table(f"Frames for {options['seconds']:g} s at {BUSY_RATE:,} events/s", columns, [row], [raw])


def _memory(page: Page, publisher: Publisher, minutes: float) -> Table:
    session = page.context.new_cdp_session(page)
    raw = []
    with _published(publisher, MEMORY_RATE):
        _pass(page, 20)  # till the table is full
        for at in range(6):
            if at:
                _pass(page, minutes * 60 / 5)
            page.evaluate(RESET)
            session.send("HeapProfiler.collectGarbage")
            used = session.send("Runtime.getHeapUsage")["usedSize"]
            raw.append({"minute": at * minutes / 5, "bytes": used})
    first = raw[0]["bytes"]
    rows = [(f"{one['minute']:g}", f"{one['bytes'] / 1e6:.2f} MB", f"{one['bytes'] / first - 1:+.1%}") for one in raw]
    return Table(f"Browser memory at {MEMORY_RATE:,} events/s", ("minute", "heap", "since the first"), rows, raw)


@contextmanager
def _published(publisher: Publisher, rate: int) -> Iterator[Callable[[], int]]:
    """Publishes at this rate while inside, as far as the machine can; yields what counts them."""
    stop, total = threading.Event(), [0]

    def publish() -> None:
        began = time.monotonic()
        while not stop.wait(TICK_SECONDS):
            due = min(int((time.monotonic() - began) * rate) - total[0], rate)
            if due > 0:
                drafts = [publisher.draft(TOPIC, "order_placed", {"number": total[0] + n}) for n in range(due)]
                publisher.publish_many(drafts)
                total[0] += due

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield lambda: total[0]
    finally:
        stop.set()
        thread.join()


def _pass(page: Page, seconds: float) -> None:
    """Let time pass without asking the page anything: every question is work of its."""
    page.wait_for_timeout(seconds * 1000)


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50_ms": None, "p95_ms": None}
    return {"p50_ms": values[len(values) // 2], "p95_ms": values[min(int(len(values) * 0.95), len(values) - 1)]}


def _ms(value: float | None) -> str:
    return "none seen" if value is None else f"{value:.1f} ms"


def _load() -> str:
    return (
        f"Load of the machine at the end, over 1, 5 and 15 minutes: {', '.join(f'{n:.1f}' for n in os.getloadavg())}."
    )


def _fill(folder: Path) -> None:
    """Large traces in the read model, before anything records into it."""
    (folder / "data").mkdir(mode=0o700)
    fill = f"from {TRACES} import fill; fill()"
    for words in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "--command", fill]):
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *words]
        subprocess.run(command, env=environment(folder), cwd=settings.BASE_DIR, check=True)


_IS_LIVE: Final = "() => document.querySelector('live-status [role=status]').textContent === 'live'"
