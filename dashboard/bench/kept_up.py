"""Whether recording keeps up: events a second that it writes, against what one worker process settles.

A program of its own, since Django has one database a process: `python -m dashboard.bench.kept_up PAIRS EVENTS SECONDS
FILE` with BUS_URL, BUS_DATA and DATABASE_URL saying where. The figures go to FILE as JSON. Worker and recorder take
turns on the same events, each with the machine to itself; then all run together at half of the worker's pace.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import django

import bus
from bus import inspect, tail
from bus.event import entry_ms
from bus.garbage import collect_rarely
from bus.streams import Client, connect
from bus.tail import Partition, Position
from dashboard.bench import beside

POLL_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 600.0
SETTLING_SECONDS: Final = 2.0  # at the start of the even run, which are not counted


def main(pairs: int, events: int, seconds: float, target: Path) -> None:
    """Measure; progress on standard output."""
    django.setup()
    collect_rarely()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    client = connect(bus.config())
    found = [_pair(client, (f"bench-{number}", 0), events) for number in range(pairs)]
    for pair in found:
        print(f"  settled {pair['settled']:,.0f} events a second, recorded {pair['recorded']:,.0f}", flush=True)
    pace = median(pair["settled"] for pair in found) / 2
    late = _late(client, ("bench-even", 0), pace, seconds)
    print(f"  at {pace:,.0f} a second, recorded after {late['p50_ms']:.0f} ms, p99 {late['p99_ms']:.0f} ms")
    target.write_text(json.dumps({"pairs": found, "even": late}))


def _pair(client: Client, partition: Partition, events: int) -> dict[str, float]:
    """Events a second that a worker settles for three groups, and that the recorder then writes.

    And what an event costs each of the two in time of the processor, which other programs' load changes less.
    """
    beside.publish(partition[0], events)
    before = _cpu_of_children()
    with _beside("-m", "dashboard.bench.beside", "worker", partition[0]):
        _wait(lambda: _is_settled(client, partition), f"a worker to settle {events:,} events")
        newest = _newest(client, partition)
    settled_cpu = _cpu_of_children() - before
    settled_seconds = max(entry_ms(newest.journal) - _first_record_ms(client, partition), 1) / 1000
    recorded_seconds, recorded_cpu = _recorded(client, newest, partition)
    return {
        "settled": events / settled_seconds,
        "recorded": events / recorded_seconds,
        "settled_cpu_us": settled_cpu / events * 1e6,  # with its start
        "recorded_cpu_us": recorded_cpu / events * 1e6,
    }


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _recorded(client: Client, newest: Position, partition: Partition) -> tuple[float, float]:
    """Seconds that a recorder needs for all that became of the events, by the clock and of the processor."""
    from dashboard.recorder import Recorder

    recorder = Recorder(client)
    began, used = time.perf_counter(), time.process_time()
    while (position := _recorded_to(partition)) != newest:
        if position is None:
            began, used = time.perf_counter(), time.process_time()  # it looks for new topics twice a second
        recorder.turn()
    return time.perf_counter() - began, time.process_time() - used


def _recorded_to(partition: Partition) -> Position | None:
    """How far it is recorded; None before it begins."""
    from dashboard.queries.lag import partitions

    place = partitions(partition[0]).get(partition)
    return Position(place.events_cursor, place.journal_cursor) if place else None


def _late(client: Client, partition: Partition, pace: float, seconds: float) -> dict[str, Any]:
    """How old the oldest entry is that is not recorded, looked at again and again while everybody runs."""
    prefix, ages = client.config.prefix, list[float]()
    publisher = ("-m", "dashboard.bench.beside", "publisher", partition[0], str(pace), str(seconds))
    with _beside("-m", "dashboard.bench.beside", "worker", partition[0]), _beside("-m", "django", "recorder"):
        _wait(lambda: _recorded_to(partition) is not None, "the recorder to find the topic")
        with _beside(*publisher) as publishing:
            time.sleep(SETTLING_SECONDS)
            while publishing.poll() is None:
                at = _recorded_to(partition) or Position()
                first = client.run(tail.first_after(prefix, {partition: at}))[partition]
                waiting = [entry_ms(entry) for entry in first if entry != tail.START]
                ages.append(max(time.time() * 1000 - min(waiting), 0) if waiting else 0.0)
                time.sleep(POLL_SECONDS)
            assert publishing.stdout is not None
            published = int(publishing.stdout.read() or 0)
    ages.sort()
    return {
        "wanted_per_second": pace,
        "events_per_second": published / seconds,
        "p50_ms": ages[len(ages) // 2],
        "p99_ms": ages[int(len(ages) * 0.99)],
        "max_ms": ages[-1],
    }


@contextmanager
def _beside(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that runs until the block ends."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _is_settled(client: Client, partition: Partition) -> bool:
    prefix = client.config.prefix
    found = client.run(inspect.groups(prefix, [partition]))
    states = client.run(inspect.details(prefix, found))
    settled = [state for state in states if not state.pending and state.last_delivered == state.newest]
    return len(settled) == len(beside.GROUPS)


def _newest(client: Client, partition: Partition) -> Position:
    return client.run(tail.newest(client.config.prefix, [partition]))[partition]


def _first_record_ms(client: Client, partition: Partition) -> int:
    """When the first delivery was handed out or settled."""
    chunks = client.run(tail.read(client.config.prefix, {partition: Position()}, count=500, block_ms=None))
    return next(entry.at_ms for chunk in chunks for entry in chunk.journal if entry.records)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"expected {what} within {PATIENCE_SECONDS:g} s, it did not")
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
