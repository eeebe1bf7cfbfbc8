"""How fast publishing, handling and recording are, beside redis-py by hand, which records nothing.

Alternating pairs on one server of its own: the same payload, the same durability on both sides, first one way round
and then the other. Every run of ours is checked: as many records in the journal as events handled.
"""

from __future__ import annotations

import gc
import logging
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bus.garbage import collect_rarely
from bus.server import EmbeddedServer
from dashboard.bench import apart, chart
from dashboard.bench.compared import compared
from dashboard.bench.latency import own_latency, raw_latency
from dashboard.bench.own import Own
from dashboard.bench.pairs import Run, Spread, alternate, spread
from dashboard.bench.raw import Raw
from dashboard.bench.report import Report, Table

NOTES: Final = (
    """Baseline: redis-py and hiredis, by hand and for speed: XREADGROUP of 100, json.loads, a function called for each,
one XACK for the 100. It records, fences and retries nothing. Publishing: XADD of one field that json.dumps made of the
same data, one by one or in a pipeline of 100.""",
    """Ours: `bus.publish` and a `bus.Worker` as any program uses them, with handlers that look at `event.data`. Every
delivery is in the journal, which is looked at after each run.""",
    """Median of alternating pairs (least–greatest); both sides on the same server, data of 250 bytes, 1,000 keys. The
second column compares the processor time of the client's process, which other programs disturb less. The garbage
collector looks as rarely as in `manage.py worker`, for both sides.""",
)


@dataclass(frozen=True)
class Case:
    """One comparison: what it is called, its baseline, and ours."""

    name: str
    baseline: Callable[[], Run]
    ours: Callable[[], Run]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=9, help="alternating pairs for each figure (default 9)")
    parser.add_argument("--full", action="store_true", help="ten times the events, and longer streams")
    parser.add_argument("--longest", type=int, help="events of the longest stream (default 50000, with --full 1000000)")
    parser.add_argument("--durability", choices=("relaxed", "strict"), help="one of them only (default: both)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart of the comparisons there")


def run(options: dict[str, Any]) -> Report:
    """Measure; see `add_arguments`."""
    logging.getLogger("bus").setLevel(logging.ERROR)  # each worker says when it begins
    pairs, events = options["pairs"], 40_000 if options["full"] else 4_000
    levels = [options["durability"]] if options["durability"] else ["relaxed", "strict"]
    tables: list[Table] = []
    for level in levels:
        with grounds(level) as (raw, own):
            tables.append(_compared(level, _cases(raw, own, events), pairs))
            if level == levels[0]:
                tables += [_latencies(raw, own, options["full"]), _memory(raw, own)]
                longest = options["longest"] or (1_000_000 if options["full"] else 50_000)
                tables += [_topics(own, 10 * events), _growth(own, [10_000, longest])]
                tables.append(apart.measured(own.config.url or "", own.config.data_folder, 25 * events))
    if options["svg"]:
        options["svg"].write_text(chart.drawn(tables[0]))
    return Report("bus", tables, NOTES)


