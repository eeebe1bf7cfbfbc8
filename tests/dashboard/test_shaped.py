"""The plan of a replay beside newer events: how many letters are shaped otherwise, for whom in what, at what price."""

from __future__ import annotations

import html
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

import bus
from bus.publisher import Publisher
from bus.streams import Client
from dashboard.actions import roles
from dashboard.actions.roles import Role
from dashboard.models import Event
from dashboard.queries import shapes
from dashboard.replays import desk, shaped
from dashboard.replays.plan import Asked
from tests.dashboard.dead import Graveyard

NEWER = {"number": "7", "currency": "EUR"}


@pytest.fixture
def dead(bus_client: Client, transactional_db: None) -> Graveyard:
    return Graveyard(bus_client)


def publish(
    publisher: Publisher, count: int, data: Any, event_type: str = "order_placed", topic: str = "orders"
) -> None:
    for _ in range(count):
        publisher.publish(publisher.draft(topic, event_type, data))


def browser_of(name: str, role: Role) -> Browser:
    user = User.objects.create_user(name)
    roles.give(user, role)
    browser = Browser()
    browser.force_login(user)
    return browser


def page(browser: Browser, replay: Any) -> str:
    text = browser.get(f"/replays/{replay.pk}/").content.decode()
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))


def test_the_plan_says_how_many_letters_differ_and_in_what_and_leaves_none_out(
    dead: Graveyard, publisher: Publisher, record: Any
) -> None:
    dead.publish(4)
    publish(publisher, 1, {"number": "5", "currency": "USD"})
    dead.give_up()
    publish(publisher, 3, NEWER)
    record()

    replay = desk.plan("ann", Asked())
    found = shaped.compared(replay)

    assert (found["compared"], found["differing"], replay.planned) == (5, 4, 5)
    assert found["told"] == "`number` was number, is text in the newer ones (4); `currency` is missing (4)"
    text = page(browser_of("ann", Role.OPERATOR), replay)
    assert "4 of 5 compared letters are shaped otherwise than newer events of their type" in text
    assert "They are replayed all the same." in text
    assert "Replay 5" in text


def test_letters_shaped_like_newer_events_are_no_warning(dead: Graveyard, publisher: Publisher, record: Any) -> None:
    dead.publish(2)
    dead.give_up()
    publish(publisher, 2, {"number": 9})
    record()

    text = page(browser_of("ann", Role.OPERATOR), desk.plan("ann", Asked()))

    assert "2 compared with newer events of their type: none is shaped otherwise" in text
    assert "The schema" not in text


def test_without_newer_events_nothing_is_said(dead: Graveyard, publisher: Publisher, record: Any) -> None:
    dead.publish(1)
    dead.give_up()
    record()

    replay = desk.plan("ann", Asked())

    assert shaped.compared(replay) == {"compared": 0, "differing": 0, "told": ""}
    assert "compared" not in page(browser_of("ann", Role.OPERATOR), replay)


def test_who_may_not_see_payloads_sees_the_count_and_no_names(
    dead: Graveyard, publisher: Publisher, record: Any
) -> None:
    dead.publish(2)
    dead.give_up()
    publish(publisher, 2, NEWER)
    record()
    replay = desk.plan("ann", Asked())
    viewer = browser_of("vic", Role.VIEWER)

    text = page(viewer, replay)
    said = viewer.get(f"/api/replays/{replay.pk}").json()

    assert "2 of 2 compared letters are shaped otherwise" in text
    assert "currency" not in text
    assert said["shape"] == {"compared": 2, "differing": 2, "told": None}
    assert "`currency`" in browser_of("ann", Role.OPERATOR).get(f"/api/replays/{replay.pk}").json()["shape"]["told"]


def test_the_command_line_says_it_before_anything_is_replayed(
    dead: Graveyard, publisher: Publisher, record: Any
) -> None:
    dead.publish(2)
    dead.give_up()
    publish(publisher, 1, NEWER)
    record()
    out = StringIO()

    with bus.replaced(publisher):
        call_command("replay", "orders", "email", "--canary", "--dry-run", stdout=out)

    assert "2 of 2 compared shaped otherwise than newer events of their type: `number` was number" in out.getvalue()


