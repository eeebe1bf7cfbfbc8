"""What an operator does to single pending entries: release, skip, give up; fenced, journalled, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bus import control, fsck, operations, pending
from bus.errors import GroupInvalid, ServerUnavailable
from bus.event import Event
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement, Taken
from bus.pending import Chosen
from bus.publisher import Publisher
from bus.streams import Client, connect
from tests.bus.conftest import journal_of, records_of, steps_of
from tests.bus.swallower import Swallower

FAR_MS = 3_600_000


@pytest.fixture
def keys(client: Client) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    ordered = SubscriptionRecord(ordered=True, on_dead="halt")
    client.run(operations.subscribe(made, "ledger", ordered, start="0-0", worker="w"))
    return made


def publish(publisher: Publisher, *numbers: int, key: str | None = None) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "t", n, key=key) for n in numbers])


def take(client: Client, keys: Keys, group: str = "email", owner: str = "w1#0") -> list[Event]:
    if group == "ledger":
        taken: Taken = client.run(operations.take_ordered(keys, group, owner, count=9))
        return taken.events
    due = client.run(operations.take_due(keys, group, owner, count=9)).events
    return [*due, *client.run(operations.take_new(keys, group, owner, count=9, block_ms=None)).events]


def retry_late(client: Client, keys: Keys, event: Event) -> None:
    record = Record(Step.RETRY_SCHEDULED, event.entry, event.attempt, due_in_ms=FAR_MS, failure=Failure("E", "no"))
    client.run(operations.settle(keys, "email", "w1#0", [Settlement(b"r", record)], holds=9))


def settle(client: Client, keys: Keys, event: Event, *, group: str = "email", owner: str = "w1#0") -> set[str]:
    record = Record(Step.SUCCEEDED, event.entry, event.attempt)
    key = event.key or "" if group == "ledger" else ""
    return set(client.run(operations.settle(keys, group, owner, [Settlement(b"a", record, key)], holds=9)))


def of(event: Event) -> list[Chosen]:
    return [Chosen(event.entry, event.attempt)]


def is_sound(client: Client) -> bool:
    return list(fsck.check(client)) == []


def test_a_retry_that_is_released_need_not_wait(client: Client, keys: Keys, publisher: Publisher) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    retry_late(client, keys, event)
    assert take(client, keys) == []
    assert client.run(pending.release(keys, "email", of(event), who="ann")) == (1, {})
    (again,) = take(client, keys)
    assert (again.entry, again.attempt) == (event.entry, 2)
    assert journal_of(client, "orders")[-1].worker == "ann"
    assert steps_of(client, "orders") == ["retry_scheduled", "released"]
    assert is_sound(client)


def test_what_a_worker_runs_is_taken_from_it_and_its_result_is_stale(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    assert client.run(pending.release(keys, "email", of(event), who="ann")).done == 1
    assert settle(client, keys, event) == {event.entry}, "the fence"
    (again,) = take(client, keys)
    assert (again.attempt, again.attempts_before) == (2, 1), "a new fencing token, and the attempt does not count"
    assert settle(client, keys, again) == set()
    assert is_sound(client)


def test_a_skipped_entry_leaves_the_group_unhandled(client: Client, keys: Keys, publisher: Publisher) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    retry_late(client, keys, event)
    assert client.run(pending.skip(keys, "email", of(event), who="ann")).done == 1
    assert steps_of(client, "orders")[-1] == "skipped"
    assert client.run(operations.dead_letters(keys, "email")) == []
    assert client.run(pending.release(keys, "email", of(event), who="ann")) == (0, {event.entry: "gone"})
    assert is_sound(client)


def test_an_entry_that_is_given_up_is_a_dead_letter_that_can_be_replayed(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    asked = pending.dead_letter(keys, "email", of(event), who="ann", reason="poison")
    assert client.run(asked).done == 1
    (letter,) = client.run(operations.dead_letters(keys, "email"))
    assert (letter.failure.error_class, letter.failure.message) == ("Operator", "given up by ann: poison")
    (record,) = records_of(client, "orders")
    assert record.failure == letter.failure
    assert client.run(operations.replay(keys, "email", [letter.id], who="ann", ordered=False)).done == 1
    assert [one.entry for one in take(client, keys)] == [event.entry]
    assert is_sound(client)


@pytest.mark.parametrize("verb", [pending.release, pending.skip, pending.dead_letter])
def test_an_entry_that_moved_since_it_was_seen_is_passed_over(
    client: Client, keys: Keys, publisher: Publisher, verb: object
) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    seen = [Chosen(event.entry, 7)]
    assert client.run(verb(keys, "email", seen, who="ann")) == (0, {event.entry: "moved"})  # type: ignore[operator]
    assert records_of(client, "orders") == []
    assert settle(client, keys, event) == set()


@pytest.mark.parametrize("verb", [pending.skip, pending.dead_letter])
def test_the_key_of_an_entry_that_leaves_passes_on_or_halts(
    client: Client, keys: Keys, publisher: Publisher, verb: object
) -> None:
    first, second = publish(publisher, 1, 2, key="o-1")
    (event,) = take(client, keys, "ledger")
    assert event.entry == first.entry
    assert client.run(verb(keys, "ledger", of(event), who="ann")).done == 1  # type: ignore[operator]
    following = [one.entry for one in take(client, keys, "ledger")]
    assert following == ([second.entry] if verb is pending.skip else []), "on_dead=halt blocks the key"
    assert is_sound(client)


def test_an_entry_that_waits_for_its_key_can_be_skipped_but_not_released(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    first, second = publish(publisher, 1, 2, key="o-1")
    (event,) = take(client, keys, "ledger")
    waiting = [Chosen(second.entry, 0)]
    assert client.run(pending.release(keys, "ledger", waiting, who="ann")) == (0, {second.entry: "key"})
    assert client.run(pending.skip(keys, "ledger", waiting, who="ann")).done == 1
    assert settle(client, keys, event, group="ledger") == set()
    assert take(client, keys, "ledger") == []
    assert first.entry == event.entry
    assert is_sound(client)


def test_an_event_that_left_the_stream_is_lost_when_it_is_released_and_skipped_all_the_same(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    publish(publisher, 1, 2)
    one, two = take(client, keys)
    for event in (one, two):
        retry_late(client, keys, event)
        client.run(operations.Operation([(b"XDEL", keys.events, event.entry.encode())], lambda _: None))
    client.run(pending.release(keys, "email", of(one), who="ann"))
    client.run(pending.skip(keys, "email", of(two), who="ann"))
    assert steps_of(client, "orders")[-2:] == ["lost", "skipped"]


@pytest.mark.parametrize("verb", [pending.release, pending.skip, pending.dead_letter])
def test_a_reply_that_is_lost_and_asked_for_again_does_nothing_twice(
    client: Client, keys: Keys, publisher: Publisher, swallower: Swallower, verb: object
) -> None:
    publish(publisher, 1)
    (event,) = take(client, keys)
    asked = verb(keys, "email", of(event), who="ann")  # type: ignore[operator]
    far = connect(replace(client.config, url=swallower.url))
    far.run(control.paused_by(keys, "email"))
    swallower.lose = 1
    with pytest.raises(ServerUnavailable):
        far.run(asked)
    again = client.run(asked)
    assert again.done == 0
    assert set(again.passed.values()) <= {"gone", "due"}
    assert len(records_of(client, "orders")) == 1
    assert len(client.run(operations.dead_letters(keys, "email"))) == (verb is pending.dead_letter)
    far.close()
    assert is_sound(client)


def test_a_group_that_is_not_there_is_an_error(client: Client, keys: Keys) -> None:
    with pytest.raises(GroupInvalid):
        client.run(pending.skip(keys, "nobody", [Chosen("1-0", 1)], who="ann"))
