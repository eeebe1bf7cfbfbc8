"""Replays over the API: each answer is as described, and what is wrong is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from bus.streams import Client
from dashboard.actions import roles
from dashboard.actions.roles import Role
from dashboard.api.views import DESCRIPTION
from dashboard.replays.models import Replay
from tests.dashboard.dead import Graveyard
from tests.dashboard.schema import faults

OPENAPI = json.loads(DESCRIPTION.read_text())


@pytest.fixture
def operator(transactional_db: None) -> Browser:
    browser = Browser()
    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR)
    browser.force_login(user)
    return browser


@pytest.fixture
def dead(bus_client: Client, record: Any) -> Graveyard:
    made = Graveyard(bus_client)
    made.ids = made.publish(30)
    made.give_up()
    record()
    return made


def post(browser: Browser, path: str, said: Any = None, *, status: int = 200, described: str = "") -> Any:
    response = browser.post(f"/api{path}", json.dumps(said or {}), content_type="application/json")
    assert response.status_code == status, response.content
    if described:
        content = OPENAPI["paths"][described]["post"]["responses"][str(status)]["content"]["application/json"]
        assert list(faults(response.json(), content["schema"], OPENAPI)) == []
    return response.json()


def get(browser: Browser, path: str, described: str) -> Any:
    answer = browser.get(f"/api{path}").json()
    content = OPENAPI["paths"][described]["get"]["responses"]["200"]["content"]["application/json"]
    assert list(faults(answer, content["schema"], OPENAPI)) == []
    return answer


def test_a_replay_is_planned_confirmed_looked_at_and_cancelled(operator: Browser, dead: Graveyard) -> None:
    made = post(operator, "/replays", {"error": "f1", "group": "email"}, status=201, described="/replays")
    assert (made["stage"], made["planned"], made["counts"]["planned"]) == ("planned", 30, 30)
    pk = made["id"]
    said = {"pace": 10, "canary": False, "reason": "fixed"}
    begun = post(operator, f"/replays/{pk}/confirm", said, described="/replays/{pk}/confirm")
    assert (begun["stage"], begun["pace"], begun["reason"]) == ("running", 10, "fixed")
    assert get(operator, "/replays", "/replays")["replays"][0]["id"] == pk
    letters = get(operator, f"/replays/{pk}?show=planned", "/replays/{pk}")["letters"]
    assert (len(letters), letters[0]["group"], letters[0]["topic"]) == (30, "email", "orders")
    assert post(operator, f"/replays/{pk}/cancel", described="/replays/{pk}/cancel")["stage"] == "cancelled"
    assert post(operator, f"/replays/{pk}/go-on", described="/replays/{pk}/go-on")["stage"] == "running"


def test_letters_can_be_named(operator: Browser, dead: Any) -> None:
    named = [{"event": id_, "group": "email"} for id_ in (*dead.ids[:2], "nobody")]
    assert post(operator, "/replays", {"letters": named}, status=201)["planned"] == 2


def test_whoever_may_not_operate_is_told_why(operator: Browser, dead: Graveyard) -> None:
    pk = post(operator, "/replays", {"topic": "orders"}, status=201)["id"]
    reader = Browser()
    reader.force_login(User.objects.create_user("eve"))
    for path in ("/replays", f"/replays/{pk}/confirm", f"/replays/{pk}/cancel"):
        assert "needs the role operator" in post(reader, path, {}, status=403)["error"]["message"]
    assert Replay.objects.get().stage == "planned"


@pytest.mark.parametrize(
    "said",
    [
        [], {"sate": "dead"}, {"topic": 7}, {"letters": []}, {"letters": [{"event": "x"}]}, {"letters": "all"},
        {"query": "sate:dead"}, {"letters": [{"event": 1, "group": "g"}]},
    ],
)  # fmt: skip
def test_what_no_list_can_be_made_of_is_refused(operator: Browser, dead: Graveyard, said: Any) -> None:
    response = operator.post("/api/replays", json.dumps(said), content_type="application/json")
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("expected") or said == {"query": "sate:dead"}
    assert not Replay.objects.exists()


def test_what_is_not_there_or_not_so_is_said(operator: Browser, dead: Graveyard) -> None:
    assert post(operator, "/replays/999/confirm", status=404)
    assert operator.get("/api/replays/999").status_code == 404
    pk = post(operator, "/replays", status=201)["id"]
    assert "expected a pace" in post(operator, f"/replays/{pk}/confirm", {"pace": 0}, status=400)["error"]["message"]
    assert "true or false" in post(operator, f"/replays/{pk}/confirm", {"canary": 1}, status=400)["error"]["message"]
    assert post(operator, f"/replays/{pk}/cancel", status=400)
    assert operator.get(f"/api/replays/{pk}?show=nothing").status_code == 400
    assert operator.get(f"/api/replays/{pk}/cancel").status_code == 405
    assert operator.post("/api/replays", b"{", content_type="application/json").status_code == 400
