"""Alerts on pages and over the API: what is raised is seen, operators act on it, others are told why they can't."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from dashboard.actions import roles
from dashboard.actions.models import Action
from dashboard.actions.roles import Role
from dashboard.alerts.evaluate import turn
from dashboard.alerts.models import Alert, AlertRule, Missing
from dashboard.api.views import DESCRIPTION
from tests.dashboard.hostile import TEXTS
from tests.dashboard.recorded import NOW_MS
from tests.dashboard.schema import faults
from tests.dashboard.test_alerts import ORDERS, rule, scene, watch

OPENAPI = json.loads(DESCRIPTION.read_text())


def browser(role: Role) -> Browser:
    made = Browser()
    user = User.objects.create_user(role.name)
    roles.give(user, role)
    made.force_login(user)
    return made


@pytest.fixture
def operator(db: None, config: object) -> Browser:
    AlertRule.objects.all().delete()
    return browser(Role.OPERATOR)


def raise_one() -> Alert:
    rule("lag", hold_s=0, name="late groups")
    watch((0, 10))
    return Alert.objects.get()


def test_what_is_raised_is_on_the_overview_and_first_on_its_page(operator: Browser) -> None:
    assert "events behind on orders" not in operator.get("/").content.decode()
    alert = raise_one()
    for address in (
        "/",
        "/overview/alerts/",
        "/alerts/",
        "/alerts/body/",
        f"/alerts/{alert.pk}/",
        f"/alerts/{alert.pk}/body/",
    ):
        text = operator.get(address).content.decode()
        assert "email is 10 events behind on orders" in text, address
        assert "/consumers/orders/email/" in text or address in ("/alerts/", "/alerts/body/"), address
    text = operator.get("/alerts/").content.decode()
    assert text.index("Raised") < text.index("late groups") < text.index("Before")


def test_operators_acknowledge_snooze_and_clear_with_a_reason(operator: Browser) -> None:
    alert = raise_one()
    for word, more, stage in (
        ("acknowledge", {}, "acknowledged"), ("snooze", {"for": "8h"}, "snoozed"), ("clear", {}, "dismissed"),
    ):  # fmt: skip
        answer = operator.post(f"/alerts/{alert.pk}/{word}/", {"reason": f"because {word}", **more})
        assert answer.status_code == 302
        alert.refresh_from_db()
        assert alert.stage == stage
    text = operator.get(f"/alerts/{alert.pk}/").content.decode()
    assert "because snooze" in text
    assert Action.objects.filter(deed="alert", who="OPERATOR", result="done").count() == 3
    assert operator.post(f"/alerts/{alert.pk}/clear/").status_code == 400
    assert operator.post("/alerts/99/clear/").status_code == 404


def test_others_see_why_they_can_not(operator: Browser, settings: Any) -> None:
    settings.DEFAULT_ROLE = "viewer"
    alert = raise_one()
    viewer = browser(Role.VIEWER)
    for address in ("/alerts/", f"/alerts/{alert.pk}/", f"/alerts/rules/{alert.rule_id}/", "/alerts/rules/new/"):
        text = viewer.get(address).content.decode()
        assert "needs the role operator" in text, address
        assert "disabled" in text, address
    assert viewer.post(f"/alerts/{alert.pk}/clear/").status_code == 403
    assert viewer.post("/alerts/rules/new/", {"name": "a", "kind": "lag", "threshold": "1"}).status_code == 403
    assert viewer.post(f"/alerts/rules/{alert.rule_id}/", {"do": "remove"}).status_code == 403
    assert viewer.post(f"/api/alerts/{alert.pk}/acknowledge", {}, content_type="application/json").status_code == 403
    alert.refresh_from_db()
    assert alert.stage == "raised"
    assert AlertRule.objects.filter(removed_ms=None).count() == 1


def test_a_rule_is_made_changed_switched_and_removed_on_its_page(operator: Browser) -> None:
    said = {**ORDERS, "kind": "consequence", "name": "unpaid", "threshold": "1", "within_s": "30", "same": "key"}
    assert "Type of the consequence" in operator.get("/alerts/rules/new/?kind=consequence").content.decode()
    assert operator.post("/alerts/rules/new/", said).status_code == 302
    made = AlertRule.objects.get()
    assert "orders/order_placed with no payments/payment_received" in operator.get("/alerts/").content.decode()
    wrong = operator.post(f"/alerts/rules/{made.pk}/", {**said, "within_s": "soon"})
    assert wrong.status_code == 400
    assert "got &#x27;soon&#x27;" in wrong.content.decode()
    assert 'value="soon"' in wrong.content.decode(), "what was typed is still there"
    assert operator.post(f"/alerts/rules/{made.pk}/", {**said, "within_s": "60"}).status_code == 302
    made.refresh_from_db()
    assert made.within_s == 60
    operator.post(f"/alerts/rules/{made.pk}/", {"do": "switch"})
    made.refresh_from_db()
    assert not made.enabled
    operator.post(f"/alerts/rules/{made.pk}/", {"do": "remove"})
    assert operator.get(f"/alerts/rules/{made.pk}/").status_code == 404


def test_events_without_their_consequence_are_listed_and_linked(operator: Browser) -> None:
    made = rule("consequence", threshold=1, hold_s=0, **ORDERS)
    Missing.objects.create(rule=made, topic="orders", event_id="o-1", correlation_id="t", key="k", at_ms=NOW_MS)
    turn(scene(1, groups=[]))
    text = operator.get(f"/alerts/{Alert.objects.get().pk}/").content.decode()
    assert "/events/o-1/" in text
    assert "never came" in text


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_breaks_a_page(operator: Browser, text: str) -> None:
    name = text.encode("utf-8", "replace").decode().replace("\0", "")[:100] or "x"
    made = rule("lag", hold_s=0, name=name)
    turn(scene(0, groups=[{"topic": "orders", "group": name, "lag": 10, "age_ms": 0}]))
    for address in ("/alerts/", f"/alerts/{Alert.objects.get().pk}/", f"/alerts/rules/{made.pk}/", "/overview/alerts/"):
        answer = operator.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()


def described(operator: Browser, path: str, asked: str, body: Any = None) -> Any:
    method = "get" if body is None else "post"
    response = operator.get(asked) if body is None else operator.post(asked, body, content_type="application/json")
    assert response.status_code == 200, response.content
    content = OPENAPI["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    assert list(faults(response.json(), content["schema"], OPENAPI)) == []
    return response.json()


def test_the_api_tells_and_acts(operator: Browser, settings: Any) -> None:
    settings.ALERT_WEBHOOKS = ["https://hooks.example/?key=secret"]
    alert = raise_one()
    listed = described(operator, "/alerts", "/api/alerts")
    assert [one["id"] for one in listed["alerts"]] == [alert.pk]
    assert "secret" not in json.dumps(listed)
    assert described(operator, "/alerts/{pk}", f"/api/alerts/{alert.pk}")["steps"][0]["step"] == "raised"
    act, path = "/alerts/{pk}/{word}", f"/api/alerts/{alert.pk}"
    assert described(operator, act, f"{path}/acknowledge", {"reason": "on it"})["stage"] == "acknowledged"
    assert described(operator, act, f"{path}/snooze", {"for": "1h"})["stage"] == "snoozed"
    assert described(operator, act, f"{path}/clear", {})["stage"] == "dismissed"
    assert described(operator, "/alerts", "/api/alerts?past=1")["alerts"][0]["stage"] == "dismissed"
    assert operator.post(f"{path}/explode", {}, content_type="application/json").status_code == 400
    assert operator.post(f"{path}/clear", "[1]", content_type="application/json").status_code == 400
    assert operator.get("/api/alerts/999").status_code == 404


def test_rules_are_made_changed_muted_and_removed_over_the_api(operator: Browser) -> None:
    AlertRule.objects.all().delete()
    said = {"name": "late", "kind": "lag", "threshold": 5, "topic": "orders", "reason": "we saw it late"}
    made = operator.post("/api/alerts/rules", said, content_type="application/json")
    assert made.status_code == 201
    content = OPENAPI["paths"]["/alerts/rules"]["post"]["responses"]["201"]["content"]["application/json"]
    assert list(faults(made.json(), content["schema"], OPENAPI)) == []
    assert (made.json()["threshold"], made.json()["severity"]) == (5, "warning"), "what was not said is as usual"
    where = f"/api/alerts/rules/{made.json()['id']}"
    one, act = "/alerts/rules/{pk}", "/alerts/rules/{pk}/{word}"
    assert [rule["name"] for rule in described(operator, "/alerts/rules", "/api/alerts/rules")["rules"]] == ["late"]
    changed = described(operator, one, where, {"threshold": 7})
    assert (changed["threshold"], changed["name"], changed["topic"]) == (7, "late", "orders")
    assert described(operator, act, f"{where}/mute", {"reason": "at night"})["enabled"] is False
    assert described(operator, act, f"{where}/unmute", {})["enabled"] is True
    for wrong in ({"threshold": "many"}, {"colour": "red"}, [1], {"kind": "none"}):
        assert operator.post(where, wrong, content_type="application/json").status_code == 400
    assert operator.post(f"{where}/explode", {}, content_type="application/json").status_code == 404
    described(operator, act, f"{where}/remove", {})
    assert operator.get(where).status_code == 404
    told = list(Action.objects.filter(deed="alert", result="done").order_by("pk").values_list("reason", flat=True))
    assert told == ["we saw it late", "", "at night", "", ""]
