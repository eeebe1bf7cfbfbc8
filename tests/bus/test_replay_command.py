"""`manage.py replay`: what it hands back, what it only shows, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

import bus
from bus import operations
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation

pytestmark = pytest.mark.django_db  # each is kept on the Activity page


@pytest.fixture
def keys(client: Client, publisher: Publisher) -> Iterator[Keys]:
    """Four dead letters of email on orders, every other one a TimeoutError."""
    made = Keys(client.config.prefix, "orders", 0)
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(4)])
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    taken = client.run(operations.take_new(made, "email", "w#0", count=9, block_ms=None)).events
    failures = [Failure("TimeoutError" if n % 2 else "ValueError", "no", fingerprint=f"f{n}") for n in range(4)]
    records = [
        Record(Step.DEAD_LETTERED, event.entry, 1, failure=failure)
        for event, failure in zip(taken, failures, strict=True)
    ]
    client.run(operations.settle(made, "email", "w#0", [Settlement(b"d", record) for record in records], holds=4))
    with bus.replaced(publisher):
        yield made


def run(*words: str) -> str:
    out = StringIO()
    call_command("replay", *words, stdout=out)
    return out.getvalue()


def left(client: Client, keys: Keys) -> list[str]:
    return [letter.failure.error_class for letter in client.run(operations.dead_letters(keys, "email"))]


def test_all_are_handed_back(client: Client, keys: Keys) -> None:
    assert run("orders", "email").endswith("4 dead letters replayed to email\n")
    assert left(client, keys) == []
    assert run("orders", "email").endswith("0 dead letters replayed to email\n")


def test_only_those_of_an_error_and_no_more_than_asked(client: Client, keys: Keys) -> None:
    assert "1 dead letters replayed" in run("orders", "email", "--error", "TimeoutError", "--limit", "1")
    assert left(client, keys) == ["ValueError", "ValueError", "TimeoutError"]


def test_only_those_that_failed_alike(client: Client, keys: Keys) -> None:
    assert "1 dead letters replayed" in run("orders", "email", "--fingerprint", "f1")
    assert left(client, keys) == ["ValueError", "ValueError", "TimeoutError"]
    assert "0 dead letters replayed" in run("orders", "email", "--fingerprint", "f2", "--error", "TimeoutError")


def test_a_dry_run_changes_nothing(client: Client, keys: Keys) -> None:
    assert "4 dead letters would be replayed" in run("orders", "email", "--dry-run")
    assert len(left(client, keys)) == 4


def test_more_than_one_batch_is_handed_back(client: Client, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_BATCH", 3)
    assert "4 dead letters replayed" in run("orders", "email")
    assert left(client, keys) == []


def test_what_cannot_be_handed_back_is_said(client: Client, keys: Keys) -> None:
    client.run(Operation([(b"XTRIM", keys.events, b"MAXLEN", b"2")], len))
    with pytest.raises(CommandError, match="2 could not be replayed, their events have left the stream"):
        run("orders", "email")
    assert len(left(client, keys)) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "email"], r"expected a topic that exists \(orders\), got 'nowhere'"),
        (["or ders", "email"], "expected a topic of 1 to 120 letters"),
        (["orders", "email", "--limit=-1"], "expected --limit to be 0"),
    ],
)
def test_bad_words_are_refused(keys: Keys, words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*words)
