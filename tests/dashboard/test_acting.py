"""Acting from the screen: it asks first, does what was shown, says what came of it, and refuses whoever may not."""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from bus import control, operations, positions
from bus.event import Event
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from dashboard.actions import rates, roles
from dashboard.actions.models import Action
from dashboard.actions.roles import Role
from dashboard.queries.bus_state import bus_state
from tests.dashboard.conftest import Record as Recorded

FAILURE = Failure("ValueError", "no such mailbox", fingerprint="f1")


@pytest.fixture(autouse=True)
def small_role(settings: Any) -> None:
    settings.DEFAULT_ROLE = "viewer"


def logged_in(name: str, role: Role, *patterns: str) -> Browser:
    user = User.objects.create_user(name)
    roles.give(user, role, patterns or ["*"])
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def ann(transactional_db: None) -> Browser:
    return logged_in("ann", Role.OPERATOR)


@pytest.fixture
def keys(bus_client: Client) -> Keys:
    made = Keys(bus_client.config.prefix, "orders", 0)
    bus_client.run(operations.declare_topic(bus_client.config.prefix, "orders", 1))
    bus_client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    return made


@pytest.fixture
def events(bus_client: Client, keys: Keys, publisher: Publisher, record: Recorded) -> list[Event]:
    """Six events: email is done with three, has given one up, and holds two."""
    made = publisher.publish_many([publisher.draft("orders", "order_placed", n, key=f"o-{n}") for n in range(6)])
    taken = bus_client.run(operations.take_new(keys, "email", "w1#0", count=9, block_ms=None)).events
    ended = [Settlement(b"a", Record(Step.SUCCEEDED, event.entry, 1)) for event in taken[:4]]
    ended[3] = Settlement(b"d", Record(Step.DEAD_LETTERED, taken[3].entry, 1, failure=FAILURE))
    bus_client.run(operations.settle(keys, "email", "w1#0", ended, holds=6))
    record()
    bus_state()
    return made


def asked(browser: Browser, deed: str, **said: Any) -> Any:
    return browser.get(f"{reverse('act', args=[deed])}?{urlencode(said, doseq=True)}")


def confirmed(browser: Browser, question: Any, **changes: str) -> Any:
    """Post the form that the question shows."""
    text = question.content.decode()
    assert question.status_code == 200, text
    frozen = html.unescape(re.search(r'name="frozen" value="([^"]*)"', text)[1])  # type: ignore[index]
    deed = question.context["deed"].value
    data = {"frozen": frozen, "next": "/system/", "reason": "because", **changes}
    return browser.post(reverse("act", args=[deed]), data)


def text_of(response: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def did(browser: Browser, deed: str, **said: Any) -> Action:
    answer = confirmed(browser, asked(browser, deed, **said))
    assert answer.status_code == 302, answer.content
    return Action.objects.latest("pk")


def of_email(client: Client, keys: Keys) -> list[str]:
    return [letter.event.id for letter in client.run(operations.dead_letters(keys, "email"))]


def test_asking_changes_nothing_and_says_what_will_happen(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event]
) -> None:
    question = text_of(asked(ann, "pause", topic="orders", group="email"))
    assert "Pause email on orders?" in question
    assert "What runs now may end (2)" in question
    assert "Can it be undone? Yes: resume it." in question
    assert bus_client.run(control.paused_by(keys, "email")) is None
    assert not Action.objects.exists()


def test_a_group_is_paused_and_resumed_with_the_name_and_the_reason(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event]
) -> None:
    action = did(ann, "pause", topic="orders", group="email")
    assert (action.who, action.via, action.deed, action.reason) == ("ann", "page", "pause", "because")
    assert action.told == "email on orders is paused"
    assert bus_client.run(control.paused_by(keys, "email")) == "ann"
    assert "email is paused already, by ann" in text_of(asked(ann, "pause", topic="orders", group="email"))
    did(ann, "resume", topic="orders", group="email")
    assert bus_client.run(control.paused_by(keys, "email")) is None


def test_the_answer_is_said_on_the_next_page_with_a_link_to_the_record(ann: Browser, events: list[Event]) -> None:
    answer = confirmed(ann, asked(ann, "pause", topic="orders", group="email"), next="/consumers/")
    assert answer["Location"] == "/consumers/"
    page = ann.get("/consumers/").content.decode()
    assert "email on orders is paused" in page
    assert reverse("action", args=[Action.objects.get().pk]) in page


def test_a_viewer_is_refused_told_why_and_that_is_on_record(
    bus_client: Client, keys: Keys, events: list[Event]
) -> None:
    bob = logged_in("bob", Role.VIEWER)
    question = asked(bob, "pause", topic="orders", group="email")
    assert "You may not: it needs the role operator on orders; you are viewer." in text_of(question)
    assert re.search(r"button-primary\" disabled", question.content.decode())
    assert confirmed(bob, question).status_code == 403
    assert bus_client.run(control.paused_by(keys, "email")) is None
    assert [(a.who, a.result) for a in Action.objects.all()] == [("bob", "refused")]


