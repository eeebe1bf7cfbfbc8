"""Rows as a recorder would have written them, without a bus."""

from __future__ import annotations

from typing import Any

from bus.event import Event
from bus.journal import JournalEntry, Step, SubscriptionRecord
from bus.journal import Record as Line
from bus.tail import Chunk, Position
from dashboard.record.projection import Projection

NOW_MS = 1_763_000_000_000


class Recorded:
    """Rows as a recorder would have written them, for topics with any number of partitions."""

    def __init__(self, topic: str = "orders", partitions: int = 1) -> None:
        self.topic = topic
        self.at_ms = NOW_MS
        self.projection = Projection()
        self.projection.load()
        self.projection.add([(topic, number) for number in range(partitions)])

    def entry(self) -> str:
        self.at_ms += 1
        return f"{self.at_ms}-0"

    def publish(self, count: int = 1, *, partition: int = 0, **fields: Any) -> list[Event]:
        usual = {"type": "order_placed", "raw": b'{"total": 120}', "correlation_id": "trace"}
        events = []
        for _ in range(count):
            entry = self.entry()
            made = {"id": f"e-{entry}", "entry": entry, **usual, **fields, "partition": partition}
            events.append(Event(**made, topic=self.topic))
        self._store(partition, events, [])
        return events

    def settle(self, events: list[Event], step: Step, *, group: str = "email", partition: int = 0, **more: Any) -> None:
        lines = [Line(int(step), event.entry, 1, **more) for event in events]
        self._store(partition, [], [JournalEntry(self.entry(), group, "w1#0", lines)])

    def subscribe(self, group: str, *, partition: int = 0, **fields: Any) -> None:
        said = SubscriptionRecord(**{"start": "0-0", **fields})
        self._store(partition, [], [JournalEntry(self.entry(), group, "w1", [], said)])

    def _store(self, partition: int, events: list[Event], journal: list[JournalEntry]) -> None:
        at = self.projection.places[self.topic, partition].position
        position = Position(events[-1].entry if events else at.events, journal[-1].position if journal else at.journal)
        self.projection.store([Chunk(self.topic, partition, events, journal, position)])
