"""What a bus and its read model hold, read from their beginning: what the invariants are asked of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bus import fsck, inspect, tail
from bus.event import Event
from bus.fsck import Problem
from bus.journal import JournalEntry, Record, Step
from bus.keys import Keys
from bus.operations import dead_letters
from bus.streams import Client
from bus.tail import Partition, Position
from bus.wire import Operation
from tests.faults.effects import Effect

Query = Callable[[str], set[tuple[Any, ...]]]

SETTLED: Final = {Step.SUCCEEDED: "succeeded", Step.DEAD_LETTERED: "dead"}
FAILED: Final = {Step.RETRY_SCHEDULED, Step.DEAD_LETTERED, Step.RECLAIMED}
INDEXES: Final = {"due": b"ZCARD", "parked": b"ZCARD", "busy": b"HLEN", "crashes": b"HLEN", "replayed": b"HLEN"}


class Delivery(NamedTuple):
    """One event × one group."""

    partition: Partition
    group: str
    entry: str


class Told(NamedTuple):
    """The journal: entries by partition, in order."""

    partition: Partition
    entry: JournalEntry


@dataclass
class Evidence:
    """Everything that there is to ask about. `groups`: all that subscribed, before the first event."""

    groups: set[str]
    events: list[Event] = field(default_factory=list)
    journal: list[Told] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)  # id → entry
    effects: list[Effect] = field(default_factory=list)
    with_inbox: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    letters: Counter[Delivery] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def records(self) -> Iterator[tuple[Delivery, Record]]:
        """Every record of the journal, in order."""
        for partition, entry in self.journal:
            for record in entry.records:
                yield Delivery(partition, entry.group, record.entry), record


def read_bus(client: Client) -> tuple[list[Event], list[Told]]:
    """Every event and every journal entry of every topic."""
    prefix = client.config.prefix
    events: list[Event] = []
    journal: list[Told] = []
    for partition in client.run(tail.partitions(prefix)):
        position = {partition: Position()}
        while chunks := client.run(tail.read(prefix, position, block_ms=None)):
            events += chunks[0].events
            journal += (Told(partition, entry) for entry in chunks[0].journal)
            position = {partition: chunks[0].position}
    return events, journal


def read_letters(client: Client) -> Counter[Delivery]:
    """Every dead letter, by the delivery that it was."""
    prefix = client.config.prefix
    found: Counter[Delivery] = Counter()
    partitions = client.run(tail.partitions(prefix))
    for partition, row in client.run(inspect.groups(prefix, partitions)):
        after = ""
        while letters := client.run(dead_letters(Keys(prefix, *partition), row["name"], after=after)):
            found.update(Delivery(partition, row["name"], letter.event.entry) for letter in letters)
            after = letters[-1].id
    return found


def read_left(client: Client) -> dict[str, int]:
    """What is still pending, and what the indexes beside the pending lists still hold; empty once all is settled."""
    prefix = client.config.prefix
    left: dict[str, int] = {}
    partitions = client.run(tail.partitions(prefix))
    for partition, row in client.run(inspect.groups(prefix, partitions)):
        keys, group = Keys(prefix, *partition), row["name"]
        commands = [(command, getattr(keys, name)(group)) for name, command in INDEXES.items()]
        counts = client.run(Operation(commands, lambda replies: [int(reply) for reply in replies]))
        found = {"pending": row["pending"], **dict(zip(INDEXES, counts, strict=True))}
        left |= {f"{group} on {partition[0]}/{partition[1]}: {name}": count for name, count in found.items() if count}
    return left


def read_problems(client: Client) -> list[Problem]:
    return list(fsck.check(client))


def differences(query: Query, events: list[Event], journal: list[Told]) -> list[str]:
    """Where the rows of the read model are not what the events and the journal say."""
    told = Evidence(groups=set(), events=events, journal=journal)
    return [
        *_differ("event", query(_EVENTS), {(e.topic, e.partition, e.id, e.entry) for e in events}),
        *_differ("settled delivery", query(_SETTLED), _settled(told)),
        *_differ("deliveries' failed attempts", query(_FAILED), _failed(told)),
    ]


def _settled(told: Evidence) -> set[tuple[Any, ...]]:
    return {
        (*delivery.partition, delivery.group, delivery.entry, SETTLED[Step(record.step)])
        for delivery, record in told.records()
        if record.step in SETTLED
    }


def _failed(told: Evidence) -> set[tuple[Any, ...]]:
    counts = Counter(delivery for delivery, record in told.records() if record.step in FAILED)
    return {(*d.partition, d.group, d.entry, count) for d, count in counts.items()}


def _differ(what: str, rows: set[tuple[Any, ...]], told: set[tuple[Any, ...]]) -> list[str]:
    return [
        *(f"{what} {row} is stored, and the journal does not say so" for row in sorted(rows - told)),
        *(f"{what} {row} is told by the journal and not stored" for row in sorted(told - rows)),
    ]


_EVENTS: Final = (
    "SELECT p.topic, p.number, e.event_id, e.entry FROM dashboard_event e JOIN dashboard_partition p"
    " ON p.id = e.partition_id"
)
_SETTLED: Final = (
    'SELECT p.topic, p.number, d."group", e.entry, d.state FROM dashboard_delivery d JOIN dashboard_event e'
    " ON e.id = d.event_id JOIN dashboard_partition p ON p.id = e.partition_id WHERE d.state IN ('succeeded', 'dead')"
)
_FAILED: Final = (
    'SELECT p.topic, p.number, a."group", e.entry, count(*) FROM dashboard_attempt a JOIN dashboard_event e'
    " ON e.id = a.event_id JOIN dashboard_partition p ON p.id = e.partition_id WHERE a.step IN (3, 4, 5)"
    ' GROUP BY p.topic, p.number, a."group", e.entry'
)
