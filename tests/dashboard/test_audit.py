"""The record of actions: before anything is done, with what became of it, for good, and on the bus too."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from bus import operations, tail
from bus.errors import GroupBusy
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.operations import take_new
from bus.streams import Client
from dashboard.actions import audit, roles
from dashboard.actions.audit import Actor, Forbidden, Outcome, Wanted, perform
from dashboard.actions.models import Action, ActionFinal
from dashboard.actions.roles import Deed, Role

pytestmark = pytest.mark.django_db
PAUSE = Wanted(Deed.PAUSE, "orders", "email", "a deploy", {"partitions": [0]}, count=3)


@pytest.fixture
def ann(settings: Any) -> Actor:
    settings.DEFAULT_ROLE = "viewer"
    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR, ["orders"])
    return Actor("ann", "page", user)


def published(client: Client) -> list[Event]:
    """Events on `fanlight.actions`."""
    prefix = client.config.prefix
    if audit.TOPIC not in dict(client.run(tail.partitions(prefix))):
        return []
    keys = Keys(prefix, audit.TOPIC, 0)
    client.run(operations.subscribe(keys, "tests", SubscriptionRecord(), start="0-0", worker="w"))
    return client.run(take_new(keys, "tests", "w#0", count=100, block_ms=None)).events


def test_an_action_is_recorded_before_it_is_done_and_its_result_after(ann: Actor, bus_client: Client) -> None:
    seen = []

    def do(action: Action) -> Outcome:
        seen.append(Action.objects.get(pk=action.pk).result)
        return Outcome("paused", details={"was": "running"})

    action = Action.objects.get(pk=perform(ann, PAUSE, do).pk)
    assert seen == [""]
    assert (action.who, action.via, action.deed, action.topic, action.group) == (
        "ann", "page", "pause", "orders", "email",
    )  # fmt: skip
    assert (action.reason, action.frozen_count, action.result, action.told) == ("a deploy", 3, "done", "paused")
    assert audit.outcome_of(action)["details"] == {"was": "running"}
    assert action.ended_ms is not None
    assert action.ended_ms >= action.began_ms


def test_an_action_is_an_event_on_the_bus(ann: Actor, bus_client: Client) -> None:
    action = perform(ann, PAUSE, lambda _: Outcome("paused"))
    (event,) = published(bus_client)
    assert (event.id, event.type, event.key) == (action.event_id, "pause", "email")
    assert event.data["who"] == "ann"
    assert event.data["reason"] == "a deploy"
    assert event.data["result"] == "done"


def test_what_is_forbidden_is_not_done_and_is_on_record(ann: Actor, bus_client: Client) -> None:
    wanted = Wanted(Deed.PAUSE, "payments", "email")
    with pytest.raises(Forbidden, match="needs the role operator on payments; you are viewer"):
        perform(ann, wanted, lambda _: pytest.fail("it was done"))
    assert Action.objects.get().result == "refused"
    assert [event.data["result"] for event in published(bus_client)] == ["refused"]


def test_what_fails_says_why_on_record(ann: Actor, bus_client: Client) -> None:
    def busy(_action: Action) -> Outcome:
        raise GroupBusy("expected the group to be paused")

    with pytest.raises(GroupBusy):
        perform(ann, PAUSE, busy)
    assert (Action.objects.get().result, Action.objects.get().told) == ("failed", "expected the group to be paused")


def test_a_mistake_of_ours_is_on_record_without_its_details(ann: Actor, bus_client: Client) -> None:
    def broken(_action: Action) -> Outcome:
        raise KeyError("hunter2")

    with pytest.raises(KeyError):
        perform(ann, PAUSE, broken)
    assert Action.objects.get().result == "failed"
    assert "hunter2" not in Action.objects.get().told


def test_what_is_recorded_is_never_changed_or_removed(ann: Actor, bus_client: Client) -> None:
    action = perform(ann, PAUSE, lambda _: Outcome("paused"))
    action.who = "bob"
    with pytest.raises(ActionFinal):
        action.save()
    with pytest.raises(ActionFinal):
        action.delete()
    with pytest.raises(ActionFinal):
        Action.objects.all().delete()
    with pytest.raises(ActionFinal):
        Action.objects.filter(pk=action.pk).update(who="bob")
    assert not action.end("failed", "something else")
    assert Action.objects.get().who == "ann"
    assert Action.objects.get().told == "paused"


def test_a_secret_in_a_reason_a_filter_or_a_result_is_masked(ann: Actor, bus_client: Client) -> None:
    """Research reliability, §5 row 29: audit rows and what goes on the bus of them."""
    wanted = Wanted(Deed.PAUSE, "orders", "email", "password=hunter2", {"token": "hunter2"})
    perform(ann, wanted, lambda _: Outcome("set password=hunter2", details={"secret": "hunter2"}))
    assert "hunter2" not in str(Action.objects.values_list())
    (event,) = published(bus_client)
    assert "hunter2" not in event.raw.decode()


def test_the_command_line_acts_without_a_user_of_the_screen(bus_client: Client) -> None:
    action = perform(Actor("root", "command line"), PAUSE, lambda _: Outcome("paused"))
    assert (action.who, action.via, action.result) == ("root", "command line", "done")
