"""The baseline: redis-py with hiredis, as one would write it by hand for speed, recording nothing.

The only module outside of the bus's two that imports redis: what a bench compares with must not go through the bus.
Events are one field of JSON; they are read by hundreds, decoded, handed to a function and acknowledged by hundreds.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import redis
import redis.asyncio

from dashboard.bench.load import payload
from dashboard.bench.pairs import Run, Stopwatch, timed

BATCH: Final = 100
CONCURRENCY: Final = 50


class Raw:
    """The baseline's client and its stream on a bench's server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url)
        self.stream = f"raw:{uuid4().hex[:8]}"
        self.filled = 0

    def quiet(self) -> None:
        """No rewrite of the log in the middle of a run."""
        self.client.config_set("auto-aof-rewrite-percentage", "0")

    def empty(self) -> None:
        """Nothing is left on the server."""
        self.client.flushall()

    def server_cpu_seconds(self) -> float:
        """Processor time that the server has used so far."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def used_bytes(self) -> int:
        """What the server has allocated for data and clients."""
        return int(self.client.info("memory")["used_memory"])

    def memory_usage(self, name: bytes | str) -> int:
        """What one stream takes, all of its nodes counted."""
        return int(self.client.memory_usage(name, samples=0) or 0)

    def fill(self, events: int) -> None:
        """Let the stream hold so many events at least."""
        while self.filled < events:
            pipe = self.client.pipeline(transaction=False)
            for number in range(self.filled, min(self.filled + 500, events)):
                pipe.xadd(self.stream, {"data": _encoded(number)})
            self.filled += len(pipe.execute())

    def settle(self, events: int) -> Run:
        """Read, decode, call a function and acknowledge, a hundred at a time."""
        self.fill(events)
        stopwatch = Stopwatch(events)
        self._consume(events, lambda _: stopwatch.tick(), f"g{uuid4().hex[:8]}")
        return stopwatch.run

    def settle_one_by_one(self, events: int, work_seconds: float) -> Run:
        """As `settle`, but each event is acknowledged on its own, after a function that takes a while."""
        self.fill(events)
        stopwatch = Stopwatch(events)
        name = self._group()
        left = events
        while left:
            for _, rows in self.client.xreadgroup(name, "w", {self.stream: ">"}, count=min(BATCH, left)):
                for entry, fields in rows:
                    json.loads(fields[b"data"])
                    time.sleep(work_seconds)
                    self.client.xack(self.stream, name, entry)
                    stopwatch.tick()
                    left -= 1
        return stopwatch.run

    def settle_groups(self, events: int, groups: int) -> Run:
        """Several groups at once, a thread for each."""
        self.fill(events)
        stopwatch = Stopwatch(events * groups)
        names = [f"g{uuid4().hex[:8]}" for _ in range(groups)]
        consume = [lambda name=name: self._consume(events, lambda _: stopwatch.tick(), name) for name in names]
        threads = [threading.Thread(target=one) for one in consume]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return stopwatch.run

    def make_group(self, stream: str) -> None:
        self.client.xgroup_create(stream, "paced", id="0", mkstream=True)

    def add(self, stream: str, at: float) -> None:
        """Add an event that says when it was added."""
        self.client.xadd(stream, {"data": json.dumps({"at": at})})

    def latencies(self, stream: str, count: int) -> list[float]:
        """Seconds from adding to reading, of so many events."""
        found: list[float] = []
        while len(found) < count:
            for _, rows in self.client.xreadgroup("paced", "w", {stream: ">"}, count=BATCH, block=1000):
                for _entry, fields in rows:
                    found.append(time.perf_counter() - json.loads(fields[b"data"])["at"])
                self.client.xack(stream, "paced", *(entry for entry, _ in rows))
        return found

    def publish(self, events: int) -> Run:
        """One XADD after another."""
        data = [payload(number) for number in range(events)]

        def work() -> None:
            for one in data:
                self.client.xadd("raw:published", {"data": json.dumps(one)})

        return self._published(events, work)

    def publish_many(self, events: int) -> Run:
        """Pipelines of a hundred XADDs."""
        data = [payload(number) for number in range(events)]

        def work() -> None:
            for first in range(0, events, BATCH):
                pipe = self.client.pipeline(transaction=False)
                for one in data[first : first + BATCH]:
                    pipe.xadd("raw:published", {"data": json.dumps(one)})
                pipe.execute()

        return self._published(events, work)

    def publish_async(self, events: int) -> Run:
        """Fifty tasks, each with one XADD after another."""
        data = [payload(number) for number in range(events)]

        async def work() -> Run:
            async with redis.asyncio.Redis.from_url(self.url) as client:
                await client.ping()

                async def some(part: list[dict[str, Any]]) -> None:
                    for one in part:
                        await client.xadd("raw:published", {"data": json.dumps(one)})

                began, cpu_began = time.perf_counter(), time.process_time()
                await asyncio.gather(*(some(data[first::CONCURRENCY]) for first in range(CONCURRENCY)))
                return Run(events, time.perf_counter() - began, time.process_time() - cpu_began)

        run = asyncio.run(work())
        self.client.delete("raw:published")
        return run

    def _published(self, events: int, work: Callable[[], None]) -> Run:
        run = timed(events, work)
        self.client.delete("raw:published")
        return run

    def _group(self) -> str:
        name = f"g{uuid4().hex[:8]}"
        self.client.xgroup_create(self.stream, name, id="0", mkstream=True)
        return name

    def _consume(self, events: int, handler: Callable[[Any], None], group: str) -> None:
        self.client.xgroup_create(self.stream, group, id="0", mkstream=True)
        left = events
        while left:
            for _, rows in self.client.xreadgroup(group, "w", {self.stream: ">"}, count=min(BATCH, left)):
                for _entry, fields in rows:
                    handler(json.loads(fields[b"data"]))
                self.client.xack(self.stream, group, *(entry for entry, _ in rows))
                left -= len(rows)
        self.client.xgroup_destroy(self.stream, group)


def _encoded(number: int) -> bytes:
    return json.dumps(payload(number), separators=(",", ":")).encode()
