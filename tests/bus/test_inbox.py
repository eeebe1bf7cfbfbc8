"""The inbox: a handler's work in the database takes effect once, however often the event comes."""

from __future__ import annotations

import threading
from datetime import timedelta

import msgspec
import pytest
from django.contrib.auth.models import User as Effect  # any table will do
from django.utils import timezone

from bus import control, inbox
from bus.errors import ConfigError, SubscriptionInvalid
from bus.event import Event
from bus.keys import Keys
from bus.models import InboxEntry
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Registry, Subscription, subscribe
from tests.bus.conftest import steps_of
from tests.conftest import RunWorker, WaitUntil

pytestmark = pytest.mark.django_db(transaction=True)


def event(event_id: str = "e-1") -> Event:
    return Event(id=event_id, topic="orders", type="t", raw=b"{}", entry="1-0", attempt=1)


def write(_: Event) -> None:
    Effect.objects.create(username=f"effect {Effect.objects.count()}")


def test_the_second_time_changes_nothing() -> None:
    for _ in range(3):
        inbox.run_once("email", write, event())
    assert Effect.objects.count() == 1


def test_every_group_and_every_event_has_its_own_effect() -> None:
    for group, event_id in [("email", "a"), ("email", "b"), ("stock", "a")]:
        inbox.run_once(group, write, event(event_id))
    assert Effect.objects.count() == 3


def test_a_handler_that_fails_leaves_neither_work_nor_note() -> None:
    def fail(e: Event) -> None:
        write(e)
        raise ValueError("after the work")

    with pytest.raises(ValueError, match="after the work"):
        inbox.run_once("email", fail, event())
    assert (Effect.objects.count(), InboxEntry.objects.count()) == (0, 0)
    inbox.run_once("email", write, event())
    assert Effect.objects.count() == 1


def test_two_workers_at_once_have_one_effect() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(e: Event) -> None:
        write(e)
        inside.set()
        go_on.wait(10)

    first = threading.Thread(target=inbox.run_once, args=("email", slow, event()))
    second = threading.Thread(target=inbox.run_once, args=("email", write, event()))
    first.start()
    assert inside.wait(10)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert Effect.objects.count() == 1


def test_a_worker_uses_the_inbox(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    with run_worker(Subscription("orders", "email", write, inbox=True)):
        publisher.publish(publisher.draft("orders", "t", 1))
        wait_until(lambda: "succeeded" in steps_of(client, "orders"))
    assert (Effect.objects.count(), InboxEntry.objects.count()) == (1, 1)


def test_another_topic_or_run_is_another_effect() -> None:
    one = event("o-1")
    for other in (one, msgspec.structs.replace(one, topic="returns"), msgspec.structs.replace(one, run=1), one):
        inbox.run_once("email", write, other)
    assert Effect.objects.count() == 3


@pytest.mark.parametrize("name", ["nul\x00nul", "x" * 5_000, "\ud800"])
def test_whatever_id_a_stranger_gave_it_takes_effect_once(name: str) -> None:
    for _ in range(2):
        inbox.run_once("email", write, event(name))
    assert Effect.objects.count() == 1


def test_moving_a_group_back_asks_for_its_effects_again(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    keys = Keys(client.config.prefix, "orders", 0)
    with run_worker(Subscription("orders", "email", write, inbox=True)):
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 3)
        control.move(client, keys, "email", "0-0", who="ann")
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 6)
    assert Effect.objects.count() == 6


def test_old_notes_are_forgotten() -> None:
    inbox.run_once("email", write, event("old"))
    InboxEntry.objects.update(done_at=timezone.now() - timedelta(days=inbox.KEPT_DAYS + 1))
    inbox.run_once("email", write, event("new"))
    assert inbox.purge() == 1
    assert [note.event_id for note in InboxEntry.objects.all()] == ["new"]


def test_a_worker_forgets_old_notes(
    run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr("bus.worker.PURGE_SECONDS", 0.05)
    inbox.run_once("email", write, event("old"))
    InboxEntry.objects.update(done_at=timezone.now() - timedelta(days=inbox.KEPT_DAYS + 1))
    with run_worker(Subscription("orders", "email", write, inbox=True)):
        wait_until(lambda: not InboxEntry.objects.exists())


def test_an_async_handler_cannot_have_an_inbox() -> None:
    async def handler(_: Event) -> None: ...

    with pytest.raises(SubscriptionInvalid, match=r"expected a sync handler for inbox=True"):
        subscribe("orders", group="email", inbox=True)(handler)
    made = Registry()
    made.add(Subscription("orders", "email", handler, types=frozenset({"a"})))
    with pytest.raises(SubscriptionInvalid, match="an async handler can't share a group"):
        made.add(Subscription("orders", "email", write, types=frozenset({"b"}), inbox=True))


def test_a_program_without_the_app_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.apps.apps.is_installed", lambda _: False)
    with pytest.raises(ConfigError, match="expected Django with 'bus' in INSTALLED_APPS"):
        inbox.check_usable()
