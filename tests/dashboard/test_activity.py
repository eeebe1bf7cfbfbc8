"""Activity: every way to act leaves a row that says who, what, why and what came of it; filtered, opened, exported."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.urls import reverse

import bus
from bus import operations
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from dashboard.actions import rates, roles
from dashboard.actions.models import Action, Token
from dashboard.actions.roles import Deed, Role, may

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_has_asked_yet(settings: Any) -> None:
    settings.DEFAULT_ROLE = "viewer"
    rates._asked.clear()


@pytest.fixture
def ann() -> Browser:
    made = Browser()
    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR)
    made.force_login(user)
    return made


@pytest.fixture
def keys(bus_client: Client, publisher: Publisher) -> Any:
    made = Keys(bus_client.config.prefix, "orders", 0)
    bus_client.run(operations.declare_topic(bus_client.config.prefix, "orders", 1))
    bus_client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    with bus.replaced(publisher):
        yield made


def recorded(**fields: Any) -> Action:
    usual = {"who": "ann", "via": "page", "deed": "pause", "topic": "orders", "group": "email", "began_ms": 1}
    made = Action.objects.create(**{**usual, "event_id": f"a-{Action.objects.count()}", **fields})
    made.end("done", "it is paused")
    return made


def said(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def api(who: Browser, deed: str, **body: Any) -> Any:
    return who.post(reverse("api-act", args=[deed]), json.dumps(body), content_type="application/json")


def test_what_a_command_does_is_on_record_under_the_account_of_the_machine(keys: Keys) -> None:
    said("pause", "orders", "email", "--reason", "a deploy")
    said("resume", "orders", "email")
    said("rewind", "orders", "email", "--to", "earliest", "--dry-run")
    said("rewind", "orders", "email", "--to", "earliest")
    said("discard", "orders", "email")
    said("publish", "orders", "order_placed", "{}")
    rows = list(Action.objects.order_by("pk").values_list("deed", "via", "result"))
    assert rows == [(deed, "command line", "done") for deed in ("pause", "resume", "rewind", "discard", "publish")]
    first = Action.objects.earliest("pk")
    assert (first.reason, first.told) == ("a deploy", "email on orders is paused")
    assert first.who


def test_a_command_that_fails_is_on_record_too(keys: Keys) -> None:
    with pytest.raises(CommandError):
        said("rewind", "orders", "nobody", "--to", "earliest")
    assert (Action.objects.get().result, Action.objects.get().deed) == ("failed", "rewind")


def test_the_api_does_exactly_what_its_dry_run_said(ann: Browser, keys: Keys, bus_client: Client) -> None:
    plan = api(ann, "pause", topic="orders", group="email", dry_run=True).json()
    assert plan["title"] == "Pause email on orders?"
    assert plan["allowed"] is True
    assert not Action.objects.exists()
    done = api(ann, "pause", frozen=plan["frozen"], reason="a deploy")
    assert done.status_code == 200
    assert (done.json()["told"], done.json()["who"], done.json()["via"]) == ("email on orders is paused", "ann", "api")
    assert ann.get(reverse("api-action", args=[done.json()["id"]])).json()["reason"] == "a deploy"
    assert [row["deed"] for row in ann.get("/api/actions?who=ann&deed=pause").json()["actions"]] == ["pause"]
    assert ann.get("/api/actions?who=bob").json() == {"actions": [], "next": None}


@pytest.mark.parametrize(
    ("deed", "body", "status"),
    [
        ("pause", {"topic": "orders", "group": "email"}, 400),  # no reason
        ("pause", {"topic": "nowhere", "group": "email", "reason": "r"}, 400),
        ("pause", {"frozen": "made up", "reason": "r"}, 400),
        ("nonsense", {"reason": "r"}, 404),
        ("skip", {"topic": "orders", "group": "email", "entry": ["x"], "reason": "r"}, 400),
        ("rewind", {"topic": "orders", "group": "email", "to": "9" * 400, "reason": "r"}, 400),
    ],
)
def test_what_the_api_can_not_do_it_says(
    ann: Browser, keys: Keys, deed: str, body: dict[str, Any], status: int
) -> None:
    answer = api(ann, deed, **body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(("expected", "unknown"))


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b"[" * 5000, b'{"reason": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(ann: Browser, keys: Keys, raw: bytes) -> None:
    answer = ann.post(reverse("api-act", args=["pause"]), raw, content_type="application/json")
    assert answer.status_code == 400


def test_the_page_filters_by_who_what_topic_result_and_time(ann: Browser) -> None:
    recorded()
    recorded(who="bob", deed="rewind", topic="payments")

    def count(query: str) -> int:
        return len(ann.get(f"/activity/?{query}").context["actions"])

    assert count("") == 2
    assert count("who=bob") == count("deed=rewind") == count("topic=payments") == 1
    assert count("result=done") == 2
    assert count("result=failed") == count("since=1h") == 0
    assert count("since=nonsense") == 2


def test_the_page_goes_on_where_it_ended(ann: Browser) -> None:
    made = [recorded() for _ in range(53)]
    first = ann.get("/activity/")
    assert len(first.context["actions"]) == 50
    second = ann.get(f"/activity/?{first.context['older']}")
    assert [row["id"] for row in second.context["actions"]] == [row.pk for row in made[2::-1]]


def test_the_export_says_the_same_and_no_cell_of_it_is_a_formula(ann: Browser) -> None:
    """Research reliability, §5 row 24: CSV injection."""
    recorded(reason="=HYPERLINK(1)", who="+ann")
    rows = list(csv.DictReader(io.StringIO(ann.get("/activity/?format=csv").content.decode())))
    assert (rows[0]["reason"], rows[0]["who"]) == ("'=HYPERLINK(1)", "'+ann")
    assert ann.get("/activity/?format=json").json()[0]["reason"] == "=HYPERLINK(1)"


def test_a_token_is_made_shown_once_listed_and_revoked_by_command() -> None:
    secret = said("token", "create", "ci", "--role", "operator", "--topics", "orders*")
    assert secret.startswith("fl_")
    assert "ci: operator on orders*, valid" in said("token", "list")
    assert secret not in str(list(Action.objects.values_list()))
    said("token", "revoke", "ci")
    assert "revoked" in said("token", "list")
    assert [row.deed for row in Action.objects.order_by("pk")] == ["token-create", "token-revoke"]
    assert Token.objects.get().digest not in secret
    for words in (("create", "ci"), ("revoke", "ci"), ("create",), ("create", "x", "--role", "king")):
        with pytest.raises(CommandError):
            said("token", *words)


def test_a_role_is_given_in_the_place_of_others_by_command() -> None:
    user = User.objects.create_user("bob")
    said("role", "bob", "operator", "--topics", "orders*, payments")
    assert may(User.objects.get(pk=user.pk), Deed.PAUSE, "payments").allowed
    said("role", "bob", "payload-viewer")
    assert not may(User.objects.get(pk=user.pk), Deed.PAUSE, "payments").allowed
    assert may(User.objects.get(pk=user.pk), Deed.SEE_PAYLOADS, "anything").allowed
    for words in (("nobody", "operator"), ("bob", "king")):
        with pytest.raises(CommandError):
            said("role", *words)


def test_wrong_passwords_have_to_wait_from_one_address_and_for_one_name() -> None:
    User.objects.create_user("eve", password="correct horse")
    wrong, right = {"username": "eve", "password": "x"}, {"username": "eve", "password": "correct horse"}
    answers = [Browser().post(reverse("login"), wrong).status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]
    there = Browser(REMOTE_ADDR="192.0.2.9")
    assert there.post(reverse("login"), right).status_code == 429, "nor from elsewhere"
    assert "_auth_user_id" not in there.session


def test_the_session_has_a_new_key_after_the_login() -> None:
    """Research reliability, §5 row 27: session fixation."""
    User.objects.create_user("eve", password="correct horse")
    browser = Browser()
    browser.get(reverse("login"))
    session = browser.session
    session["planted"] = 1
    session.save()
    before = session.session_key
    browser.cookies["fanlight_session"] = str(before)
    browser.post(reverse("login"), {"username": "eve", "password": "correct horse"})
    assert browser.cookies["fanlight_session"].value != before
