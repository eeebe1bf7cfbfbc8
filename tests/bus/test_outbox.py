"""The outbox: what is published in a transaction commits with it; the relay publishes it, in order, once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User as Effect  # any table will do
from django.db import transaction

import bus
from bus import outbox, tail
from bus.config import Config
from bus.errors import ConfigError, EventInvalid
from bus.event import Event
from bus.keys import Keys
from bus.models import OutboxEntry, OutboxLease, OutboxState
from bus.publisher import Publisher
from bus.relay import Relay
from bus.streams import Client
from bus.subscription import Subscription
from bus.wire import Operation
from tests.acceptance.processes import ROOT
from tests.bus.conftest import steps_of
from tests.conftest import RunWorker, WaitUntil

pytestmark = pytest.mark.django_db(transaction=True)


RunRelay = Callable[..., Any]


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, outbox=True)


@pytest.fixture
def publisher(config: Config) -> Iterator[Publisher]:
    made = outbox.publisher_of(config)
    yield made
    made.close()


@pytest.fixture
def relay(config: Config) -> Iterator[Relay]:
    """A relay that works only when told to."""
    made = Relay(config)
    yield made
    made.stop()
    made.run()


@contextmanager
def running(relay: Relay) -> Iterator[Relay]:
    """A relay that works in a thread until the block ends."""
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(10)
        assert not thread.is_alive(), "the relay did not stop"


def stored(client: Client, topic: str = "orders") -> list[Event]:
    """What the server has."""
    chunks = client.run(tail.read(client.config.prefix, {(topic, 0): tail.Position()}, count=100_000, block_ms=None))
    return [event for chunk in chunks for event in chunk.events]


def said(client: Client, topic: str = "orders") -> list[Any]:
    return [event.data for event in stored(client, topic)]


def states() -> list[str]:
    return list(OutboxEntry.objects.order_by("id").values_list("state", flat=True))


def test_what_a_transaction_publishes_is_published_when_it_has_committed(
    publisher: Publisher, relay: Relay, client: Client
) -> None:
    with transaction.atomic():
        Effect.objects.create(username="paid")
        publisher.publish(publisher.draft("orders", "paid", 1))
        assert said(client) == []
    assert relay.turn()
    assert said(client) == [1]
    assert states() == ["sent"]
    assert not relay.turn()
    assert said(client) == [1]


def test_a_transaction_that_is_rolled_back_publishes_nothing(
    publisher: Publisher, relay: Relay, client: Client
) -> None:
    with transaction.atomic():
        publisher.publish_many([publisher.draft("orders", "paid", n) for n in range(3)])
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            publisher.publish(publisher.draft("orders", "paid", "inner"))
            transaction.set_rollback(True)
        publisher.publish(publisher.draft("orders", "paid", "outer"))
    relay.turn()
    assert said(client) == ["outer"]


def test_outside_of_a_transaction_and_without_the_option_it_is_published_at_once(
    publisher: Publisher, config: Config, client: Client
) -> None:
    assert publisher.publish(publisher.draft("orders", "paid", 1)).entry
    assert publisher.publish_many([publisher.draft("orders", "paid", 2)])[0].entry
    plain = outbox.publisher_of(replace(config, outbox=False))
    with transaction.atomic():
        plain.publish(plain.draft("orders", "paid", 3))
    plain.close()
    assert said(client) == [1, 2, 3]
    assert not OutboxEntry.objects.exists()


def test_the_event_is_complete_but_for_its_place_and_arrives_as_it_was(
    publisher: Publisher, relay: Relay, client: Client
) -> None:
    with transaction.atomic():
        draft = publisher.draft(
            "orders", "paid", {"n": "ü"}, key="k", source="shop", headers={"h": "v"}, correlation_id="c" * 32
        )
        event = publisher.publish(draft)
    assert (event.entry, type(event), event.data, event.time) == ("", Event, {"n": "ü"}, draft.time)
    relay.turn()
    [there] = stored(client)
    assert there == msgspec.structs.replace(event, entry=there.entry)
    assert there.entry


def test_a_handler_with_an_inbox_publishes_with_its_work_or_not_at_all(
    config: Config, publisher: Publisher, client: Client, relay: Relay, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    def pay(event: Event) -> None:
        Effect.objects.create(username=f"paid {event.attempt}")
        publisher.publish(publisher.draft("payments", "paid", event.attempt, key=event.key))
        if event.attempt == 1:
            raise ConnectionError("after the work")

    soon = bus.Retry(attempts=3, base_seconds=0.01)
    with run_worker(Subscription("orders", "payment", pay, inbox=True, retry=soon)):
        order = publisher.publish(publisher.draft("orders", "order_placed", 1, key="o-1"))
        wait_until(lambda: "succeeded" in steps_of(client, "orders"))
    relay.turn()
    [payment] = stored(client, "payments")
    assert (payment.data, payment.causation_id, payment.correlation_id) == (2, order.id, order.correlation_id)
    assert [effect.username for effect in Effect.objects.all()] == ["paid 2"]


def test_publishing_in_a_transaction_needs_no_server(config: Config, relay: Relay, client: Client) -> None:
    away = outbox.publisher_of(replace(config, url="redis://127.0.0.1:1/0"))
    with transaction.atomic():
        away.publish(away.draft("orders", "paid", 1))
    relay.turn()
    assert said(client) == [1]


def test_async_code_publishes_at_once(config: Config, client: Client) -> None:
    publisher = outbox.publisher_of(config)

    async def publish() -> Event:
        try:
            return await publisher.apublish(publisher.draft("orders", "paid", 1))
        finally:
            await publisher._aconnected().aclose()

    with transaction.atomic():
        event = asyncio.run(publish())
    assert event.entry
    assert not OutboxEntry.objects.exists()


def test_a_commit_is_published_within_moments(
    config: Config, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    with running(Relay(config)):
        for number in range(5):
            with transaction.atomic():
                publisher.publish(publisher.draft("orders", "paid", number))
            wait_until(lambda: said(client) == list(range(number + 1)))  # noqa: B023


def test_four_relays_at_once_keep_the_order_and_double_nothing(
    config: Config, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    """With a lease that ends all the time, so that they take over from each other in the middle of the work."""
    hasty = replace(config, lease_seconds=1)
    relays = [Relay(hasty) for _ in range(4)]
    with ExitStack() as stack:
        for one in relays:
            stack.enter_context(running(one))
        for number in range(400):
            with transaction.atomic():
                drafts = [publisher.draft("orders", "t", number, key=f"k-{key}") for key in range(5)]
                publisher.publish_many(drafts)
            if number % 50 == 0:  # whoever has the lease loses it, and does not know
                OutboxLease.objects.update(owner="", beat=number + 1_000_000)
        wait_until(lambda: not OutboxEntry.objects.filter(state=OutboxState.NEW).exists(), seconds=60)
    by_key: dict[str, list[int]] = {}
    for event in stored(client):
        by_key.setdefault(event.key or "", []).append(event.data)
    assert by_key == {f"k-{key}": list(range(400)) for key in range(5)}


def test_the_second_relay_waits_and_says_so_once(
    config: Config, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil
) -> None:
    caplog.set_level("INFO", "bus.relay")
    first, second = Relay(config), Relay(config)
    first.turn()
    for _ in range(3):
        assert not second.turn()
    assert [m for m in caplog.messages if "waits" in m] == [f"relay {second.id} waits: {first.id} has the lease"]
    first.stop()
    first.run()
    second.turn()
    assert OutboxLease.objects.get().owner == second.id
    second.stop()
    second.run()
    assert OutboxLease.objects.get().owner == ""


def test_a_relay_that_died_is_replaced_after_its_lease(
    config: Config, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    dead = Relay(config)
    dead.turn()
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    with running(Relay(config)) as alive:
        wait_until(lambda: said(client) == [1])
        assert OutboxLease.objects.get().owner == alive.id


def test_an_event_that_cannot_be_published_is_refused_and_holds_up_nobody(
    publisher: Publisher, relay: Relay, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.publish(publisher.draft("orders", "t", "other", id="taken"))
    with transaction.atomic():
        for number in range(10):
            publisher.publish(publisher.draft("orders", "t", number, id="taken" if number == 4 else None))
    OutboxEntry.objects.filter(pk=OutboxEntry.objects.order_by("id")[7].pk).update(draft=b"what")
    relay.turn()
    assert said(client) == ["other", 0, 1, 2, 3, 5, 6, 8, 9]
    refused = OutboxEntry.objects.filter(state=OutboxState.REFUSED).order_by("id")
    assert [entry.error.split(" ", 1)[0] for entry in refused] == ["expected", "expected"]
    assert "under this id" in refused[0].error
    assert len([m for m in caplog.messages if "is refused and stays" in m]) == 2
    assert not relay.turn()


def test_a_topic_that_is_refused_waits_and_the_others_go_on(
    publisher: Publisher,
    relay: Relay,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bus.relay.TROUBLE_SECONDS", (60, 60))
    blocked = Keys(client.config.prefix, "blocked", 0).events
    client.run(Operation([(b"SET", blocked, b"somebody else's")], lambda _: None))
    with transaction.atomic():
        for number in range(4):
            publisher.publish(publisher.draft(("blocked", "orders")[number % 2], "t", number))
    relay.turn()
    assert said(client, "orders") == [1, 3]
    assert states() == ["new", "sent", "new", "sent"]
    assert [m for m in caplog.messages if "entries wait in the outbox" in m]
    assert not relay.turn(), "the refused topic is left alone for a while"
    client.run(Operation([(b"DEL", blocked)], lambda _: None))
    relay._paused["blocked"] = relay._paused["blocked"]._replace(until=0)  # as time does
    assert relay.turn()
    assert said(client, "blocked") == [0, 2]
    assert states() == ["sent"] * 4
    assert [m for m in caplog.messages if "entries wait in the outbox" in m][1:] == []


def test_a_server_that_is_away_is_outlived_and_said_once(
    config: Config, publisher: Publisher, caplog: pytest.LogCaptureFixture, wait_until: WaitUntil
) -> None:
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    tries: list[int] = []

    class Watched(Relay):
        def turn(self) -> bool:
            tries.append(1)
            return super().turn()

    with running(Watched(replace(config, url="redis://127.0.0.1:1/0"))):
        wait_until(lambda: len(tries) > 2)
    assert len([m for m in caplog.messages if "the outbox waits" in m]) == 1
    assert states() == ["new"]


def test_what_nobody_confirms_is_sent_again_and_stored_once(
    config: Config, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    with running(Relay(config, resend_seconds=0.05)):
        wait_until(lambda: states() == ["sent"])
        first = OutboxEntry.objects.get()
        wait_until(lambda: OutboxEntry.objects.get().moved_ms > first.moved_ms)
    assert OutboxEntry.objects.get().entry == first.entry
    assert said(client) == [1]


def test_what_the_server_lost_is_stored_anew(
    config: Config, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    with running(Relay(config, resend_seconds=0.05)):
        wait_until(lambda: states() == ["sent"])
        forget_all(client)
        wait_until(lambda: said(client) == [1])


def forget_all(client: Client) -> None:
    """As a server that was emptied: this test's keys only, the server is shared."""
    pattern = f"*{client.config.prefix}*".encode()
    names = client.run(Operation([(b"KEYS", pattern)], lambda replies: replies[0]))
    client.run(Operation([(b"DEL", *names)], lambda _: None))


