"""Alerts over the API: what is raised, what was, the rules; acknowledge, snooze, clear. The same `desk` as the page."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest

from dashboard.actions.audit import Actor, Wanted, admit
from dashboard.actions.roles import Deed
from dashboard.alerts import desk, shown
from dashboard.alerts.models import Alert, Stage
from dashboard.api.answers import Refused, endpoint, posted, whole


@endpoint
def alerts(request: HttpRequest) -> dict[str, Any]:
    """What is raised; with `?past=1` what was. And the rules, and whether anybody looks."""
    more = {"rules": shown.rules(), "watched": shown.watched()}
    if request.GET.get("past"):
        return {**shown.past(whole(request, "before", default=0, most=2**53)), "of": None, **more}
    return {**shown.raised(), "next": None, **more}


@endpoint
def alert(_request: HttpRequest, pk: int) -> dict[str, Any]:
    """One alert with its history."""
    return _there(pk)


@posted
def act(request: HttpRequest, pk: int, word: str) -> dict[str, Any]:
    """Acknowledge, snooze (`for`: 15m, 1h, 8h, 24h) or clear."""
    told = _there(pk)
    actor = Actor(request.user.get_username(), "api", request.user)
    admit(actor, Wanted(Deed.ALERT, "" if told["topic"] == "*" else told["topic"], filter={"alert": pk}))
    found = Alert.objects.exclude(stage=Stage.PENDING).select_related("rule").get(pk=pk)
    try:
        said = msgspec.json.decode(request.body or b"{}", type=dict[str, str])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Refused(f"expected a JSON object of texts, got something else ({error})") from None
    desk.act(actor, found, word, reason=said.get("reason", "").strip(), snooze=said.get("for", ""))
    return _there(pk)


def _there(pk: int) -> dict[str, Any]:
    found = shown.alert(pk) if pk < 2**63 else None
    if found is None:
        raise Refused(f"no alert has the number {pk}", 404)
    return found
