"""For the tests of programs that use the bus: handlers in memory, or a real bus drained inline.

    with bus.testing.memory() as probe:
        place_order("o-1")                       # calls bus.publish
        probe.deliver()                          # runs every subscribed handler, and what they publish in turn
        assert probe.published("mail")[0].data == {"order_id": "o-1"}

In memory nothing is retried and nothing leaves the process: a handler's exception surfaces in `deliver`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import bus
from bus import delivery, folding, operations
from bus.config import Config
from bus.context import Attempt, current
from bus.deadline import Deadlines
from bus.errors import BusError
from bus.event import Draft, Event
from bus.history import Page
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.subscription import Admission, Registry, Subscription, describe, registry

MAX_DELIVERIES = 10_000


class Memory(Publisher):
    """A bus without a server: keeps what is published, and delivers it when told to."""

    def __init__(self, config: Config, subscriptions: Registry, groups: Iterable[str] | None = None) -> None:
        super().__init__(config)
        self._subscriptions = subscriptions
        self._groups = None if groups is None else tuple(groups)
        self._published: list[Event] = []
        self._delivered = 0

    def published(self, topic: str | None = None, type: str | None = None) -> list[Event]:
        """What was published so far, oldest first, on this topic and of this type where they are given."""
        return [e for e in self._published if topic in (None, e.topic) and type in (None, e.type)]

    def deliver(self) -> int:
        """Run the handlers of all that was published and not yet delivered, until nothing is left.

        Result: how many deliveries. Raises what a handler raises; `BusError` when events cause each other forever.
        """
        count = 0
        while self._delivered < len(self._published):
            event = self._published[self._delivered]
            self._delivered += 1
            for subscription in self._wanting(event):
                _call(subscription, event)
                count += 1
                if count > MAX_DELIVERIES:
                    raise BusError(
                        f"expected deliveries to end, got over {MAX_DELIVERIES:,}: do events cause each other?"
                    )
        return count

    def publish(self, draft: Draft) -> Event:
        event = draft.placed(0, f"{len(self._published) + 1}-0")
        self._published.append(event)
        return event

    async def apublish(self, draft: Draft) -> Event:
        return self.publish(draft)

    def publish_many(self, drafts: Sequence[Draft]) -> list[Event]:
        return [self.publish(draft) for draft in drafts]

    def events_of(self, topic: str, key: str, end: str) -> Iterator[tuple[list[Event], Page]]:
        limit = None if end == folding.LATEST or "-" not in end else operations.entry_order(end)
        found = [event for event in self.published(topic) if event.key == key]
        yield [e for e in found if limit is None or operations.entry_order(e.entry) <= limit], Page([])

    def declare(self, topic: str, partitions: int) -> int:
        return self._partitions.setdefault(topic, partitions)

    def _wanting(self, event: Event) -> list[Subscription]:
        groups = self._subscriptions.groups(self._groups).items()
        return [s for (topic, _), some in groups if topic == event.topic for s in some if s.admits(event.type)]


@contextmanager
def memory(subscriptions: Registry = registry, *, groups: Iterable[str] | None = None) -> Iterator[Memory]:
    """Replace the bus of this process by one in memory, until the block ends. `groups`: only theirs are delivered."""
    probe = Memory(Config(), subscriptions, groups)
    with bus.replaced(probe):
        yield probe


def drain(groups: Iterable[str] | None = None, *, subscriptions: Registry = registry) -> int:
    """Handle, in this thread, all that a real bus has for these groups now; later retries are left to wait.

    Result: how many attempts. A group that is new begins with the topic's first event. Failures are
    settled as a worker would: read them from the journal, or on the screen.
    """
    client = connect(bus.config())
    try:
        wanted = subscriptions.groups(groups)
        count = -1
        total = 0
        while count:
            count = sum(_drain_topic(client, topic, some) for (topic, _), some in wanted.items())
            total += count
        return total
    finally:
        client.close()


def _drain_topic(client: Client, topic: str, subscriptions: tuple[Subscription, ...]) -> int:
    prefix, group = client.config.prefix, subscriptions[0].group
    partitions = client.run(operations.declare_topic(prefix, topic, 1))
    count = 0
    for keys in (Keys(prefix, topic, number) for number in range(partitions)):
        client.run(operations.subscribe(keys, group, describe(subscriptions), start="0-0", worker="drain"))
        for event in _take(client, keys, subscriptions[0]):
            count += 1
            _settle(client, keys, subscriptions, event)
    return count


def _take(client: Client, keys: Keys, first: Subscription) -> list[Event]:
    take = operations.take_ordered(keys, first.group, "drain", count=operations.MAX_BATCH)
    if first.ordered:
        return client.run(take).events
    due = client.run(operations.take_due(keys, first.group, "drain", count=operations.MAX_BATCH)).events
    new = operations.take_new(keys, first.group, "drain", count=operations.MAX_BATCH, block_ms=None)
    return due + client.run(new).events


def _settle(client: Client, keys: Keys, subscriptions: tuple[Subscription, ...], event: Event) -> None:
    subscription = Admission(subscriptions).of(event)
    if subscription is None:
        outcome = delivery.skipped(event)
    elif subscription.is_async:
        outcome = asyncio.run(delivery.arun(subscription, event))
    else:
        outcome = delivery.run(subscription, event, Deadlines())
    settlement = delivery.judge(outcome, now=outcome.ended, ordered=subscriptions[0].ordered)
    client.run(operations.settle(keys, subscriptions[0].group, "drain", [settlement], holds=1))


def _call(subscription: Subscription, event: Event) -> None:
    token = current.set(Attempt(event, subscription.group))
    try:
        result = subscription.handler(event)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    finally:
        current.reset(token)