def test_the_group_page_shows_what_is_forbidden_disabled_with_the_reason(events: list[Event]) -> None:
    bob = logged_in("bob", Role.OPERATOR, "payments*")
    roles.give(User.objects.get(username="bob"), Role.VIEWER)
    page = bob.get(reverse("group", args=["orders", "email"])).content.decode()
    for word in ("Pause…", "Discard dead letters…", "Release", "Skip", "Give up"):
        assert re.search(rf'<button[^>]*disabled title="[^"]*needs the role operator[^"]*">{word}<', page), word
    assert "data-dialog " not in page


def test_a_group_is_moved_after_its_before_and_after_were_shown(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event]
) -> None:
    bus_client.run(operations.release(keys, "email", "w1#0"))
    question = asked(ann, "rewind", topic="orders", group="email", to="earliest")
    said = text_of(question)
    assert "6 events come to email anew" in said
    assert events[-1].entry in said
    assert "Only in part" in said
    assert bus_client.run(positions.position_of(keys, "email")) == events[-1].entry
    confirmed(ann, question)
    assert bus_client.run(positions.position_of(keys, "email")) == "0-0"
    action = Action.objects.get()
    assert action.told == "email on orders was moved: 6 events come anew"
    assert "0-0" in ann.get(reverse("action", args=[action.pk])).content.decode()


def test_a_group_that_moved_on_since_goes_where_it_was_said_and_that_is_told(
    ann: Browser, bus_client: Client, keys: Keys, publisher: Publisher, events: list[Event]
) -> None:
    """Research reliability, §5 row 34: what was shown is what is done."""
    bus_client.run(operations.release(keys, "email", "w1#0"))
    question = asked(ann, "rewind", topic="orders", group="email", to="-2")
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(5)])
    taken = bus_client.run(operations.take_new(keys, "email", "w1#1", count=9, block_ms=None)).events
    bus_client.run(operations.release(keys, "email", "w1#1"))
    confirmed(ann, question)
    assert bus_client.run(positions.position_of(keys, "email")) == events[3].entry
    assert f"had moved on from {events[-1].entry} to {taken[-1].entry} since it was shown" in Action.objects.get().told


def test_a_group_that_runs_something_for_too_long_is_not_moved_and_that_is_on_record(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.actions.deeds.groups.WAIT_SECONDS", 0.1)
    confirmed(ann, asked(ann, "rewind", topic="orders", group="email", to="earliest"))
    assert Action.objects.get().result == "failed"
    assert "still run" in Action.objects.get().told
    assert bus_client.run(positions.position_of(keys, "email")) == events[-1].entry


@pytest.mark.parametrize("deed", ["release", "skip", "dead-letter"])
def test_a_pending_entry_is_let_go_by_hand(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event], deed: str
) -> None:
    entry = f"0:{events[4].entry}:1"
    assert entry in unquote(ann.get(reverse("group", args=["orders", "email"])).content.decode())
    action = did(ann, deed, topic="orders", group="email", entry=entry)
    assert action.told.startswith("1 of 1 ")
    assert [touched.event_id for touched in action.touched.all()] == [events[4].id]
    again = did(ann, deed, topic="orders", group="email", entry=entry)
    assert again.told.startswith("0 of 1 ")
    assert "passed over: 1" in again.told


def test_dead_letters_are_discarded_as_they_were_shown_and_restored(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event], record: Recorded
) -> None:
    """Research reliability, §5 row 34: a filter that matches more by the time of the confirmation."""
    question = asked(ann, "discard", topic="orders", group="email", error="f1")
    assert "Discard 1 dead letter of email on orders?" in text_of(question)
    late = Settlement(b"d", Record(Step.DEAD_LETTERED, events[4].entry, 1, failure=FAILURE))
    bus_client.run(operations.settle(keys, "email", "w1#0", [late], holds=6))
    assert set(of_email(bus_client, keys)) == {events[3].id, events[4].id}
    confirmed(ann, question)
    assert of_email(bus_client, keys) == [events[4].id], "the one that was not shown stays"
    discarded = Action.objects.get()
    assert (discarded.frozen_count, discarded.told) == (1, "1 of 1 discarded")
    assert did(ann, "restore", topic="orders", group="email").told == "1 of 1 restored"
    assert set(of_email(bus_client, keys)) == {events[3].id, events[4].id}
    page = ann.get(reverse("trace-panel", args=[events[3].correlation_id]), {"event": events[3].id}).content.decode()
    assert reverse("action", args=[discarded.pk]) in page, "from the event back to the action"


def test_an_event_is_published_after_it_was_checked_and_only_once(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event], record: Recorded
) -> None:
    form = asked(ann, "publish", topic="orders")
    assert "Publish an event on orders" in text_of(form)
    data = {"topic": "orders", "type": "order_placed", "key": "o-9", "data": '{"total": 1}', "next": "/"}
    question = ann.post(reverse("act", args=["publish"]), data)
    assert "It would reach 1 group: email." in text_of(question)
    assert "An event can't be taken back" in text_of(question)
    confirmed(ann, question)
    confirmed(ann, question)
    taken = bus_client.run(operations.take_new(keys, "email", "w2#0", count=9, block_ms=None)).events
    assert [(event.type, event.key, event.data) for event in taken] == [("order_placed", "o-9", {"total": 1})]
    assert [touched.event_id for touched in Action.objects.latest("pk").touched.all()] == [taken[0].id]


