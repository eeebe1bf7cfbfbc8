"""`manage.py pause`, `resume`, `rewind` and `discard`: what they do to a group, what they say, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

import bus
from bus import control, operations
from bus.event import Event
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client

pytestmark = pytest.mark.django_db  # each is kept on the Activity page
FAILURE = Failure("TimeoutError", "no")


@pytest.fixture
def keys(client: Client, publisher: Publisher) -> Iterator[Keys]:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    with bus.replaced(publisher):
        yield made


@pytest.fixture
def events(client: Client, keys: Keys, publisher: Publisher) -> list[Event]:
    """Five events; email has handled all of them but the third, a dead letter."""
    made = publisher.publish_many([publisher.draft("orders", "t", n) for n in range(5)])
    taken = client.run(operations.take_new(keys, "email", "w#0", count=9, block_ms=None)).events
    ended = [Settlement(b"a", Record(Step.SUCCEEDED, event.entry, 1)) for event in taken]
    ended[2] = Settlement(b"d", Record(Step.DEAD_LETTERED, taken[2].entry, 1, failure=FAILURE))
    client.run(operations.settle(keys, "email", "w#0", ended, holds=5))
    return made


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def dead(client: Client, keys: Keys) -> list[object]:
    return [letter.event.data for letter in client.run(operations.dead_letters(keys, "email"))]


def test_a_group_is_paused_and_resumed(client: Client, keys: Keys) -> None:
    assert run("pause", "orders", "email", "--reason", "deploy") == "email on orders is paused\n"
    assert run("pause", "orders", "email") == "email on orders was paused before\n"
    assert client.run(control.paused_by(keys, "email"))
    assert run("resume", "orders", "email") == "email on orders goes on\n"
    assert run("resume", "orders", "email") == "email on orders was not paused\n"
    assert client.run(control.paused_by(keys, "email")) is None


def test_a_dry_run_says_what_a_rewind_would_do(client: Client, keys: Keys, events: list[Event]) -> None:
    said = run("rewind", "orders", "email", "--to", "-3", "--dry-run")
    assert said.startswith(f"orders/0: {events[4].entry} (")
    assert f"→ {events[1].entry} (" in said
    assert said.endswith("3 events would be delivered anew\n")
    assert dead(client, keys) == [2]


def test_a_group_is_rewound_and_moved_forth_again(client: Client, keys: Keys, events: list[Event]) -> None:
    assert run("rewind", "orders", "email", "--to", "earliest").endswith("5 events will be delivered anew\n")
    assert dead(client, keys) == []
    assert run("rewind", "orders", "email", "--to", "+2").endswith("2 events are passed over\n")
    taken = client.run(operations.take_new(keys, "email", "w#1", count=9, block_ms=None)).events
    assert [event.data for event in taken] == [2, 3, 4]


def test_dead_letters_are_discarded_and_restored(client: Client, keys: Keys, events: list[Event]) -> None:
    assert run("discard", "orders", "email", "--error", "ValueError").startswith("0 dead letters of email discarded")
    assert run("discard", "orders", "email", "--dry-run").endswith("1 dead letters of email would be discarded\n")
    assert dead(client, keys) == [2]
    assert run("discard", "orders", "email") == "1 dead letters of email discarded\n"
    assert dead(client, keys) == []
    assert run("discard", "orders", "email", "--restore") == "1 dead letters of email restored\n"
    assert dead(client, keys) == [2]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("pause", "nothing", "email"), "expected a topic that exists"),
        (("pause", "orders", "nobody"), "expected a group that is subscribed to orders"),
        (("rewind", "orders", "nobody", "--to", "latest"), "expected a group that is subscribed to orders"),
        (("rewind", "orders", "email", "--to", "soon"), "expected earliest, latest"),
        (("discard", "orders", "email", "--limit", "-1"), "expected --limit to be 0"),
    ],
)
def test_what_can_not_be_done_is_refused_in_one_line(keys: Keys, words: tuple[str, ...], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        run(*words)
