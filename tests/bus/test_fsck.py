"""fsck: silent on a healthy bus, names each kind of damage, and mends it so that nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from bus import fsck, operations
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation
from tests.bus.test_operations import dead, pending, retry, settle, succeeded

GROUP = "email"
Damage = Callable[[Keys, Event], tuple[bytes, ...]]


@pytest.fixture
def keys(client: Client, publisher: Publisher) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    publisher.declare("orders", 1)
    client.run(operations.subscribe(made, GROUP, SubscriptionRecord(ordered=True), start="0-0", worker="w"))
    return made


def take(client: Client, keys: Keys) -> list[Event]:
    return client.run(operations.take_ordered(keys, GROUP, "w#0", count=100)).events


def put(publisher: Publisher, *names: str | None) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n, key=key) for n, key in enumerate(names)])


def found(client: Client, *, repair: bool = False) -> set[str]:
    return {problem.what for problem in fsck.check(client, repair=repair)}


def drain(client: Client, keys: Keys) -> list[int]:
    """Handle all that can be taken; the data of what succeeded, in order."""
    done = []
    for _ in range(50):
        for event in take(client, keys):
            done.append(event.data)
            settle(client, keys, replace(succeeded(event), key=event.key or ""))
    return done


def test_a_healthy_bus_has_no_problem_at_any_moment(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a", "b", None, "a", "b")
    assert found(client) == set()
    first, second, third = take(client, keys)
    assert found(client) == set()
    settle(client, keys, replace(retry(first, 60_000), key="a"), replace(dead(second), key="b"))
    assert found(client) == set()
    settle(client, keys, succeeded(third))
    assert found(client) == set()
    assert [event.data for event in take(client, keys)] == [5]
    assert found(client) == set()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda keys, _: (b"DEL", keys.due(GROUP)), "parked, but nothing will ever take it"),
        (lambda keys, _: (b"ZADD", keys.due(GROUP), b"1", b"1-1"), "due, but not pending"),
        (lambda keys, _: (b"DEL", keys.parked(GROUP)), "parked, but nothing will ever take it"),
        (lambda keys, _: (b"ZADD", keys.parked(GROUP), b"0", b"x:1-1"), "waits for its key, but is not pending"),
        (lambda keys, _: (b"DEL", keys.busy(GROUP)), "waits for a key that nobody holds"),
        (lambda keys, _: (b"HSET", keys.busy(GROUP), b"zzz", b"1-1"), "holds a key, but is not pending"),
        (lambda keys, e: (b"XDEL", keys.events, e.entry.encode()), "pending, but its event is gone"),
        (lambda keys, e: (b"ZADD", keys.due(GROUP), b"9", e.entry.encode()), None),
    ],
)
def test_damage_is_named_and_mended(
    client: Client, keys: Keys, publisher: Publisher, damage: Damage, what: str | None
) -> None:
    put(publisher, "a", "a", "b", "a")
    first, _ = take(client, keys)
    settle(client, keys, replace(retry(first), key="a"))
    client.run(Operation([damage(keys, first)], len))
    problems = found(client)
    assert (what in problems) if what else not problems
    found(client, repair=True)
    assert found(client) == set()
    client.run(operations.release(keys, GROUP, "w#0"))
    lost = {0} if what == "pending, but its event is gone" else set()
    assert set(drain(client, keys)) == {0, 1, 2, 3} - lost
    assert pending(client, keys) == 0


def test_an_entry_that_is_owned_and_due_is_taken_once(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, None)
    [event] = take(client, keys)
    client.run(Operation([(b"ZADD", keys.due(GROUP), b"1", event.entry.encode())], len))
    assert found(client, repair=True) == {"owned by a worker and due at once"}
    assert found(client) == set()


def test_more_entries_than_a_slice_are_all_checked(
    client: Client, keys: Keys, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck, "SLICE", 3)
    put(publisher, *[None] * 20)
    settle(client, keys, *(retry(event, 60_000) for event in take(client, keys)))
    client.run(Operation([(b"DEL", keys.due(GROUP))], len))
    assert len(list(fsck.check(client))) == 20
