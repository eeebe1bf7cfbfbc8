"""Operations against a real server: each change is made once, fenced, and written into the journal with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bus import operations
from bus.config import Config
from bus.errors import EventConflict, ServerRefused, TopicFull
from bus.event import Draft, Event
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement, entry_order
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation
from tests.bus.conftest import journal_of, records_of, steps_of

Ending = Callable[[Event], Settlement]


@pytest.fixture
def keys(client: Client) -> Keys:
    return Keys(client.config.prefix, "orders", 0)


@pytest.fixture
def group(client: Client, keys: Keys) -> str:
    client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    return "email"


def publish(publisher: Publisher, count: int = 1) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "order_placed", {"n": n}) for n in range(count)])


def take(client: Client, keys: Keys, owner: str = "w#0", count: int = 100) -> list[Event]:
    return client.run(operations.take_new(keys, "email", owner, count=count, block_ms=None)).events


def succeeded(event: Event) -> Settlement:
    return Settlement(b"a", Record(Step.SUCCEEDED, event.entry, event.attempt))


def retry(event: Event, delay_ms: int = 0) -> Settlement:
    return Settlement(b"r", Record(Step.RETRY_SCHEDULED, event.entry, event.attempt, due_in_ms=delay_ms))


def dead(event: Event) -> Settlement:
    failure = Failure("ValueError", "no")
    return Settlement(b"d", Record(Step.DEAD_LETTERED, event.entry, event.attempt, failure=failure))


def settle(client: Client, keys: Keys, *settlements: Settlement, owner: str = "w#0") -> frozenset[str]:
    return client.run(operations.settle(keys, "email", owner, settlements, holds=len(settlements)))


def pending(client: Client, keys: Keys) -> int:
    return client.run(Operation([(b"XPENDING", keys.events, b"email")], lambda replies: int(replies[0][0])))


def length(client: Client, key: bytes, command: bytes = b"XLEN") -> int:
    return client.run(Operation([(command, key)], lambda replies: int(replies[0])))


def test_an_id_chosen_by_its_publisher_is_stored_once(client: Client, keys: Keys, publisher: Publisher) -> None:
    entries = {publisher.publish(publisher.draft("orders", "t", {"n": 1}, id="mine")).entry for _ in range(3)}
    assert len(entries) == 1
    assert length(client, keys.events) == 1


def test_the_same_id_twice_in_one_call_is_stored_once(client: Client, keys: Keys, publisher: Publisher) -> None:
    drafts = [publisher.draft("orders", "t", {"n": 1}, id="mine") for _ in range(3)]
    assert len({event.entry for event in publisher.publish_many(drafts)}) == 1
    assert length(client, keys.events) == 1


def test_the_same_id_with_other_content_is_refused_and_writes_nothing(
    client: Client, keys: Keys, publisher: Publisher
) -> None:
    publisher.publish(publisher.draft("orders", "t", {"n": 1}, id="mine"))
    with pytest.raises(EventConflict, match="expected event mine to be what was published before"):
        publisher.publish_many([publisher.draft("orders", "t", 0), publisher.draft("orders", "t", {"n": 2}, id="mine")])
    assert length(client, keys.events) == 1


def test_many_events_keep_their_order(client: Client, keys: Keys, publisher: Publisher) -> None:
    published = publish(publisher, 1234)
    assert [e.entry for e in published] == sorted((e.entry for e in published), key=entry_order)
    assert length(client, keys.events) == 1234


def test_many_events_on_a_key_of_something_else_are_refused(client: Client, keys: Keys, publisher: Publisher) -> None:
    client.run(Operation([(b"SET", keys.events, b"mine")], len))
    with pytest.raises(ServerRefused, match="WRONGTYPE"):
        publish(publisher, 3)


def test_a_new_group_starts_where_it_was_told(client: Client, keys: Keys, publisher: Publisher) -> None:
    old = publish(publisher)[0]
    for name, start, sees in [("late", "$", 0), ("early", "0-0", 1)]:
        assert client.run(operations.subscribe(keys, name, SubscriptionRecord(), start=start, worker="w"))
        taken = client.run(operations.take_new(keys, name, "w#0", count=9, block_ms=None))
        assert len(taken.events) == sees
    starts = {entry.group: entry.subscription.start for entry in journal_of(client, "orders") if entry.subscription}
    assert starts == {"late": old.entry, "early": "0-0"}


def test_an_unchanged_subscription_is_journalled_once(client: Client, keys: Keys) -> None:
    for attempts in (5, 5, 6):
        record = SubscriptionRecord(attempts=attempts)
        client.run(operations.subscribe(keys, "email", record, start="$", worker="w"))
    assert [entry.subscription.attempts for entry in journal_of(client, "orders") if entry.subscription] == [5, 6]


def test_settling_ends_each_delivery_as_judged(client: Client, keys: Keys, group: str, publisher: Publisher) -> None:
    publish(publisher, 3)
    good, again, bad = take(client, keys)
    assert settle(client, keys, succeeded(good), retry(again, 60_000), dead(bad)) == frozenset()
    assert pending(client, keys) == 1
    assert length(client, keys.due(group), b"ZCARD") == 1
    assert length(client, keys.dead(group)) == 1
    assert steps_of(client, "orders") == ["succeeded", "retry_scheduled", "dead_lettered"]


def test_a_dead_letter_keeps_a_copy_of_its_event(client: Client, keys: Keys, group: str, publisher: Publisher) -> None:
    publish(publisher)
    [event] = take(client, keys)
    settle(client, keys, dead(event))
    rows = client.run(Operation([(b"XRANGE", keys.dead(group), b"-", b"+")], lambda replies: list(replies[0])))
    fields = dict(zip(rows[0][1][::2], rows[0][1][1::2], strict=True))
    assert (fields[b"entry"], fields[b"attempt"], fields[b"data"]) == (event.entry.encode(), b"1", b'{"n":0}')


@pytest.mark.parametrize("late", [succeeded, retry, dead])
def test_settling_twice_changes_nothing(
    client: Client, keys: Keys, group: str, publisher: Publisher, late: Ending
) -> None:
    publish(publisher)
    [event] = take(client, keys)
    settle(client, keys, succeeded(event))
    assert settle(client, keys, late(event)) == {event.entry}
    assert steps_of(client, "orders") == ["succeeded"]
    assert length(client, keys.dead(group)) == 0


def test_a_stale_owner_changes_nothing_but_its_neighbours_are_settled(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher, 2)
    lost, kept = take(client, keys)
    client.run(operations.reclaim(keys, group, "other", {"w#0": 0}, max_crashes=3))
    [again] = client.run(operations.take_due(keys, group, "other#0", count=9)).events  # those of the dead come alone
    assert again.attempt == 2
    assert settle(client, keys, succeeded(lost), succeeded(kept)) == {lost.entry, kept.entry}
    assert settle(client, keys, succeeded(again), owner="other#0") == frozenset()
    assert steps_of(client, "orders") == ["reclaimed", "reclaimed", "succeeded"]


def test_a_partly_stale_batch_journals_only_what_it_settled(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher, 2)
    first, second = take(client, keys)
    settle(client, keys, succeeded(first))
    assert settle(client, keys, succeeded(first), succeeded(second)) == {first.entry}
    assert [record.entry for record in records_of(client, "orders")] == [first.entry, second.entry]


def test_a_retry_comes_when_it_is_due_with_the_next_attempt(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher, 2)
    soon, later = take(client, keys)
    settle(client, keys, retry(soon), retry(later, 60_000))
    taken = client.run(operations.take_due(keys, group, "w#0", count=9))
    assert [(event.entry, event.attempt) for event in taken.events] == [(soon.entry, 2)]
    assert taken.next_due_ms
    assert 50_000 < taken.next_due_ms <= 60_000


def test_a_retry_whose_event_is_gone_is_lost_and_said_so(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher)
    [event] = take(client, keys)
    settle(client, keys, retry(event))
    client.run(Operation([(b"XDEL", keys.events, event.entry.encode())], lambda replies: replies[0]))
    assert client.run(operations.take_due(keys, group, "w#0", count=9)).events == []
    assert steps_of(client, "orders") == ["retry_scheduled", "lost"]
    assert pending(client, keys) == 0


def test_what_is_released_does_not_count_as_an_attempt(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher, 2)
    take(client, keys)
    assert client.run(operations.release(keys, group, "w#0")) == 2
    again = client.run(operations.take_due(keys, group, "w#1", count=9)).events
    assert [event.attempt for event in again] == [1, 1]
    assert steps_of(client, "orders") == ["released", "released"]


def test_a_third_crash_makes_a_dead_letter(client: Client, keys: Keys, group: str, publisher: Publisher) -> None:
    publish(publisher)
    [event] = take(client, keys)
    for owner in ("w#0", "w#1", "w#2"):
        client.run(operations.reclaim(keys, group, "other", {owner: 0}, max_crashes=3))
        client.run(operations.take_due(keys, group, f"w#{int(owner[2]) + 1}", count=9))
    assert steps_of(client, "orders") == ["reclaimed", "reclaimed", "dead_lettered"]
    last = records_of(client, "orders")[-1]
    assert (last.entry, last.attempt) == (event.entry, 3)
    assert last.failure
    assert last.failure.error_class == "CrashLoop"
    assert (pending(client, keys), length(client, keys.dead(group))) == (0, 1)


def test_what_a_fresh_owner_holds_is_not_reclaimed_before_it_is_idle(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher)
    take(client, keys)
    assert client.run(operations.reclaim(keys, group, "other", {"w#0": 60_000}, max_crashes=3)) == 0
    assert client.run(operations.owners(keys, group)) == ["w#0"]


def test_scripts_that_the_server_forgot_are_sent_again(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher)
    [event] = take(client, keys)
    client.run(Operation([(b"SCRIPT", b"FLUSH")], lambda replies: replies[0]))
    assert settle(client, keys, succeeded(event)) == frozenset()
    assert pending(client, keys) == 0


def test_a_group_that_is_not_there_is_no_error(client: Client, keys: Keys, publisher: Publisher) -> None:
    publish(publisher)
    assert not client.run(operations.take_new(keys, "nobody", "w#0", count=1, block_ms=None)).group_exists
    assert client.run(operations.release(keys, "nobody", "w#0")) == 0


def test_an_entry_with_a_thousand_fields_can_be_dead_lettered(client: Client, keys: Keys, group: str) -> None:
    fields = [part for n in range(5000) for part in (b"f%d" % n, b"x")]
    client.run(Operation([(b"XADD", keys.events, b"*", *fields)], lambda replies: replies[0]))
    [event] = take(client, keys)
    assert settle(client, keys, dead(event)) == frozenset()
    assert length(client, keys.dead(group)) == 1


def test_drafts_remember_whether_their_id_was_chosen(publisher: Publisher) -> None:
    assert isinstance(publisher.draft("orders", "t", 1), Draft)
    assert not publisher.draft("orders", "t", 1).dedupe
    assert publisher.draft("orders", "t", 1, id="x").dedupe


def test_a_dead_letter_whose_event_was_trimmed_is_there_and_can_not_be_replayed(
    client: Client, keys: Keys, group: str, publisher: Publisher
) -> None:
    publish(publisher, 1)
    [event] = take(client, keys)
    client.run(Operation([(b"XTRIM", keys.events, b"MAXLEN", b"0")], len))
    assert settle(client, keys, dead(event)) == frozenset()
    [letter] = client.run(operations.dead_letters(keys, group))
    assert (letter.event.entry, letter.failure.error_class) == (event.entry, "ValueError")
    assert client.run(operations.replay(keys, group, [letter.id], who="ann", ordered=False)).gone == [letter.id]


def test_a_full_partition_takes_nothing_and_loses_nothing(client: Client, keys: Keys, config: Config) -> None:
    full = replace(config, full_events=3)
    first, other = Publisher(full), Publisher(full)
    publish(first, 5)
    for attempt in (lambda: publish(other, 1), lambda: other.publish(other.draft("orders", "t", 6))):
        with pytest.raises(TopicFull, match=r"holds 5 events, as many as BUS\['full_events'\] allows"):
            attempt()
    assert length(client, keys.events) == 5
    client.run(Operation([(b"XTRIM", keys.events, b"MAXLEN", b"2")], len))
    other.publish(other.draft("orders", "t", 6))
    assert length(client, keys.events) == 3
    first.close()
    other.close()
