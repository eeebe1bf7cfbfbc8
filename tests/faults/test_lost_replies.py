"""Each operation is carried out three times without a word, and its caller does what our callers do: again, or
recover. There is one event, one settling, one record all the same."""

from __future__ import annotations

import inspect as python
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus import control, fsck, operations, tail
from bus import inspect as state
from bus.event import Event
from bus.journal import Record, Step, SubscriptionRecord
from bus.keys import Keys, global_key
from bus.operations import Settlement
from bus.publisher import Publisher, digest
from bus.streams import Client
from bus.wire import Operation
from tests.bus.conftest import journal_of, steps_of
from tests.bus.test_operations import dead, length, pending, retry, succeeded
from tests.faults.conftest import Lose

GROUP = "email"
DAY_MS = 86_400_000

Test = Callable[..., None]
covered: set[str] = {"publish"}  # without an id of one's own it is not published again: tests/bus/test_streams.py
READS = {"await_news", "dead_letters", "discarded", "keeps_order", "owners", "paused_by"}


def covers(*names: str) -> Callable[[Test], Test]:
    """Notes which operations a test is about."""
    covered.update(names)
    return lambda test: test


@pytest.fixture
def keys(client: Client) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    return made


@pytest.fixture
def group(client: Client, keys: Keys) -> str:
    client.run(operations.subscribe(keys, GROUP, SubscriptionRecord(), start="0-0", worker="w"))
    return GROUP


@pytest.fixture
def ordered_group(client: Client, keys: Keys) -> str:
    client.run(operations.subscribe(keys, GROUP, SubscriptionRecord(ordered=True), start="0-0", worker="w"))
    return GROUP


def put(publisher: Publisher, count: int, *, key: str | None = None) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "t", n, key=key) for n in range(count)])


def take_new(keys: Keys, owner: str = "w#0", count: int = 100) -> Operation[operations.Taken]:
    return operations.take_new(keys, GROUP, owner, count=count, block_ms=None)


def take_due(keys: Keys, owner: str = "w#0") -> Operation[operations.Taken]:
    return operations.take_due(keys, GROUP, owner, count=100)


def settle(keys: Keys, *settlements: Settlement, owner: str = "w#0") -> Operation[frozenset[str]]:
    return operations.settle(keys, GROUP, owner, settlements, holds=len(settlements))


def recover(client: Client, keys: Keys, owner: str) -> int:
    """What a cycle does after trouble: it gives back all that it holds, known to it or not."""
    released = client.run(operations.release(keys, GROUP, owner))
    client.run(operations.leave(keys, GROUP, owner))
    return released


def is_sound(client: Client) -> bool:
    return list(fsck.check(client)) == []


@covers("publish_batch")
def test_published_again_under_its_own_id_an_event_is_stored_once(
    client: Client, keys: Keys, publisher: Publisher, lose: Lose
) -> None:
    drafts = [publisher.draft("orders", "t", n, id=f"mine-{n}") for n in range(3)]
    operation = operations.publish_batch(keys, drafts, {draft.id: digest(draft) for draft in drafts}, DAY_MS)
    lose(operation)
    entries = client.run(operation)
    assert len(set(entries)) == 3
    assert length(client, keys.events) == 3


@covers("declare_topic")
def test_declared_again_a_topic_has_the_partitions_it_had(client: Client, lose: Lose) -> None:
    operation = operations.declare_topic(client.config.prefix, "parts", 4)
    lose(operation)
    assert client.run(operation) == 4


@covers("subscribe")
def test_subscribed_again_a_group_begins_once_and_where_it_began(
    client: Client, keys: Keys, publisher: Publisher, lose: Lose
) -> None:
    operation = operations.subscribe(keys, GROUP, SubscriptionRecord(), start="$", worker="w")
    lose(operation)
    put(publisher, 1)
    assert not client.run(operation)
    assert len([entry for entry in journal_of(client, "orders") if entry.subscription]) == 1
    assert len(client.run(take_new(keys)).events) == 1


@covers("take_new", "release", "leave")
def test_new_events_that_nobody_heard_of_come_again_as_first_attempts(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 3)
    lose(take_new(keys, count=1))
    assert recover(client, keys, "w#0") == 3
    again = client.run(take_due(keys, "w#1")).events
    assert [(event.data, event.attempt) for event in again] == [(0, 1), (1, 1), (2, 1)]
    assert client.run(settle(keys, *map(succeeded, again), owner="w#1")) == frozenset()
    assert steps_of(client, "orders") == ["released"] * 3 + ["succeeded"] * 3
    assert is_sound(client)


@covers("take_due")
def test_a_retry_that_nobody_heard_of_keeps_its_number(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 1)
    client.run(settle(keys, *map(retry, client.run(take_new(keys)).events)))
    for number in range(1, 4):
        lose(take_due(keys, f"w#{number}"))
        assert recover(client, keys, f"w#{number}") == 1
    [again] = client.run(take_due(keys, "w#4")).events
    assert again.attempt == 2
    assert client.run(settle(keys, succeeded(again), owner="w#4")) == frozenset()
    assert steps_of(client, "orders") == ["retry_scheduled", *["released"] * 3, "succeeded"]
    assert is_sound(client)