def test_what_the_server_still_has_after_an_hour_needs_no_recorder(
    publisher: Publisher, config: Config, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr("bus.relay.LASTING_SECONDS", 0.1)
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    with running(Relay(config, resend_seconds=0.05)):
        wait_until(lambda: states() == ["confirmed"])


def test_confirmed_is_what_was_stored_where_the_server_said(publisher: Publisher, relay: Relay) -> None:
    with transaction.atomic():
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(2)])
    relay.turn()
    first, second = outbox.sent()
    outbox.confirm([first, second._replace(entry="1-0")])
    assert states() == ["confirmed", "sent"]


def test_confirmed_events_can_be_sent_again_from_a_time_on(publisher: Publisher, relay: Relay, client: Client) -> None:
    with transaction.atomic():
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
    relay.turn()
    outbox.confirm(outbox.sent())
    middle = OutboxEntry.objects.order_by("id")[1]
    OutboxEntry.objects.filter(pk__lt=middle.pk).update(entry_ms=middle.entry_ms - 1)
    assert outbox.send_again("other", 0, since_ms=0) == 0
    assert outbox.send_again("orders", 0, since_ms=middle.entry_ms) == 2
    assert states() == ["confirmed", "new", "new"]
    forget_all(client)
    relay.turn()
    assert said(client) == [1, 2]


