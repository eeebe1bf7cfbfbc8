"""Dead letters on a real bus, made without a worker; and what the journal says was handed back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bus import operations, tail
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import MAX_BATCH, Settlement
from bus.publisher import Publisher
from bus.streams import Client

FAILURE = Failure("ValueError", "no mailbox", fingerprint="f1")


class Graveyard:
    """Topic `orders`, groups that took its events and gave up what they are told to."""

    def __init__(self, client: Client, topic: str = "orders", groups: tuple[str, ...] = ("email", "audit")) -> None:
        self.client = client
        self.keys = Keys(client.config.prefix, topic, 0)
        self.publisher = Publisher(client.config)
        self.publisher.declare(topic, 1)
        for group in groups:
            self.subscribe(group)

    def subscribe(self, group: str, **said: Any) -> None:
        record = SubscriptionRecord(**said)
        self.client.run(operations.subscribe(self.keys, group, record, start="0-0", worker="w"))

    def publish(self, count: int, **more: Any) -> list[str]:
        ids = []
        for first in range(0, count, MAX_BATCH):
            data = [{"number": number} for number in range(first, min(first + MAX_BATCH, count))]
            drafts = [self.publisher.draft(self.keys.topic, "order_placed", one, **more) for one in data]
            ids += [event.id for event in self.publisher.publish_many(drafts)]
        return ids

    def give_up(self, group: str = "email", failure: Failure = FAILURE, worker: str = "w#0") -> int:
        """Every event that the group has not taken yet, and what is due again, becomes a dead letter."""
        return self._settle_all(group, worker, b"d", Step.DEAD_LETTERED, failure)

    def succeed(self, group: str = "email", worker: str = "w#0") -> int:
        return self._settle_all(group, worker, b"a", Step.SUCCEEDED, None)

    def _settle_all(self, group: str, worker: str, verdict: bytes, step: Step, failure: Failure | None) -> int:
        done = 0
        while events := self._take(group, worker):
            records = [Record(int(step), event.entry, event.attempt, failure=failure) for event in events]
            ended = [Settlement(verdict, record) for record in records]
            self.client.run(operations.settle(self.keys, group, worker, ended, holds=len(ended)))
            done += len(events)
        return done

    def _take(self, group: str, worker: str) -> list[Any]:
        due = self.client.run(operations.take_due(self.keys, group, worker, count=MAX_BATCH)).events
        new = operations.take_new(self.keys, group, worker, count=MAX_BATCH, block_ms=None)
        return due or self.client.run(new).events

    def replayed(self) -> Counter[tuple[str, str]]:
        """(group, entry) of everything that the journal says was handed back."""
        found: Counter[tuple[str, str]] = Counter()
        position = tail.Position("9" * 13 + "-0", "0-0")
        while True:
            asked = {(self.keys.topic, 0): position}
            chunks = self.client.run(tail.read(self.keys.prefix, asked, count=1_000, block_ms=None))
            if not chunks:
                return found
            position = tail.Position(position.events, chunks[0].position.journal)
            for entry in chunks[0].journal:
                found.update((entry.group, one.entry) for one in entry.records if one.step == Step.REPLAYED)

    def letters(self, group: str = "email") -> int:
        """Dead letters left."""
        return len(self.client.run(operations.dead_letters(self.keys, group, count=100_000)))