@covers("take_ordered")
def test_ordered_events_that_nobody_heard_of_come_again_in_order(
    client: Client, keys: Keys, ordered_group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 4, key="k")
    lose(operations.take_ordered(keys, GROUP, "w#0", count=1))
    assert recover(client, keys, "w#0") == 1
    done = []
    for _ in range(4):
        [event] = client.run(operations.take_ordered(keys, GROUP, "w#1", count=9)).events
        done.append((event.data, event.attempt))
        client.run(settle(keys, replace(succeeded(event), key="k"), owner="w#1"))
    assert done == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert is_sound(client)


@covers("settle")
@pytest.mark.parametrize(
    ("ending", "word", "still", "letters"),
    [(succeeded, "succeeded", 0, 0), (retry, "retry_scheduled", 1, 0), (dead, "dead_lettered", 0, 1)],
)
def test_settled_again_a_delivery_is_stale_and_was_settled_once(
    client: Client,
    keys: Keys,
    group: str,
    publisher: Publisher,
    lose: Lose,
    ending: Callable[[Event], Settlement],
    word: str,
    still: int,
    letters: int,
) -> None:
    put(publisher, 1)
    [event] = client.run(take_new(keys)).events
    operation = settle(keys, ending(event))
    lose(operation)
    assert client.run(operation) == {event.entry}
    assert steps_of(client, "orders") == [word]
    assert (pending(client, keys), length(client, keys.dead(GROUP))) == (still, letters)
    assert length(client, keys.due(GROUP), b"ZCARD") == still
    assert is_sound(client)


@pytest.mark.parametrize("ending", [succeeded, dead])
def test_settled_again_a_key_has_passed_to_one_event_only(
    client: Client, keys: Keys, ordered_group: str, publisher: Publisher, lose: Lose, ending: Any
) -> None:
    put(publisher, 3, key="k")
    [event] = client.run(operations.take_ordered(keys, GROUP, "w#0", count=9)).events
    lose(settle(keys, replace(ending(event), key="k")))
    [following] = client.run(operations.take_ordered(keys, GROUP, "w#0", count=9)).events
    assert (following.data, following.attempt) == (1, 1)
    assert is_sound(client)


def test_what_was_settled_unheard_is_not_given_back(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 2)
    good, late = client.run(take_new(keys)).events
    lose(settle(keys, succeeded(good)))
    assert recover(client, keys, "w#0") == 1
    assert [event.entry for event in client.run(take_due(keys, "w#1")).events] == [late.entry]


@covers("release", "leave")
def test_given_back_again_nothing_is_given_back_twice(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 2)
    client.run(take_new(keys))
    lose(operations.release(keys, GROUP, "w#0"))
    lose(operations.leave(keys, GROUP, "w#0"))
    assert recover(client, keys, "w#0") == 0
    assert steps_of(client, "orders") == ["released", "released"]
    assert [event.attempt for event in client.run(take_due(keys, "w#1")).events] == [1, 1]


@covers("reclaim")
def test_reclaimed_again_a_crash_counts_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 1)
    client.run(take_new(keys, "gone#0"))
    operation = operations.reclaim(keys, GROUP, "w", {"gone#0": 0}, max_crashes=3)
    lose(operation)
    assert client.run(operation) == 0
    assert steps_of(client, "orders") == ["reclaimed"]
    [again] = client.run(take_due(keys)).events
    assert again.attempt == 2
    assert is_sound(client)


@covers("replay")
@pytest.mark.parametrize("ordered", [False, True])
def test_replayed_again_a_dead_letter_is_handed_back_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose, ordered: bool
) -> None:
    put(publisher, 2)
    client.run(settle(keys, *map(dead, client.run(take_new(keys)).events)))
    ids = [letter.id for letter in client.run(operations.dead_letters(keys, GROUP))]
    operation = operations.replay(keys, GROUP, ids, who="ann", ordered=ordered)
    lose(operation)
    assert client.run(operation) == (0, [])
    assert steps_of(client, "orders")[2:] == ["replayed", "replayed"]
    assert [event.attempt for event in client.run(take_due(keys)).events] == [2, 2]
    assert pending(client, keys) == 2


