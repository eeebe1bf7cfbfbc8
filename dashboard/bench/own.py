"""The bus in a bench, used as any program would: what is published, handled, settled and recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import bus
from bus import operations, tail, wire
from bus.config import Config
from bus.event import Event
from bus.journal import JournalEntry, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import connect
from bus.subscription import Registry, Subscription
from bus.wire import Operation
from bus.worker import Worker
from dashboard.bench.load import TOPIC, TYPE, key, payload
from dashboard.bench.pairs import Run, Stopwatch, timed

BATCH: Final = 100
CONCURRENCY: Final = 50
_PLAIN: Final = SubscriptionRecord()


class Own:
    """The bus on a bench's server, with names of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.config = Config(url=url, data_folder=folder, prefix=f"b{uuid4().hex[:8]}", source="bench")
        self.publisher = Publisher(self.config)
        self.client = connect(self.config)
        self.filled = 0
        self._recorded = tail.START  # how far the journal was looked at

    def emptied(self) -> Own:
        """Another one on the same server, with nothing in it."""
        return Own(self.config.url or "", self.config.data_folder)

    def close(self) -> None:
        self.publisher.close()
        self.client.close()

    def fill(self, events: int, *, topic: str = TOPIC) -> None:
        """Let the topic hold so many events at least."""
        while self.filled < events:
            numbers = range(self.filled, min(self.filled + 500, events))
            drafts = [self.publisher.draft(topic, TYPE, payload(n), key=key(n)) for n in numbers]
            self.filled += len(self.publisher.publish_many(drafts))

    def settle(self, events: int, *, is_async: bool = False, recorded: bool = True, **options: Any) -> Run:
        """A worker whose handler looks at the data of each event; the group begins with the first."""
        self.fill(events)
        stopwatch = Stopwatch(events, lambda: worker.stop())  # noqa: PLW0108  # made below
        options = {"group": f"g{uuid4().hex[:8]}", "start": "earliest", **options}
        subscription = Subscription(TOPIC, handler=_handler(stopwatch, is_async=is_async), **options)
        worker = self.worker(subscription)
        worker.run()
        if recorded:
            self._check(subscription.group, events)
        return stopwatch.run

    def settle_one_by_one(self, events: int, work_seconds: float) -> Run:
        """As `settle`, with a handler that takes so long that each delivery is settled on its own."""
        self.fill(events)
        stopwatch = Stopwatch(events, lambda: worker.stop())  # noqa: PLW0108  # made below

        def handler(event: Event) -> None:
            event.data  # noqa: B018  # decoded when it is asked for
            time.sleep(work_seconds)
            stopwatch.tick()

        worker = self.worker(Subscription(TOPIC, f"g{uuid4().hex[:8]}", handler, start="earliest"))
        worker.run()
        return stopwatch.run

    def settle_groups(self, events: int, groups: int) -> Run:
        """Several groups at once, in one worker."""
        self.fill(events)
        stopwatch = Stopwatch(events * groups, lambda: worker.stop())  # noqa: PLW0108  # made below
        handler = _handler(stopwatch, is_async=False)
        names = [f"g{uuid4().hex[:8]}" for _ in range(groups)]
        worker = self.worker(*(Subscription(TOPIC, name, handler, start="earliest") for name in names))
        worker.run()
        return stopwatch.run

    def settle_topics(self, events: int, topics: int) -> Run:
        """One group on each of so many topics, in one worker; the events are spread over all."""
        each, name = events // topics, f"t{uuid4().hex[:8]}"
        other = self.emptied()
        for number in range(topics):
            other.filled = 0
            other.fill(each, topic=f"{name}-{number}")
        stopwatch = Stopwatch(each * topics, lambda: worker.stop())  # noqa: PLW0108  # made below
        handler = _handler(stopwatch, is_async=False)
        worker = other.worker(
            *(Subscription(f"{name}-{number}", "bench", handler, start="earliest") for number in range(topics))
        )
        worker.run()
        other.close()
        return stopwatch.run

    def settle_unrecorded(self, events: int) -> Run:
        """As `settle`, by a script from which the journal's line is cut out. Nothing else can leave it out."""
        real = wire.script
        line = b"  redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3])\n"
        if line not in real("settle").text:
            raise RuntimeError("expected the line of settle.lua that writes the journal, found another one; correct me")
        cut = wire.made_script(real("settle").text.replace(line, b""))
        wire.script = lambda name: cut if name == "settle" else real(name)  # type: ignore[assignment]
        try:
            return self.settle(events, recorded=False)
        finally:
            wire.script = real

    def settle_newest(self, events: int) -> Run:
        """As `settle`, for a group that begins with the last `events` of a longer stream."""
        place = tail.newest(self.config.prefix, [(TOPIC, 0)])
        start = self.client.run(place)[TOPIC, 0].events
        group = f"g{uuid4().hex[:8]}"
        subscribed = operations.subscribe(
            Keys(self.config.prefix, TOPIC, 0), group, _PLAIN, start=start, worker="bench"
        )
        self.client.run(subscribed)
        self.fill(self.filled + events)
        return self.settle(events, group=group, start="latest")

    def memory(self) -> tuple[int, int]:
        """Bytes that the events take on the server, and the journal."""
        keys = Keys(self.config.prefix, TOPIC, 0)
        commands = [(b"MEMORY", b"USAGE", name, b"SAMPLES", b"0") for name in (keys.events, keys.journal)]
        return self.client.run(Operation(commands, lambda replies: (int(replies[0] or 0), int(replies[1] or 0))))

    def publish(self, events: int) -> Run:
        """`bus.publish`, one event after another."""
        data = [payload(number) for number in range(events)]

        def work() -> None:
            for one in data:
                bus.publish("published", TYPE, one, key=one["order_id"])

        return self._published(events, work)

    def publish_many(self, events: int) -> Run:
        """`bus.publish_many`, a hundred at a time."""
        data = [payload(number) for number in range(events)]

        def work() -> None:
            for first in range(0, events, BATCH):
                part = data[first : first + BATCH]
                bus.publish_many([bus.draft("published", TYPE, one, key=one["order_id"]) for one in part])

        return self._published(events, work)

    def publish_async(self, events: int) -> Run:
        """Fifty tasks, each with one `bus.apublish` after another."""
        data = [payload(number) for number in range(events)]

        async def some(part: list[dict[str, Any]]) -> None:
            for one in part:
                await bus.apublish("published", TYPE, one, key=one["order_id"])

        async def work() -> Run:
            await bus.apublish("published", TYPE, data[0])
            began, cpu_began = time.perf_counter(), time.process_time()
            await asyncio.gather(*(some(data[first::CONCURRENCY]) for first in range(CONCURRENCY)))
            run = Run(events, time.perf_counter() - began, time.process_time() - cpu_began)
            for client in publisher._aclients.values():  # this loop's
                await client.aclose()
            return run

        with self._in_force() as publisher:
            return asyncio.run(work())

    def worker(self, *subscriptions: Subscription) -> Worker:
        """A worker of these subscriptions alone."""
        registry = Registry()
        for subscription in subscriptions:
            registry.add(subscription)
        return Worker(self.config, registry=registry)

    def _published(self, events: int, work: Callable[[], None]) -> Run:
        with self._in_force():
            bus.publish("published", TYPE, payload(0))  # a topic is declared once
            return timed(events, work)

    @contextmanager
    def _in_force(self) -> Iterator[Publisher]:
        """The bus of this process publishes on the bench's server, to a namespace that nobody reads."""
        publisher = Publisher(replace(self.config, prefix=f"p{uuid4().hex[:8]}"))
        with closing(publisher), bus.replaced(publisher):
            yield publisher

    def _check(self, group: str, events: int) -> None:
        """A fast run that recorded less than it handled would be worth nothing."""
        recorded = 0
        while entries := self._next_of_journal():
            recorded += sum(len(entry.records) for entry in entries if entry.group == group)
        if recorded < events:
            raise RuntimeError(f"expected {events:,} records of {group}, found {recorded:,}: this run does not count")

    def _next_of_journal(self) -> list[JournalEntry]:
        positions = {(TOPIC, 0): tail.Position("9" * 13 + "-0", self._recorded)}
        chunks = self.client.run(tail.read(self.config.prefix, positions, block_ms=None))
        if not chunks:
            return []
        self._recorded = chunks[0].position.journal
        return chunks[0].journal


def _handler(stopwatch: Stopwatch, *, is_async: bool) -> Callable[[Event], Any]:
    def handler(event: Event) -> None:
        event.data  # noqa: B018  # decoded when it is asked for
        stopwatch.tick()

    async def ahandler(event: Event) -> None:
        handler(event)

    return ahandler if is_async else handler
