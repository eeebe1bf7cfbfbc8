"""Replay: dead letters go back to their own group, in their place in the order, each once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bus import fsck, operations, tail
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.wire import Operation
from tests.bus.conftest import records_of, steps_of
from tests.bus.test_operations import dead, length, pending, settle, succeeded
from tests.conftest import RunWorker, WaitUntil

GROUP = "email"


@pytest.fixture(params=[False, True], ids=["unordered", "ordered"])
def ordered(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def keys(client: Client, publisher: Publisher, ordered: bool) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    publisher.declare("orders", 1)
    for group in (GROUP, "stock"):
        record = SubscriptionRecord(ordered=ordered)
        client.run(operations.subscribe(made, group, record, start="0-0", worker="w"))
    return made


def take(client: Client, keys: Keys, ordered: bool) -> list[Event]:
    if ordered:
        return client.run(operations.take_ordered(keys, GROUP, "w#0", count=100)).events
    due = client.run(operations.take_due(keys, GROUP, "w#0", count=100)).events
    return due + client.run(operations.take_new(keys, GROUP, "w#0", count=100, block_ms=None)).events


def end(client: Client, keys: Keys, ordered: bool, how: object, *events: Event) -> None:
    made = [replace(how(event), key=event.key if ordered else "") for event in events]  # type: ignore[operator]
    assert settle(client, keys, *made) == frozenset()


def letters(client: Client, keys: Keys) -> list[operations.DeadLetter]:
    return client.run(operations.dead_letters(keys, GROUP))


def replay(client: Client, keys: Keys, ids: list[str]) -> operations.Replayed:
    ordered = bool(client.run(operations.keeps_order(keys, GROUP)))
    return client.run(operations.replay(keys, GROUP, ids, who="ann", ordered=ordered))


def put(publisher: Publisher, count: int) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "t", n, key="k") for n in range(count)])


def test_a_dead_letter_comes_back_with_the_next_attempt(
    client: Client, keys: Keys, publisher: Publisher, ordered: bool
) -> None:
    put(publisher, 1)
    end(client, keys, ordered, dead, *take(client, keys, ordered))
    [letter] = letters(client, keys)
    assert (letter.attempts, letter.event.data, letter.failure.error_class) == (1, 0, "ValueError")
    assert replay(client, keys, [letter.id]) == (1, [])
    [again] = take(client, keys, ordered)
    assert (again.entry, again.attempt, again.attempts_before) == (letter.event.entry, 2, 1)
    end(client, keys, ordered, succeeded, again)
    assert (pending(client, keys), letters(client, keys)) == (0, [])
    assert steps_of(client, "orders") == ["dead_lettered", "replayed", "succeeded"]
    assert length(client, keys.replayed(GROUP), b"HLEN") == 0


def test_replaying_again_after_a_lost_reply_doubles_nothing(
    client: Client, keys: Keys, publisher: Publisher, ordered: bool
) -> None:
    put(publisher, 1)
    end(client, keys, ordered, dead, *take(client, keys, ordered))
    ids = [letter.id for letter in letters(client, keys)]
    assert [replay(client, keys, ids).done for _ in range(3)] == [1, 0, 0]
    assert len(take(client, keys, ordered)) == 1


def test_a_replayed_event_waits_for_its_key(client: Client, keys: Keys, publisher: Publisher, ordered: bool) -> None:
    put(publisher, 2)
    taken = take(client, keys, ordered)
    end(client, keys, ordered, dead, taken[0])
    running = take(client, keys, ordered) or taken[1:]
    assert [event.data for event in running] == [1]
    replay(client, keys, [letter.id for letter in letters(client, keys)])
    waiting = take(client, keys, ordered)
    assert [event.data for event in waiting] == ([] if ordered else [0])
    assert list(fsck.check(client)) == []
    end(client, keys, ordered, succeeded, *running, *waiting)
    assert [event.data for event in take(client, keys, ordered)] == ([0] if ordered else [])


def test_no_other_group_gets_it(client: Client, keys: Keys, publisher: Publisher, ordered: bool) -> None:
    put(publisher, 1)
    end(client, keys, ordered, dead, *take(client, keys, ordered))
    client.run(operations.take_new(keys, "stock", "s#0", count=9, block_ms=None))
    replay(client, keys, [letter.id for letter in letters(client, keys)])
    assert client.run(operations.take_due(keys, "stock", "s#0", count=9)).events == []


def test_a_letter_whose_event_has_left_the_stream_stays(
    client: Client, keys: Keys, publisher: Publisher, ordered: bool
) -> None:
    [event] = put(publisher, 1)
    end(client, keys, ordered, dead, *take(client, keys, ordered))
    client.run(Operation([(b"XDEL", keys.events, event.entry.encode())], len))
    [letter] = letters(client, keys)
    assert replay(client, keys, [letter.id]) == (0, [letter.id])
    assert letters(client, keys) == [letter]


def test_an_event_that_the_group_will_get_anyway_is_not_doubled(
    client: Client, keys: Keys, publisher: Publisher, ordered: bool
) -> None:
    """Somebody moved the group's cursor back by hand: what was dead is new again."""
    put(publisher, 1)
    end(client, keys, ordered, dead, *take(client, keys, ordered))
    client.run(Operation([(b"XGROUP", b"SETID", keys.events, GROUP.encode(), b"0")], len))
    [letter] = letters(client, keys)
    assert replay(client, keys, [letter.id]).done == 0
    assert len(take(client, keys, ordered)) == 1


def test_a_worker_allows_the_subscriptions_attempts_anew(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil, ordered: bool
) -> None:
    broken = True

    def handler(event: Event) -> None:
        if broken or event.attempt == 3:
            raise ValueError("not yet")

    subscription = Subscription("orders", GROUP, handler, ordered=ordered, retry=Retry(attempts=2, base_seconds=0.01))
    with run_worker(subscription):
        put(publisher, 1)
        wait_until(lambda: letters(client, keys))
        broken = False
        replay(client, keys, [letter.id for letter in letters(client, keys)])
        wait_until(lambda: "succeeded" in steps_of(client, "orders"))
    attempts = [record.attempt for record in records_of(client, "orders")]
    assert attempts == [1, 2, 2, 3, 4]


def test_a_trimmed_stream_keeps_what_was_replayed(
    client: Client, keys: Keys, publisher: Publisher, ordered: bool
) -> None:
    put(publisher, 5)
    first = take(client, keys, ordered)[0]
    end(client, keys, ordered, dead, first)
    replay(client, keys, [letter.id for letter in letters(client, keys)])
    newest = client.run(tail.newest(keys.prefix, [("orders", 0)]))["orders", 0]
    client.run(tail.trim(keys.prefix, ("orders", 0), newest, 1))
    assert first.entry in {event.entry for event in take(client, keys, ordered)} or ordered
