"""What every peer's program does: publish at once or at a pace, and count or time what its handler gets.

`python -m dashboard.bench.peers.NAME publish URL EVENTS`, `… pace URL EVENTS PER_SECOND`, `… work URL EVENTS`,
`… late URL EVENTS`. What was found is one line on standard output. A worker ends with its last event, at once:
whatever a peer would still tidy up is nobody's any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from threading import Lock
from typing import Any, Final

from dashboard.bench.load import payload
from dashboard.bench.pairs import Stopwatch

ANSWER: Final = "bench "  # a line that begins so is ours, and JSON
READY: Final = "ready"  # a first event, which is not counted, was published or handled

Data = dict[str, Any]
Publish = Callable[[Data], Awaitable[object]]
Publishing = Callable[[str], AbstractAsyncContextManager[Publish]]
Handle = Callable[[Data], None]
Work = Callable[[str, Handle], object]


def main(publishing: Publishing, work: Work) -> None:
    """Do what the command line says. `work` handles what was published from the first event on, until it is ended."""
    word, url, events, *rest = sys.argv[1:]
    if word == "publish":
        asyncio.run(_publish(publishing, url, int(events)))
    elif word == "pace":
        asyncio.run(_pace(publishing, url, int(events), float(rest[0])))
    else:
        work(url, _counted(int(events)) if word == "work" else _timed(int(events)))


async def _publish(publishing: Publishing, url: str, events: int) -> None:
    """One by one. The first connects and declares, and is not counted."""
    data = [payload(number) for number in range(events)]
    async with publishing(url) as publish:
        await publish(data[0])
        began, cpu_began = time.perf_counter(), time.process_time()
        for one in data[1:]:
            await publish(one)
        _say([events - 1, time.perf_counter() - began, time.process_time() - cpu_began])


async def _pace(publishing: Publishing, url: str, events: int, per_second: float) -> None:
    """A first one; then, when told to go on, so many at an even pace, each saying when it was published."""
    async with publishing(url) as publish:
        await publish(payload(0))
        _say(READY)
        sys.stdin.readline()
        began = time.monotonic()
        for number in range(events):
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
            data = payload(number)
            await publish({**data, "note": f"{time.monotonic():.6f}".ljust(len(data["note"]))})


def _counted(events: int) -> Handle:
    stopwatch = Stopwatch(events, lambda: _end([events, stopwatch.run.seconds, stopwatch.run.cpu_seconds]))
    lock = Lock()  # some peers handle in several threads

    def handle(_data: Data) -> None:
        with lock:
            stopwatch.tick()

    return handle


def _timed(events: int) -> Handle:
    found: list[float] = []

    def handle(data: Data) -> None:
        if data["note"].startswith("x"):
            _say(READY)
            return
        found.append((time.monotonic() - float(data["note"])) * 1000)
        if len(found) == events:
            _end(found)

    return handle


def _say(what: object) -> None:
    print(ANSWER + json.dumps(what), flush=True)


def _end(what: object) -> None:
    _say(what)
    os._exit(0)
