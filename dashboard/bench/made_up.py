"""A made-up history of a shop: what a recorder would have read, as decoded chunks, by the million.

Always the same for the same size, and like the real thing where it matters to a database: many types, keys and
traces whose events lie apart, 250 bytes of data, groups that fail now and then. Knows no database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from bus.event import Cause, Event
from bus.journal import Failure, JournalEntry, Record, Step, SubscriptionRecord
from bus.tail import START, Chunk, Position

TOPICS: Final = {
    "orders": ("billing", "email", "search"),
    "payments": ("fraud", "ledger", "receipts"),
    "shipping": ("carriers", "tracking", "warehouse"),
    "stock": ("forecast", "purchasing", "storefront"),
}
TYPES_OF_TOPIC: Final = 12
CHUNK: Final = 500  # events of one topic that one read returns, as the recorder reads
SETTLED: Final = 100  # deliveries in one entry of the journal, as a busy worker settles
OPEN_TRACES: Final = 64
LARGE_TRACE: Final = 50
DAYS_MS: Final = 7 * 86_400_000
DEAD: Final = 0.005
RETRIED: Final = 0.02
KEPT: Final = 4_000  # of each kind of sample
_ERRORS: Final = ("ValueError", "TimeoutError", "KeyError", "ConnectionError", "IntegrityError")
_REASONS: Final = (
    "card was declined", "no reply within 30 s", "unknown article", "address can't be read", "duplicate entry",
    "the till is closed", "rate limit reached", "tax of the country is unknown",
)  # fmt: skip
_FRAME: Final = '  File "/srv/shop/handlers/{module}.py", line {line}, in {name}\n    {code}\n'


@dataclass
class Samples:
    """Some of what was made, evenly spread over the history: what a person might look for."""

    ids: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    large_traces: list[str] = field(default_factory=list)  # of fifty events, all of them made
    moments: list[int] = field(default_factory=list)


class _Trace:
    """A trace that goes on."""

    __slots__ = ("correlation_id", "key", "last", "left", "size")

    def __init__(self, random: Random, size: int, customers: int) -> None:
        self.correlation_id = f"{random.getrandbits(128):032x}"
        self.key = f"c-{random.randrange(customers)}"
        self.size = self.left = size
        self.last: Cause | None = None


class History:
    """A history of about `events` events that ends at `newest_ms`. `samples` grow while `reads` is consumed."""

    def __init__(self, events: int, newest_ms: int, *, seed: int = 1) -> None:
        self.samples = Samples()
        self._random = Random(seed)
        self._events = events
        self._newest_ms = newest_ms
        self._customers = max(events // 40, 10)
        self._every = max(events // KEPT, 1)
        self._open = [self._begin() for _ in range(OPEN_TRACES)]
        self._made = 0
        self._size = max(min(CHUNK * len(TOPICS), events // 10), 1)  # of a read: a tenth can be stopped at
        self._failures = _failures()
        self.positions = {topic: Position() for topic in TOPICS}

    def reads(self) -> Iterator[list[Chunk]]:
        """What one read after the other returned: up to `CHUNK` events of each topic with all that came of them."""
        yield [self._subscribed(topic) for topic in TOPICS]
        while self._made < self._events:
            events = self._published(min(self._size, self._events - self._made))
            yield [self._read(topic, some) for topic, some in events.items()]

    def _begin(self) -> _Trace:
        random = self._random
        size = random.choice((1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, LARGE_TRACE, LARGE_TRACE))
        return _Trace(random, size, self._customers)

    def _published(self, count: int) -> dict[str, list[Event]]:
        oldest_ms, step_ms = self._newest_ms - DAYS_MS, DAYS_MS / self._events
        found: dict[str, list[Event]] = defaultdict(list)
        for number in range(self._made, self._made + count):
            event = self._event(number, oldest_ms + int(number * step_ms))
            found[event.topic].append(event)
        self._made += count
        return found

    def _event(self, number: int, at_ms: int) -> Event:
        random = self._random
        place = random.randrange(OPEN_TRACES)
        trace = self._open[place]
        bits = random.getrandbits(74)
        topic = _TOPIC_NAMES[bits & 3]
        event_id = _id(at_ms, bits)
        event = Event(
            id=event_id, topic=topic, type=_TYPES[topic][(bits >> 2) % TYPES_OF_TOPIC], raw=_data(trace.key, bits),
            key=trace.key, source="shop", time_text="2026-01-31T12:00:00.000Z", correlation_id=trace.correlation_id,
            cause=trace.last, entry=f"{at_ms}-{number % 100_000}",
        )  # fmt: skip
        trace.last = Cause(event_id, TOPICS[topic][bits % 3], 1, topic)
        trace.left -= 1
        if number % self._every == 0:
            self._keep(event, at_ms)
        if not trace.left:
            self._open[place] = self._begin()
            if trace.size == LARGE_TRACE and len(self.samples.large_traces) < KEPT:
                self.samples.large_traces.append(trace.correlation_id)
        return event

    def _keep(self, event: Event, at_ms: int) -> None:
        samples = self.samples
        samples.ids.append(event.id)
        samples.keys.append(event.key or "")
        samples.traces.append(event.correlation_id)
        samples.moments.append(at_ms)

    def _read(self, topic: str, events: Sequence[Event]) -> Chunk:
        sequence = iter(range(1_000_000))
        at = events[-1].entry.partition("-")[0]
        number = self._made

        def position() -> str:
            return f"{at}-{number * 100 + next(sequence)}"

        journal = []
        for group in TOPICS[topic]:
            for start in range(0, len(events), SETTLED):
                settled = self._settled(events[start : start + SETTLED])
                journal += [JournalEntry(position(), group, f"{group}-1#0", records) for records in settled]
        self.positions[topic] = Position(events[-1].entry, journal[-1].position)
        return Chunk(topic, 0, list(events), journal, self.positions[topic])

    def _settled(self, events: Sequence[Event]) -> Iterator[list[Record]]:
        """The records of a batch, entry by entry: handed out, the first attempts' ends, and the second ones'."""
        random, failures = self._random, self._failures
        yield [Record(_DELIVERED, event.entry, 1) for event in events]
        firsts, again, seconds = [], [], []
        for event in events:
            luck = random.random()
            if luck >= DEAD + RETRIED:
                firsts.append(Record(_SUCCEEDED, event.entry, 1, 1_500))
                continue
            failure = failures[int(luck * 1e6) % len(failures)]
            firsts.append(Record(_RETRY, event.entry, 1, 2_500, 0, 800, failure))
            again.append(Record(_DELIVERED, event.entry, 2))
            seconds.append(
                Record(_DEAD, event.entry, 2, 2_500, 0, 0, failure)
                if luck < DEAD
                else Record(_SUCCEEDED, event.entry, 2, 1_500)
            )
        yield firsts
        if again:
            yield again
            yield seconds

    def _subscribed(self, topic: str) -> Chunk:
        at_ms = self._newest_ms - DAYS_MS - 1
        said = SubscriptionRecord(handlers=["shop.handlers.handle"])
        journal = [
            JournalEntry(f"{at_ms}-{number}", group, f"{group}-1", [], said)
            for number, group in enumerate(TOPICS[topic])
        ]
        return Chunk(topic, 0, [], journal, Position(START, journal[-1].position))


_TOPIC_NAMES: Final = tuple(TOPICS)
_TYPES: Final = {topic: [f"{topic}_{number}" for number in range(TYPES_OF_TOPIC)] for topic in TOPICS}
_DELIVERED, _SUCCEEDED, _RETRY, _DEAD = (
    int(step) for step in (Step.DELIVERED, Step.SUCCEEDED, Step.RETRY_SCHEDULED, Step.DEAD_LETTERED)
)


def types_of(topic: str) -> Sequence[str]:
    """The types of events that are made on a topic."""
    return _TYPES[topic]


def _id(at_ms: int, bits: int) -> str:
    """A UUIDv7 of that moment."""
    rest = f"7{bits & 0xFFF:03x}-8{bits >> 12 & 0xFFF:03x}-{bits >> 24:012x}"
    return f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}-{rest}"


def _data(key: str, bits: int) -> bytes:
    """About 250 bytes of JSON."""
    total, article, other = bits % 100_000, bits >> 20 & 0xFFFF, bits >> 36 & 0xFFFF
    return (
        b'{"customer":"%b","order":"o-%d","total":%d.%02d,"currency":"EUR","items":[{"sku":"A-%05d","quantity":%d,'
        b'"price":19.90},{"sku":"B-%05d","quantity":1,"price":4.50}],"address":{"street":"Lindenweg %d","zip":"%05d",'
        b'"city":"Bremen","country":"DE"},"paid":true,"note":null}'
        % (key.encode(), bits >> 40, total // 100, total % 100, article, bits & 7, other, bits & 0xFF, article)
    )


def _failures() -> list[Failure]:
    """Forty kinds of failure, each with a traceback as long as they are."""
    found = []
    for error in _ERRORS:
        for number, reason in enumerate(_REASONS):
            frames = "".join(
                _FRAME.format(module=f"step_{depth}", line=10 * depth + number, name=f"do_{depth}", code="step()")
                for depth in range(10)
            )
            trace = f"Traceback (most recent call last):\n{frames}{error}: {reason}"
            frame = f"handlers/step_9.py:{90 + number} in do_9"
            found.append(Failure(error, reason, trace, frame, f"{error.lower()}-{number}"))
    return found
