"""What only a server can break: its memory ends, it forgets scripts, streams are cut by hand, payloads are large, and
one round trip reaches many partitions. On every server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from msgspec import structs

from bus import fsck, inspect, operations, streams, tail
from bus.errors import ServerRefused
from bus.event import Event
from bus.journal import Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation, together
from tests.bus.conftest import steps_of
from tests.bus.test_operations import dead, length, retry, settle, succeeded

MANY = 24  # partitions: on three nodes, in as many slots


@pytest.fixture
def keys(client: Client, publisher: Publisher) -> Keys:
    publisher.declare("orders", 1)
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    return made


def take(client: Client, keys: Keys) -> list[Event]:
    return client.run(operations.take_new(keys, "email", "w#0", count=100, block_ms=None)).events


def told(client: Client, keys: Keys, *command: bytes) -> None:
    """Have one command carried out by the node that has these keys."""
    client.run(Operation([command, (b"EXISTS", keys.events)], len))


@contextlib.contextmanager
def full(client: Client, keys: Keys) -> Iterator[None]:
    """A server whose memory is used up."""
    told(client, keys, b"CONFIG", b"SET", b"maxmemory", b"1")
    try:
        yield
    finally:
        told(client, keys, b"CONFIG", b"SET", b"maxmemory", b"0")


@pytest.mark.parametrize("chosen", [None, "mine"], ids=["any id", "own id"])
def test_a_full_server_refuses_to_publish_and_says_why(
    client: Client, keys: Keys, publisher: Publisher, chosen: str | None
) -> None:
    draft = publisher.draft("orders", "t", 1, id=chosen)
    with full(client, keys), pytest.raises(ServerRefused, match="out of memory: raise maxmemory"):
        publisher.publish(draft)
    assert length(client, keys.events) == 0
    publisher.publish(draft)
    assert length(client, keys.events) == 1


def test_a_full_server_still_lets_groups_catch_up(client: Client, keys: Keys, publisher: Publisher) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(4)])
    with full(client, keys):
        good, again, bad, _ = take(client, keys)
        assert settle(client, keys, succeeded(good), retry(again), dead(bad)) == frozenset()
        [due] = client.run(operations.take_due(keys, "email", "w#0", count=9)).events
        assert settle(client, keys, succeeded(due)) == frozenset()
        assert client.run(operations.release(keys, "email", "w#0")) == 1
    assert steps_of(client, "orders") == ["succeeded", "retry_scheduled", "dead_lettered", "succeeded", "released"]


def test_every_operation_outlives_that_the_scripts_are_forgotten(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    def forget() -> None:
        told(client, keys, b"SCRIPT", b"FLUSH")

    forget()
    publisher.publish(publisher.draft("orders", "t", 1, id="mine"))
    forget()
    [event] = take(client, keys)
    settle(client, keys, retry(event))
    forget()
    [again] = client.run(operations.take_due(keys, "email", "w#0", count=9)).events
    forget()
    settling = operations.settle(keys, "email", "w#0", [dead(again)], holds=1)
    assert client.run(together(settling, operations.leave(keys, "email", "w#0"))) == [frozenset(), None]
    forget()
    assert list(fsck.check(client)) == []
    assert steps_of(client, "orders") == ["retry_scheduled", "dead_lettered"]


def test_settling_and_taking_the_next_is_one_round_trip(client: Client, keys: Keys, publisher: Publisher) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
    first, second = take(client, keys)[:2]
    publisher.publish(publisher.draft("orders", "t", 3))
    settling = operations.settle(keys, "email", "w#0", [succeeded(first), retry(second)], holds=3)
    due = operations.take_due(keys, "email", "w#0", count=9)
    new = operations.take_new(keys, "email", "w#0", count=9, block_ms=None)
    stale, retries, taken = client.run(together(settling, due, new))
    assert stale == frozenset()
    assert [(event.data, event.attempt) for event in retries.events] == [(1, 2)]
    assert [event.data for event in taken.events] == [3]


def test_a_blocked_take_ends_with_the_first_event(client: Client, keys: Keys, publisher: Publisher) -> None:
    taken: list[Event] = []
    take = operations.take_new(keys, "email", "w#0", count=1, block_ms=30_000)
    thread = threading.Thread(target=lambda: taken.extend(client.run(take).events))
    thread.start()
    publisher.publish(publisher.draft("orders", "t", "news"))
    thread.join(20)
    assert [event.data for event in taken] == ["news"]


@pytest.mark.parametrize("is_ordered", [False, True])
def test_a_stream_that_was_cut_by_hand_is_lost_and_said_so(
    client: Client, keys: Keys, publisher: Publisher, is_ordered: bool
) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n, key="k") for n in range(3)])
    if is_ordered:
        events = client.run(operations.take_ordered(keys, "email", "w#0", count=100)).events
    else:
        events = take(client, keys)
    settle(client, keys, *(structs.replace(retry(event), key="k" if is_ordered else "") for event in events))
    told(client, keys, b"XTRIM", keys.events, b"MAXLEN", b"0")
    wanted = operations.take_ordered if is_ordered else operations.take_due
    for _ in range(3):  # an ordered key passes on from one to the next
        assert client.run(wanted(keys, "email", "w#0", count=9)).events == []
    assert steps_of(client, "orders").count("lost") == 3
    assert list(fsck.check(client)) == []


def test_a_large_event_goes_all_the_ways(client: Client, keys: Keys) -> None:
    publisher = Publisher(replace(client.config, max_event_bytes=16 * 1024 * 1024))
    text = "ä" * 4_000_000
    publisher.publish(publisher.draft("orders", "t", text, id="large"))
    [event] = take(client, keys)
    settle(client, keys, retry(event))
    [again] = client.run(operations.take_due(keys, "email", "w#0", count=1)).events
    settle(client, keys, dead(again))
    [letter] = client.run(operations.dead_letters(keys, "email"))
    [chunk] = client.run(tail.read(client.config.prefix, {("orders", 0): tail.Position()}, block_ms=None))
    assert event.data == again.data == letter.event.data == chunk.events[0].data == text
    publisher.close()


@pytest.fixture
def many(client: Client, publisher: Publisher) -> list[tuple[str, int]]:
    publisher.declare("spread", MANY)
    return client.run(tail.partitions(client.config.prefix))


def test_one_read_finds_what_is_new_in_every_partition(
    client: Client, publisher: Publisher, many: list[tuple[str, int]]
) -> None:
    published = publisher.publish_many([publisher.draft("spread", "t", n, key=f"k{n}") for n in range(500)])
    start = dict.fromkeys(many, tail.Position())
    chunks = client.run(tail.read(client.config.prefix, start))
    found = {(chunk.topic, chunk.partition): [event.id for event in chunk.events] for chunk in chunks}
    assert found == {p: [event.id for event in published if event.partition == p[1]] for p in many}
    now = client.run(tail.newest(client.config.prefix, many))
    assert [position.events for position in now.values()] == [chunk.position.events for chunk in chunks]
    assert client.run(tail.read(client.config.prefix, now, block_ms=50)) == []


@pytest.mark.parametrize("is_async", [False, True])
def test_waiting_for_news_of_many_partitions_ends_with_the_first(
    client: Client, publisher: Publisher, many: list[tuple[str, int]], is_async: bool
) -> None:
    now = client.run(tail.newest(client.config.prefix, many))
    read = tail.read(client.config.prefix, now, block_ms=30_000)
    found: list[tail.Chunk] = []

    async def arun() -> list[tail.Chunk]:
        aclient = streams.aconnect(client.config)
        try:
            return await aclient.run(read)
        finally:
            await aclient.aclose()

    def wait() -> None:
        chunks = asyncio.run(arun()) if is_async else client.run(read)
        found.extend(chunks)

    thread = threading.Thread(target=wait)
    thread.start()
    event = publisher.publish(publisher.draft("spread", "t", "news"))
    thread.join(20)
    assert [(chunk.partition, [e.id for e in chunk.events]) for chunk in found] == [(event.partition, [event.id])]


def test_a_round_trip_reaches_many_partitions_and_answers_in_order(
    client: Client, publisher: Publisher, many: list[tuple[str, int]]
) -> None:
    publisher.publish_many([publisher.draft("spread", "t", n, key=f"k{n}", id=f"own-{n}") for n in range(500)])
    places = [Keys(client.config.prefix, *partition) for partition in many]
    subscribing = [operations.subscribe(p, "email", SubscriptionRecord(), start="0-0", worker="w") for p in places]
    assert client.run(together(*subscribing)) == [True] * MANY
    taking = [operations.take_new(p, "email", "w#0", count=500, block_ms=None) for p in places]
    taken = client.run(together(*taking))
    assert [[event.partition for event in part.events] for part in taken] == [
        [number] * len(part.events) for number, part in enumerate(taken)
    ]
    assert sum(len(part.events) for part in taken) == 500
    done = [[Settlement(b"a", Record(Step.SUCCEEDED, e.entry, 1)) for e in part.events] for part in taken]
    settling = [
        operations.settle(p, "email", "w#0", some, holds=len(some))
        for p, some in zip(places, done, strict=True)
        if some
    ]
    assert client.run(together(*settling)) == [frozenset()] * len(settling)
    found = client.run(inspect.groups(client.config.prefix, many))
    states = client.run(inspect.details(client.config.prefix, found))
    assert [(state.partition, state.pending) for state in states] == [(number, 0) for number in range(MANY)]
    assert all(state.last_delivered == state.newest for state in states)


def test_the_same_id_is_stored_once_however_many_partitions_there_are(
    client: Client, publisher: Publisher, many: list[tuple[str, int]]
) -> None:
    drafts = [publisher.draft("spread", "t", n, id=f"own-{n}") for n in range(100)]
    first = publisher.publish_many(drafts)
    assert [event.entry for event in publisher.publish_many(drafts)] == [event.entry for event in first]
    chunks = client.run(tail.read(client.config.prefix, dict.fromkeys(many, tail.Position())))
    assert sum(len(chunk.events) for chunk in chunks) == 100
