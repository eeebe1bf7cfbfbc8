"""Whoever has roles on some topics only sees nothing of the others: no name, id, number or link, wherever they look.

Research reliability, §5 row 28: "object ids of forbidden topics 404". Every address of the matrix, and the socket.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from bus.journal import Failure
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from dashboard import queries
from dashboard.actions import roles, tokens
from dashboard.actions.models import Action, Touched
from dashboard.actions.roles import Role
from dashboard.actions.sight import Sight
from dashboard.alerts.models import Alert, AlertRule
from dashboard.alerts.rules import USUAL
from dashboard.live.seen import seen
from dashboard.replays.models import Replay
from dashboard.visible import Visible, only
from tests.dashboard import test_matrix as matrix
from tests.dashboard.conftest import Record
from tests.dashboard.dead import Graveyard

SECRET = "zebra"  # in every name that is about the topic that is not seen
HIDDEN = {
    "topic": f"{SECRET}s", "group": f"{SECRET}-mail", "correlation_id": f"{SECRET}-trace", "event_id": f"{SECRET}-1",
    "pk": "77", "word": "acknowledge", "deed": "pause", "name": "topics", "token": "made-up",
}  # fmt: skip
ASKED = {"palette", "find", "search", "api-suggest", "api-events", "api-alerts", "alerts"}
strict, keys = matrix.strict, matrix.keys  # fixtures


@pytest.fixture
def hidden(keys: Keys, bus_client: Client, publisher: Publisher, record: Record) -> None:
    """Beside the topic `orders`, one that is not seen, with one of everything."""
    topic, group = HIDDEN["topic"], HIDDEN["group"]
    grave = Graveyard(bus_client, topic, (group,))
    for number in range(2):
        publisher.publish(
            publisher.draft(
                topic, f"{SECRET}_seen", {SECRET: SECRET}, key=f"{SECRET}-key", id=f"{SECRET}-{number}",
                correlation_id=HIDDEN["correlation_id"],
            )
        )  # fmt: skip
    # One of a trace that is seen.
    publisher.publish(publisher.draft(topic, f"{SECRET}_seen", {}, id=f"{SECRET}-9", correlation_id="trace"))
    grave.give_up(group, Failure("ValueError", f"no {SECRET}", fingerprint=SECRET))
    record()
    rule = AlertRule.objects.create(pk=77, **{**USUAL, "name": SECRET, "since_ms": 1, "topic": topic})
    Alert.objects.create(pk=77, rule=rule, **{**matrix.ALERT, "topic": topic, "group": group})
    made = Action.objects.create(pk=77, who=SECRET, deed="pause", topic=topic, began_ms=1, event_id=f"{SECRET}-a")
    Touched.objects.create(action=made, event_id="e-1")
    Replay.objects.create(pk=77, who=SECRET, made_ms=1, filter="{}", topic=topic, group=group, stage="done")


def limited(role: Role = Role.ADMIN) -> Browser:
    ann, made = User.objects.get_or_create(username="limited")
    if made:
        roles.give(ann, role, ["orders*"])
    browser = Browser()
    browser.force_login(ann)
    return browser


def addresses(name: str, row: matrix.Row, where: dict[str, str]) -> str:
    chosen = {one: where[one] if where else value for one, value in row.where.items()}
    return reverse(name, kwargs=chosen or None)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
def test_no_address_tells_anything_of_a_topic_that_is_not_seen(hidden: None, role: Role) -> None:
    who, everybody, told, shown = limited(role), matrix.browser(Role.ADMIN), [], 0
    for name, row in matrix.MATRIX.items():
        address = addresses(name, row, {})
        asked = [f"q={SECRET[:3]}", f"q=key:{SECRET[:3]}", f"q=type:{SECRET[:3]}", "q=group:", "past=1"]
        for query in {row.query, *(asked if name in ASKED else ())}:
            if name == "api-export":  # it needs a topic
                continue
            body = who.get(f"{address}?{query}").content.decode()
            told += [(name, query, body[max(body.find(SECRET) - 200, 0) :][:300])] if SECRET in body else []
            shown += SECRET in everybody.get(f"{address}?{query}").content.decode()
    assert not told, told[:3]
    assert shown > 20, "it is there for whoever may"


def test_what_belongs_to_a_topic_that_is_not_seen_is_not_there(hidden: None) -> None:
    """By its id: 404 to who may not see it, an answer to who may."""
    who, everybody, wrong, checked = limited(), matrix.browser(Role.ADMIN), [], 0
    for name, row in matrix.MATRIX.items():
        if name == "trace-panel" or not row.where.keys() & {"topic", "correlation_id", "event_id", "pk"}:
            continue
        address, method = addresses(name, row, HIDDEN), "get" if 405 not in row.get[1:] else "post"
        status = getattr(who, method)(address).status_code
        checked += getattr(everybody, method)(address).status_code != 404
        if status != 404:
            wrong.append((name, address, status))
    assert not wrong, wrong
    assert checked > 20


def test_words_that_ask_for_what_is_not_seen_find_nothing(hidden: None) -> None:
    who = limited()
    for query in (f"id:{SECRET}-1", f"trace:{SECRET}-trace", f"key:{SECRET}-key", f"type:{SECRET}_seen", SECRET):
        assert who.get("/api/events", {"q": query}).json()["events"] == [], query
    for query in (f"topic:{SECRET}s", f"group:{SECRET}-mail"):
        assert who.get("/api/events", {"q": query}).status_code == 400
    assert who.get("/api/history", {"key": f"{SECRET}-key"}).json()["events"] == []
    assert who.get("/find/", {"id": f"{SECRET}-1"}).status_code == 404
    panel = who.get(reverse("trace-panel", args=[HIDDEN["correlation_id"]]), {"event": f"{SECRET}-1"})
    assert f"{SECRET}_seen" not in panel.content.decode()
    pending = who.get("/api/pending", {"topic": f"{SECRET}s", "group": f"{SECRET}-mail"}).json()
    assert pending["entries"] == []


def test_a_deed_on_a_topic_that_is_not_seen_is_about_nothing(hidden: None) -> None:
    said = {"topic": f"{SECRET}s", "group": f"{SECRET}-mail"}
    assert "expected a topic that is there" in limited().get("/act/pause/", said).content.decode()
    body = json.dumps({**said, "reason": "r"})
    answer = limited().post("/api/actions/pause", body, content_type="application/json")
    assert answer.status_code == 400
    assert f"{SECRET}-mail" not in answer.content.decode()


def test_a_token_sees_the_topics_of_its_patterns_and_no_other(hidden: None) -> None:
    secret = tokens.create("narrow", Role.OPERATOR, "orders*", "tests")
    script = Browser(headers={"Authorization": f"Bearer {secret}"})
    assert [row["topic"] for row in script.get("/api/topics").json()["topics"]] == ["orders"]
    assert {row["topic"] for row in script.get("/api/groups").json()["groups"]} == {"orders"}


def test_seeing_less_takes_no_more_queries(hidden: None, django_assert_max_num_queries: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as usual:
        queries.overview()
    with only(Visible(["orders*"], [])), django_assert_max_num_queries(len(usual)):
        queries.overview()


def test_figures_that_nobody_knows_stay_unknown_for_who_sees_less(hidden: None) -> None:
    sight = Sight(User.objects.get(pk=limited().session["_auth_user_id"]))
    unknown = dict.fromkeys(("dead", "retrying", "behind", "silent"))
    frame = json.dumps({"type": "overview", "seq": 1, **queries.overview(), "figures": unknown})
    assert json.loads(seen(frame, sight) or "")["figures"] == unknown


def test_frames_of_the_socket_leave_out_what_is_not_seen(hidden: None) -> None:
    sight = Sight(User.objects.get(pk=limited().session["_auth_user_id"]))
    overview = json.dumps({"type": "overview", "seq": 1, **queries.overview()})
    assert SECRET in overview
    told = json.loads(seen(overview, sight) or "")
    assert SECRET not in json.dumps(told)
    assert [row["topic"] for row in told["topics"]] == ["orders"]
    trace = seen(json.dumps({"type": "trace", "seq": 1, "trace": queries.trace("trace")}), sight)
    assert trace is not None
    assert SECRET not in trace
    assert json.loads(trace)["trace"]["summary"]["events"] == 1
    whole = json.dumps({"type": "trace", "seq": 1, "trace": queries.trace(HIDDEN["correlation_id"])})
    assert seen(whole, sight) is None
    assert seen(json.dumps({"type": "tail", "seq": 1, "topic": HIDDEN["topic"], "rows": []}), sight) is None


def test_a_role_on_some_topics_takes_the_place_of_the_usual_one(db: None, settings: Any) -> None:
    settings.DEFAULT_ROLE = "operator"
    ann = User.objects.create_user("ann")
    assert roles.everywhere(ann) is Role.OPERATOR
    roles.give(ann, Role.VIEWER, ["orders*"])
    assert roles.everywhere(ann) is Role.VIEWER
    assert roles.topics_of(ann) == ["orders*"]
    roles.give(ann, Role.VIEWER)
    assert roles.topics_of(ann) is None