def test_confirmed_entries_are_kept_for_a_day_and_then_forgotten_in_portions(
    publisher: Publisher, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PURGED_AT_ONCE", 2)
    with transaction.atomic():
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(6)])
    relay.turn()
    outbox.confirm(outbox.sent())
    ids = list(OutboxEntry.objects.order_by("id").values_list("id", flat=True))
    long_ago = int(time.time() * 1000) - outbox.KEPT_SECONDS * 1000 - 1
    OutboxEntry.objects.filter(id__in=ids[:3]).update(moved_ms=long_ago)
    OutboxEntry.objects.filter(id=ids[5]).update(moved_ms=long_ago, state=OutboxState.REFUSED)
    assert [outbox.purge(), outbox.purge()] == [True, False]
    assert states() == ["confirmed", "confirmed", "refused"]


def test_the_relay_forgets_old_entries(
    publisher: Publisher, relay: Relay, config: Config, wait_until: WaitUntil
) -> None:
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1))
    relay.turn()
    OutboxEntry.objects.update(moved_ms=1, state=OutboxState.CONFIRMED)
    relay.stop()
    relay.run()
    with running(Relay(config)):
        wait_until(lambda: not OutboxEntry.objects.exists())


def test_an_id_that_a_database_cannot_hold_is_refused_at_once(publisher: Publisher) -> None:
    with pytest.raises(EventInvalid, match="expected an id that a database can hold"), transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", 1, id="a\0b"))