@pytest.mark.parametrize("data", ["{", "nan", '{"password": "•••"}', "[" * 5000])
def test_data_that_is_no_json_or_holds_a_mask_comes_back_with_the_form(
    ann: Browser, events: list[Event], data: str
) -> None:
    answer = ann.post(reverse("act", args=["publish"]), {"topic": "orders", "type": "t", "data": data})
    assert answer.status_code == 400
    assert "expected data" in text_of(answer)
    assert not Action.objects.exists()


def test_an_event_is_published_once_more_in_full_linked_to_the_first(
    ann: Browser, bus_client: Client, keys: Keys, publisher: Publisher, record: Recorded
) -> None:
    first = publisher.publish(publisher.draft("orders", "t", {"password": "hunter2"}, key="o-1"))
    record()
    question = asked(ann, "republish", event=first.id)
    assert "hunter2" not in question.content.decode()
    confirmed(ann, question)
    one, two = bus_client.run(operations.take_new(keys, "email", "w2#0", count=9, block_ms=None)).events
    assert one.id == first.id
    assert (two.data, two.key, two.correlation_id) == (first.data, "o-1", first.correlation_id)
    assert two.id != first.id
    assert two.headers["fanlight-republished"] == first.id
    assert set(Action.objects.get().touched.values_list("event_id", flat=True)) == {first.id, two.id}


def test_a_confirmation_of_something_else_or_made_up_does_nothing(
    ann: Browser, bus_client: Client, keys: Keys, events: list[Event]
) -> None:
    question = asked(ann, "resume", topic="orders", group="email")
    frozen = re.search(r'name="frozen" value="([^"]*)"', question.content.decode())[1]  # type: ignore[index]
    for given in (frozen, frozen[:-2] + "xx", "nonsense", ""):
        ann.post(reverse("act", args=["pause"]), {"frozen": given, "reason": "r"})
    assert bus_client.run(control.paused_by(keys, "email")) is None
    assert not Action.objects.exists()


@pytest.mark.parametrize(
    "wanted", ["//evil.example/", "https:evil.example", "https://evil.example/", "\\\\evil.example", "/\\evil.example",
               "/a\r\nX: y", "javascript:alert(1)", "///evil.example", ""],
)  # fmt: skip
def test_an_action_goes_on_to_a_page_of_this_site_only(ann: Browser, events: list[Event], wanted: str) -> None:
    """Research reliability, §5 row 26: open redirect."""
    answer = confirmed(ann, asked(ann, "pause", topic="orders", group="email"), next=wanted)
    assert answer["Location"] == "/activity/"


def test_what_does_not_exist_is_said_and_never_a_fault(ann: Browser, events: list[Event]) -> None:
    assert ann.get("/act/nonsense/").status_code == 404
    assert ann.get("/act/replay-everything/").status_code == 404
    for deed, said in (
        ("pause", {"topic": "nowhere", "group": "email"}), ("pause", {"topic": "orders", "group": "nobody"}),
        ("pause", {}), ("pause", {"topic": "a/b", "group": "email"}),
        ("rewind", {"topic": "orders", "group": "email", "to": "soon"}),
        ("skip", {"topic": "orders", "group": "email", "entry": "x"}), ("skip", {"topic": "orders", "group": "email"}),
        ("republish", {"event": "none"}), ("discard", {"topic": "orders", "group": "\0"}),
    ):  # fmt: skip
        assert asked(ann, deed, **said).status_code in (200, 400), (deed, said)


def test_a_dialog_gets_the_question_alone(ann: Browser, events: list[Event]) -> None:
    address = f"{reverse('act', args=['pause'])}?topic=orders&group=email"
    part = ann.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert 'name="frozen"' in part


def test_a_user_who_acts_too_often_has_to_wait(
    ann: Browser, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.actions.rates._asked", OrderedDict())
    for _ in range(rates.PER_MINUTE):
        ann.post(reverse("act", args=["pause"]), {"frozen": "x"})
    question = asked(ann, "pause", topic="orders", group="email")
    confirmed(ann, question)
    assert not Action.objects.exists()
    assert f"more than {rates.PER_MINUTE} actions within a minute" in ann.get("/system/").content.decode()


def test_hostile_names_are_shown_as_text(
    ann: Browser, bus_client: Client, publisher: Publisher, record: Recorded
) -> None:
    """Research reliability, §5 row 23: on the pages that act."""
    hostile = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    event = publisher.publish(publisher.draft("orders", hostile, {"a": hostile}, key=hostile))
    record()
    question = asked(ann, "republish", event=event.id)
    confirmed(ann, question, reason=hostile)
    for address in ("/activity/", reverse("action", args=[Action.objects.get().pk])):
        assert "<script>alert" not in ann.get(address).content.decode()
        assert "<img" not in ann.get(address).content.decode()
    assert "<script>alert" not in question.content.decode()
