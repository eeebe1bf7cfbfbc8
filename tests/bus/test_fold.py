"""The state of a key, folded from its events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

import bus
from bus import history, testing
from bus.config import Config
from bus.errors import EventInvalid, PositionInvalid
from bus.event import Event
from bus.keys import Keys
from bus.publisher import partition_of_key
from bus.streams import Client
from bus.wire import Command, Operation


@pytest.fixture(autouse=True)
def ours(config: Config) -> Iterator[None]:
    """The bus of this process is the test's own."""
    bus.configure(url=config.url, data_folder=config.data_folder, prefix=config.prefix, source="tests")
    yield
    bus.configure(**settings.BUS)


def balance(state: int, event: Event) -> int:
    return state + int(event.data)


def numbers(state: list[int], event: Event) -> list[int]:
    return [*state, event.data]


def ask(client: Client, *command: bytes) -> Any:
    one: Command = command
    return client.run(Operation([one], lambda replies: replies[0]))


def test_the_state_is_that_of_the_keys_events_oldest_first() -> None:
    for number in range(5):
        bus.publish("accounts", "booked", number, key="a-1")
        bus.publish("accounts", "booked", 100, key="a-2")
        bus.publish("accounts", "booked", 1_000)
    folded = bus.fold("accounts", "a-1", numbers, [])
    assert (folded.state, folded.events, folded.complete) == ([0, 1, 2, 3, 4], 5, True)


def test_a_log_of_many_portions_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = [bus.draft("accounts", "booked", 1, key=f"a-{number % 3}") for number in range(history.BATCH * 2 + 7)]
    published = bus.publish_many(drafts)
    folded = bus.fold("accounts", "a-1", balance, 0)
    mine = [event for event in published if event.key == "a-1"]
    assert (folded.state, folded.events, folded.last_entry) == (len(mine), len(mine), mine[-1].entry)


def test_only_the_keys_own_partition_is_read(client: Client) -> None:
    bus.declare("accounts", partitions=4)
    for number in range(20):
        bus.publish("accounts", "booked", 1, key=f"a-{number}")
    mine = partition_of_key("a-7", 4)
    for other in set(range(4)) - {mine}:
        events = Keys(client.config.prefix, "accounts", other).events
        ask(client, b"DEL", events)
        ask(client, b"SET", events, b"reading this would be refused")
    assert bus.fold("accounts", "a-7", balance, 0).state == 1


def test_a_key_without_events_has_the_state_it_began_with() -> None:
    assert bus.fold("accounts", "a-1", balance, 7) == bus.Folded(7, 0, True, "", "")


def test_a_fold_declares_no_topic(client: Client) -> None:
    bus.fold("acounts", "a-1", balance, 0)
    assert ask(client, b"HGETALL", f"{{{client.config.prefix}}}:topics".encode()) == []


def test_the_state_as_of_an_entry_or_a_time() -> None:
    events = [bus.publish("accounts", "booked", number, key="a-1") for number in range(4)]
    assert bus.fold("accounts", "a-1", numbers, [], until=events[1].entry).state == [0, 1]
    assert bus.fold("accounts", "a-1", numbers, [], until=datetime.now(UTC) - timedelta(hours=1)).state == []
    assert bus.fold("accounts", "a-1", numbers, [], until=datetime.now(UTC) + timedelta(hours=1)).state == [0, 1, 2, 3]


def test_a_trimmed_log_says_that_older_events_may_be_missing(client: Client) -> None:
    events = [bus.publish("accounts", "booked", number, key="a-1") for number in range(4)]
    ask(client, b"XTRIM", Keys(client.config.prefix, "accounts", 0).events, b"MAXLEN", b"2")
    folded = bus.fold("accounts", "a-1", numbers, [])
    assert (folded.state, folded.complete, folded.first_entry) == ([2, 3], False, events[2].entry)


def test_an_event_that_was_deleted_by_hand_makes_it_incomplete(client: Client) -> None:
    events = [bus.publish("accounts", "booked", number, key="a-1") for number in range(4)]
    ask(client, b"XDEL", Keys(client.config.prefix, "accounts", 0).events, events[1].entry.encode())
    folded = bus.fold("accounts", "a-1", numbers, [])
    assert (folded.state, folded.complete) == ([0, 2, 3], False)


def test_an_event_of_another_program_counts_too(client: Client) -> None:
    fields = (b"data", b"5", b"partitionkey", b"a-1", b"type", b"booked")
    ask(client, b"XADD", Keys(client.config.prefix, "accounts", 0).events, b"*", *fields)
    assert bus.fold("accounts", "a-1", balance, 0).state == 5


def test_a_reducer_that_fails_names_the_event() -> None:
    event = bus.publish("accounts", "booked", "not a number", key="a-1")
    with pytest.raises(ValueError, match="not a number") as caught:
        bus.fold("accounts", "a-1", balance, 0)
    assert event.id in caught.value.__notes__[0]
    assert event.entry in caught.value.__notes__[0]


@pytest.mark.parametrize("until", [datetime(2026, 1, 1), "yesterday", "9" * 30 + "-0", 7])  # noqa: DTZ001  the point
def test_an_until_that_cannot_be_read_is_refused(until: Any) -> None:
    with pytest.raises(PositionInvalid, match="expected until to be a time with its zone"):
        bus.fold("accounts", "a-1", balance, 0, until=until)


@pytest.mark.parametrize(("topic", "key"), [("no topic", "a"), ("accounts", ""), ("accounts", "\ud800")])
def test_a_topic_or_key_that_no_event_can_have_is_refused(topic: str, key: str) -> None:
    with pytest.raises(EventInvalid, match="expected"):
        bus.fold(topic, key, balance, 0)


def test_it_works_in_memory_too() -> None:
    with testing.memory():
        first, _ = (bus.publish("accounts", "booked", number, key="a-1") for number in (3, 4))
        assert bus.fold("accounts", "a-1", balance, 0).state == 7
        assert bus.fold("accounts", "a-1", balance, 0, until=first.entry).state == 3