def test_texts_that_databases_find_hard_arrive_as_they_were(publisher: Publisher, relay: Relay, client: Client) -> None:
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "a\0b", {"text": "\0 ü €"}, key="\0", source="s\0"))
    relay.turn()
    [event] = stored(client)
    assert (event.type, event.data, event.key, event.source) == ("a\0b", {"text": "\0 ü €"}, "\0", "s\0")


def test_a_program_without_django_is_told_what_to_do() -> None:
    code = "import bus\ntry: bus.configure(outbox=True)\nexcept bus.ConfigError as error: print(error)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("expected Django with 'bus' in INSTALLED_APPS for BUS['outbox'], got a program")


@pytest.mark.parametrize(
    ("options", "part"),
    [({"outbox": "yes"}, "True or False"), ({"outbox": True, "dedupe_seconds": 60}, "at least 7,200 with outbox")],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        Config(**options)


def test_the_configured_bus_uses_the_outbox(config: Config) -> None:
    from django.conf import settings

    try:
        bus.configure(url=config.url, prefix=config.prefix, outbox=True)
        with transaction.atomic():
            assert bus.publish("orders", "t", 1).entry == ""
            assert bus.publish_many([bus.draft("orders", "t", 2)])[0].entry == ""
        assert OutboxEntry.objects.count() == 2
    finally:
        bus.configure(**settings.BUS)