def test_types_are_named_when_there_are_several_and_each_has_its_own_topic(
    dead: Graveyard, publisher: Publisher, record: Any
) -> None:
    publish(publisher, 2, {"a": 1}, "order_placed")
    publish(publisher, 1, {"a": 1}, "order_paid")
    dead.give_up()
    publish(publisher, 1, {"a": "x"}, "order_placed")
    publish(publisher, 1, {"b": 1}, "order_paid")
    publisher.declare("returns", 1)
    publish(publisher, 5, {"c": 1}, "order_placed", "returns")
    record()

    told = shaped.compared(desk.plan("ann", Asked(topic="orders")))["told"]

    assert told.startswith(
        "order_placed: `a` was number, is text in the newer ones (2); order_paid: `b` is missing (1)"
    )


def test_a_long_list_is_compared_in_part_spread_over_it_with_one_query_for_all_types(
    dead: Graveyard, publisher: Publisher, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shaped, "MAX_LETTERS", 10)
    for number in range(30):
        publish(publisher, 1, {"number": 1}, f"type_{number}")
    dead.give_up()
    publish(publisher, 25, {"number": "x"}, "type_0")
    for number in range(1, 30):
        publish(publisher, 1, {"number": "x"}, f"type_{number}")
    record()
    replay = desk.plan("ann", Asked())

    with CaptureQueriesContext(connection) as asked:
        found = shaped.compared(replay)

    assert found["compared"] == found["differing"] == 10
    assert len([one for one in asked.captured_queries if "ROW_NUMBER" in one["sql"]]) == 2
    assert len(asked.captured_queries) <= 8


def test_more_types_and_partitions_than_are_asked_are_not_compared(
    dead: Graveyard, publisher: Publisher, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publisher, 2, {"a": 1}, "order_placed")
    publish(publisher, 1, {"a": 1}, "order_paid")
    dead.give_up()
    for event_type in ("order_placed", "order_paid"):
        publish(publisher, 1, {"a": "x"}, event_type)
    record()
    replay = desk.plan("ann", Asked())
    assert shaped.compared(replay)["compared"] == 3

    monkeypatch.setattr(shapes, "MAX_PLACES", 1)
    assert shaped.compared(replay)["compared"] == 2
    monkeypatch.setattr(shaped, "MAX_SORTS", 0)
    assert shaped.compared(replay)["compared"] == 0


def test_the_newest_events_of_all_partitions_say_what_the_shape_is_now(
    publisher: Publisher, record: Any, transactional_db: None
) -> None:
    publisher.declare("wide", 3)
    for number in range(90):
        publisher.publish(publisher.draft("wide", "made", {f"f{number}": 1}, key=f"k-{number}"))
    record()

    found = shapes.newest([("wide", "made"), ("wide", "nothing"), ("nowhere", "made")])

    newest = Event.objects.filter(type="made").order_by("-at_ms", "-at_seq", "-id")[:20]
    assert [one.shape for one in found["wide", "made"]] == [shapes.shape_of(bytes(event.payload)) for event in newest]
    assert len({event.partition_id for event in newest}) == 3
    assert found["wide", "nothing"] == []
    assert ("nowhere", "made") not in found


def test_confirming_compares_nothing(dead: Graveyard, publisher: Publisher, record: Any) -> None:
    dead.publish(2)
    dead.give_up()
    publish(publisher, 1, NEWER)
    record()
    ann = browser_of("ann", Role.OPERATOR)
    by_page, by_api = desk.plan("ann", Asked()), desk.plan("ann", Asked())

    with CaptureQueriesContext(connection) as asked:
        assert ann.post(f"/replays/{by_page.pk}/confirm/", {"pace": "50", "reason": "x"}).status_code == 302
        assert ann.post(f"/api/replays/{by_api.pk}/confirm", {}, content_type="application/json").status_code == 200

    assert not [one for one in asked.captured_queries if "ROW_NUMBER" in one["sql"]]


def test_hostile_names_of_fields_are_text_on_the_page(dead: Graveyard, publisher: Publisher, record: Any) -> None:
    dead.publish(1)
    dead.give_up()
    publish(publisher, 1, {"number": 1, "`<img src=x onerror=alert(1)>`": 1})
    record()
    ann = browser_of("ann", Role.OPERATOR)

    text = ann.get(f"/replays/{desk.plan('ann', Asked()).pk}/").content.decode()

    assert "<code>?&lt;img src=x onerror=alert(1)&gt;?</code> is missing" in text
    assert "<img src=x" not in text