@covers("announce")
def test_an_announcement_is_not_repeated(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    """A cycle forgets what it announced before it asks: an attempt may begin unannounced, never twice."""
    put(publisher, 3)
    taken = client.run(take_new(keys)).events
    began = [[Record(Step.DELIVERED, event.entry, event.attempt)] for event in taken]
    lose(*(operations.announce(keys, GROUP, "w#0", records) for records in began))
    client.run(settle(keys, *map(succeeded, taken)))
    assert steps_of(client, "orders") == ["delivered"] * 3 + ["succeeded"] * 3


@covers("heartbeat", "farewell")
def test_beating_again_is_one_worker_and_leaving_again_is_none(client: Client, lose: Lose) -> None:
    prefix = client.config.prefix
    lose(operations.heartbeat(prefix, "w", b'{"pid":7}'))
    assert [worker.pid for worker in client.run(state.workers(prefix))] == [7]
    lose(operations.farewell(prefix, "w"))
    assert client.run(state.workers(prefix)) == []


@covers("rebase")
def test_a_clock_looked_at_again_moves_retries_back_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 1)
    hour = 3_600_000
    client.run(settle(keys, *(retry(event, 2 * hour) for event in client.run(take_new(keys)).events)))
    now = client.run(operations.heartbeat(keys.prefix, "w", b"{}"))
    client.run(Operation([(b"HSET", keys.meta, f"clock:{group}".encode(), b"%d" % (now + hour))], len))
    lose(operations.rebase(keys, GROUP, "w"))
    assert client.run(operations.rebase(keys, GROUP, "w")) == 0
    left = client.run(take_due(keys)).next_due_ms
    assert left
    assert hour - 60_000 < left <= hour
    assert controls(client) == ["rebased"]


@covers("reap")
def test_reaped_again_owners_that_hold_something_stay(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 1)
    client.run(take_new(keys))
    lose(operations.reap(keys, GROUP))
    assert client.run(operations.owners(keys, GROUP)) == ["w#0"]


@covers("pause", "resume")
def test_paused_and_resumed_again_a_group_did_so_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 1)
    lose(control.pause(keys, GROUP, who="ann"))
    assert client.run(take_due(keys)).events == []
    lose(control.resume(keys, GROUP, who="ann"))
    assert controls(client) == ["paused", "resumed"]
    assert len(client.run(take_new(keys)).events) == 1


@covers("rewind")
def test_rewound_again_each_event_comes_anew_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 3)
    client.run(settle(keys, *map(succeeded, client.run(take_new(keys)).events)))
    client.run(control.pause(keys, GROUP, who="ann"))
    lose(control.rewind(keys, GROUP, "0-0", who="ann"))
    client.run(control.resume(keys, GROUP, who="ann"))
    assert [event.data for event in client.run(take_new(keys, "w#0.1")).events] == [0, 1, 2]
    assert pending(client, keys) == 3
    assert is_sound(client)


@covers("discard", "restore")
def test_put_aside_and_back_again_a_dead_letter_is_there_once(
    client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 2)
    client.run(settle(keys, *map(dead, client.run(take_new(keys)).events)))
    ids = [letter.id for letter in client.run(operations.dead_letters(keys, GROUP))]
    lose(control.discard(keys, GROUP, ids, who="ann"))
    aside = [letter.id for letter in client.run(control.discarded(keys, GROUP))]
    assert (len(aside), length(client, keys.dead(GROUP))) == (2, 0)
    lose(control.restore(keys, GROUP, aside, who="ann"))
    assert (length(client, keys.discarded(GROUP)), length(client, keys.dead(GROUP))) == (0, 2)
    assert steps_of(client, "orders")[2:] == ["discarded"] * 2 + ["restored"] * 2


def controls(client: Client) -> list[str]:
    return [entry.control.kind for entry in journal_of(client, "orders") if entry.control]


def test_trimmed_again_no_more_than_was_asked_is_removed(
    client: Client, keys: Keys, publisher: Publisher, lose: Lose
) -> None:
    put(publisher, 10)
    newest = client.run(tail.newest(keys.prefix, [("orders", 0)]))["orders", 0]
    lose(tail.trim(keys.prefix, ("orders", 0), newest, 4))
    assert 4 <= length(client, keys.events) < 10


def test_asking_again_changes_nothing(client: Client, keys: Keys, group: str, publisher: Publisher, lose: Lose) -> None:
    [event] = put(publisher, 1)
    client.run(take_new(keys))
    before = contents(client, keys)
    lose(operations.owners(keys, GROUP))
    lose(operations.dead_letters(keys, GROUP))
    lose(operations.keeps_order(keys, GROUP))
    lose(operations.await_news(keys, event.entry, block_ms=1))
    lose(control.paused_by(keys, GROUP))
    lose(control.discarded(keys, GROUP))
    assert contents(client, keys) == before


def contents(client: Client, keys: Keys) -> list[Any]:
    topics = global_key(keys.prefix, "topics")
    commands = [(b"DUMP", key) for key in (keys.events, keys.journal, keys.meta, topics)]
    return client.run(Operation([*commands, (b"XPENDING", keys.events, GROUP.encode())], list))


def test_no_operation_is_left_out() -> None:
    made = {
        name
        for module in (operations, control)
        for name, function in vars(module).items()
        if python.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
        if str(python.signature(function).return_annotation).startswith("Operation[")
    }
    assert made == covered | READS, "an operation without a test of what its lost reply does"
