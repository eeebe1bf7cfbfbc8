"""The trace page with thousands of nodes, in a real browser: script until the first drawing, frames while it scrolls.

`fill` writes such traces into the read model that this process is configured for; `traces` opens them on a server
that reads the same model. `page` is a signed-in page of playwright's (sync), of headless Chromium.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from bus.event import Cause, Event
from bus.journal import Failure, JournalEntry, Record, Step, SubscriptionRecord
from bus.tail import Chunk, Position
from dashboard.bench.report import Table
from dashboard.record.projection import Projection

TOPIC: Final = "bench"
GROUPS: Final = ("billing", "mailer")
SIZES: Final = {"bench-200": 66, "bench-2000": 666, "bench-5000": 1_666}  # events; with their lanes, three times that
NEEDS: Final = "expected playwright and Chromium, found none; `pip install playwright` and `playwright install chromium`"
_BEGAN_MS: Final = 1_763_000_000_000
_VIEWS: Final = {"flow": ".scroller", "timeline": ".time-scroll", "sequence": ".seq-scroll"}
_FRAMES: Final = 120
_SCROLL: Final = """([selector, frames]) => new Promise((resolve) => {
    const view = document.querySelector(`[data-view]:not([hidden]) ${selector}`);
    const [tall, wide] = [view.scrollHeight - view.clientHeight, view.scrollWidth - view.clientWidth];
    const took = [];
    let [before, at] = [performance.now(), 0];
    const step = (now) => {
        took.push(now - before);
        before = now;
        if (++at > frames) return resolve(took.slice(1));
        view.scrollTo(Math.min(wide, at * 6), Math.min(tall, at * 36));
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


def fill() -> list[str]:
    """Write the traces of `SIZES` into the read model; their ids."""
    projection = Projection()
    projection.load()
    projection.add([(TOPIC, 0)])
    chance = random.Random(7)  # noqa: S311  the same traces each time
    at_ms = _BEGAN_MS
    for trace_id, count in SIZES.items():
        events = list(_events(trace_id, count, at_ms, chance))
        at_ms += count * 4 + 60_000
        journal = list(_journal(events, at_ms, chance))
        at_ms += len(journal)
        projection.store([Chunk(TOPIC, 0, events, journal, Position(events[-1].entry, journal[-1].position))])
    return list(SIZES)


def _events(trace_id: str, count: int, began_ms: int, chance: random.Random) -> Iterator[Event]:
    for number in range(count):
        cause = None
        if number:
            parent = chance.randrange(max(0, number - 30), number) if number % 9 else 0  # chains, and one wide fan
            cause = Cause(f"{trace_id}-{parent}", chance.choice(GROUPS), 1, TOPIC)
        yield Event(
            id=f"{trace_id}-{number}",
            topic=TOPIC,
            type=f"step_{number % 5}_done",
            raw=b'{"step": %d, "amount": "12.50"}' % number,
            key=f"k-{number % 17}",
            source="bench",
            correlation_id=trace_id,
            cause=cause,
            partition=0,
            entry=f"{began_ms + number * 4}-0",
        )


def _journal(events: list[Event], began_ms: int, chance: random.Random) -> Iterator[JournalEntry]:
    for at, group in enumerate(GROUPS):
        yield JournalEntry(f"{began_ms + at}-0", group, "w1#0", [], SubscriptionRecord())
    failure = Failure("ValueError", "mailbox full", "", "shop/mail.py:12 in send", "f")
    for at, event in enumerate(events):
        dead = chance.random() < 0.03
        step = Step.DEAD_LETTERED if dead else Step.SUCCEEDED
        taken = Record(int(step), event.entry, 1, chance.randrange(200, 9_000), 0, 0, failure if dead else None)
        for place, group in enumerate(GROUPS):
            yield JournalEntry(f"{began_ms + 10 + at}-{place}", group, "w1#0", [taken])


def traces(page: Any, base_url: str) -> Table:
    """Open each trace in each view and scroll it; a row of figures each."""
    columns = ("trace", "view", "script until drawn", "script a frame", "frame p50", "frame p95", "elements")
    raw = [_measured(page, base_url, trace_id, view) for trace_id in SIZES for view in _VIEWS]
    rows = [
        (
            f"{one['nodes']:,} nodes",
            one["view"],
            f"{one['script_ms']:.0f} ms",
            f"{one['frame_script_ms']:.1f} ms",
            f"{one['p50_ms']:.1f} ms",
            f"{one['p95_ms']:.1f} ms",
            f"{one['elements']:,}",
        )
        for one in raw
    ]
    return Table("Traces in headless Chromium, 1440 × 900", columns, rows, raw)


def _measured(page: Any, base_url: str, trace_id: str, view: str) -> dict[str, Any]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # the script's own time, whatever else runs
    page.goto("about:blank")
    before = _script_seconds(session)
    page.goto(f"{base_url}/traces/{trace_id}/?view={view}")
    drawn = {"flow": ".card", "timeline": ".time-row", "sequence": ".seq-row"}[view]
    page.locator(f"[data-view={view}] {drawn}").first.wait_for()
    drawn_seconds = _script_seconds(session)
    frames = sorted(page.evaluate(_SCROLL, [_VIEWS[view], _FRAMES]))
    scrolled_seconds = _script_seconds(session)
    elements = page.evaluate("() => document.querySelectorAll('*').length")
    session.detach()
    return {
        "trace": trace_id,
        "nodes": SIZES[trace_id] * (1 + len(GROUPS)),
        "view": view,
        "script_ms": (drawn_seconds - before) * 1000,
        "frame_script_ms": (scrolled_seconds - drawn_seconds) * 1000 / _FRAMES,
        "p50_ms": frames[len(frames) // 2],
        "p95_ms": frames[int(len(frames) * 0.95)],
        "elements": elements,
    }


def _script_seconds(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration"))