@contextmanager
def _collected_rarely() -> Iterator[None]:
    """Both sides with the garbage collector as `manage.py worker` sets it."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextmanager
def grounds(durability: str) -> Iterator[tuple[Raw, Own]]:
    """The baseline and ours on a new server, which is gone afterwards with its folder."""
    with tempfile.TemporaryDirectory(prefix="fan") as name, EmbeddedServer(Path(name), durability) as server:
        raw, own = Raw(server.url), Own(server.url, Path(name))
        raw.quiet()
        with _collected_rarely():
            yield raw, own
        own.close()
        raw.client.close()


def _cases(raw: Raw, own: Own, events: int) -> list[Case]:
    few = events // 4
    baseline = lambda: raw.settle(events)  # noqa: E731
    return [
        Case("publish, one by one", lambda: raw.publish(few), lambda: own.publish(few)),
        Case("publish_many of 100", lambda: raw.publish_many(events), lambda: own.publish_many(events)),
        Case("apublish, 50 at once", lambda: raw.publish_async(few), lambda: own.publish_async(few)),
        Case("settle, sync handler", baseline, lambda: own.settle(events)),
        Case("settle, async handler in turn", baseline, lambda: own.settle(events, is_async=True)),
        Case("settle, async, 20 at once", baseline, lambda: own.settle(events, is_async=True, concurrency=20)),
        Case("settle, ordered=True", baseline, lambda: own.settle(events, ordered=True)),
        Case(
            "settle, handlers of 2 ms, one by one",
            lambda: raw.settle_one_by_one(events // 40, 0.002),
            lambda: own.settle_one_by_one(events // 40, 0.002),
        ),
        Case("recording, against the same without", lambda: own.settle_unrecorded(events), lambda: own.settle(events)),
        Case("3 groups", lambda: raw.settle_groups(few, 3), lambda: own.settle_groups(few, 3)),
        Case("10 groups", lambda: raw.settle_groups(few, 10), lambda: own.settle_groups(few, 10)),
    ]


def _compared(durability: str, cases: list[Case], pairs: int) -> Table:
    found = [(case.name, alternate(pairs, case.baseline, case.ours)) for case in cases]
    return compared(f"Against redis-py, durability {durability}, {pairs} pairs", found)


def _latencies(raw: Raw, own: Own, full: bool) -> Table:  # noqa: FBT001
    rows, figures = [], []
    for rate in (100, 1_000, 10_000):
        seconds = 10.0 if full else 1.0
        both = [(own_latency(own, rate, seconds), raw_latency(raw, rate, seconds)) for _ in range(3)]
        named = {
            f"{side} {name}": spread([getattr(pair[at], name) for pair in both])
            for at, side in enumerate(("ours", "raw"))
            for name in ("p50_ms", "p99_ms")
        }
        rows.append((f"{rate:,} a second", *map(str, named.values())))
        figures.append({"rate": rate, **{name: vars(figure) for name, figure in named.items()}})
    columns = ("publish → handler", "p50 ms", "p99 ms", "baseline p50 ms", "baseline p99 ms")
    return Table("Latency, three rounds", columns, rows, figures)


def _memory(raw: Raw, own: Own) -> Table:
    """After one more group has settled all events: what these and its records take."""
    bare = raw.memory_usage(raw.stream) / raw.filled
    fresh = own.emptied()
    fresh.fill(own.filled)
    fresh.settle(own.filled)
    events, journal = (size / fresh.filled for size in fresh.memory())
    fresh.close()
    rows = [
        ("journal, a record", f"{journal:.0f} bytes"),
        ("an event with its envelope, settled and recorded", f"{events + journal:.0f} bytes"),
        ("the baseline's entry, one field", f"{bare:.0f} bytes"),
    ]
    return Table("Memory on the server", ("", "each"), rows, [{"record": journal, "event": events, "bare": bare}])


def _topics(own: Own, events: int) -> Table:
    """Whether an event costs more where a worker reads more topics: one and many take turns."""
    rows, figures = [], []
    for topics in (10, 100):
        found = alternate(5, partial(own.settle_topics, events, 1), partial(own.settle_topics, events, topics))
        costs = [spread([run.cpu_us for run in runs]) for runs in (found.baseline, found.ours)]
        rows.append((f"{topics} topics", str(found.ratio), *map(_us, reversed(costs))))
        figures.append({"topics": topics, "ratio": vars(found.ratio), **found.as_json()})
    columns = ("", "times one topic", "processor time, µs an event", "with one topic")
    return Table("The same events on more topics, one worker, 5 pairs", columns, rows, figures)


def _growth(own: Own, sizes: list[int]) -> Table:
    rows, figures = [], []
    for size in sizes:
        own.fill(size)
        cost = spread([own.settle_newest(5_000).cpu_us for _ in range(5)])
        rows.append((f"{size:,} events", _us(cost)))
        figures.append({"events": size, "cpu_us": vars(cost)})
    return Table("Cost of an event as its stream grows", ("stream of", "processor time, µs an event"), rows, figures)


def _us(cost: Spread) -> str:
    return f"{cost.middle:.1f} ({cost.low:.1f}–{cost.high:.1f})"
