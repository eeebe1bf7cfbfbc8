"""Alert rules over the API: list, make, change, mute, remove. The same `desk` as the page, its checks and record."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from dashboard.actions.audit import Actor, Wanted, admit
from dashboard.actions.roles import Deed
from dashboard.alerts import desk, shown
from dashboard.alerts.models import AlertRule
from dashboard.alerts.rules import USUAL
from dashboard.api.answers import Refused, endpoint_for, posted

NAMES = (*USUAL, "reason")


@endpoint_for("GET", "HEAD", "POST")
def rules(request: HttpRequest) -> dict[str, Any] | HttpResponseBase:
    """GET: every rule. POST: make one; what is not said is as usual."""
    if request.method != "POST":
        return {"rules": shown.rules()}
    said = _said(request)
    made = desk.save(_actor(request), None, {**USUAL, **said}, str(said.get("reason", "")))
    return JsonResponse(shown.rule_told(made), status=201)


@endpoint_for("GET", "HEAD", "POST")
def rule(request: HttpRequest, pk: int) -> dict[str, Any]:
    """GET: one rule. POST: change what is said of it."""
    found = _there(pk)
    if request.method == "POST":
        said = _said(request)
        found = desk.save(_actor(request), found, {**shown.rule_told(found), **said}, str(said.get("reason", "")))
    return shown.rule_told(found)


@posted
def act(request: HttpRequest, pk: int, word: str) -> dict[str, Any]:
    """Mute (it watches no more), unmute, or remove."""
    found = _there(pk)
    reason = str(_said(request).get("reason", ""))
    if word == "remove":
        desk.remove(_actor(request), found, reason)
    elif word in ("mute", "unmute"):
        desk.switch(_actor(request), found, on=word == "unmute", reason=reason)
    else:
        raise Refused(f"expected mute, unmute or remove, got {ascii(word)[:40]}", 404)
    found.refresh_from_db()
    return shown.rule_told(found)


def _there(pk: int) -> AlertRule:
    found = AlertRule.objects.filter(pk=pk, removed_ms=None).first() if pk < 2**63 else None
    if found is None or not shown.sees_rule(found):
        raise Refused(f"no rule has the number {pk}", 404)
    return found


def _actor(request: HttpRequest) -> Actor:
    return Actor(request.user.get_username(), "api", request.user)


def _said(request: HttpRequest) -> dict[str, Any]:
    """The body: a JSON object of texts and whole numbers. Who may not is told that first."""
    admit(_actor(request), Wanted(Deed.ALERT))
    try:
        said = msgspec.json.decode(request.body or b"{}", type=dict[str, str | int])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Refused(f"expected a JSON object of texts and whole numbers, got something else ({error})") from None
    if unknown := sorted(said.keys() - set(NAMES)):
        raise Refused(f"expected some of {', '.join(NAMES)}, got {ascii(unknown[0])[:40]}")
    return said
