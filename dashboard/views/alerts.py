"""Alerts: what is raised, the rules, what was; acknowledge, snooze, clear; making and changing a rule.

Parses the request and shapes what `alerts.shown` and `alerts.desk` answer. Forms all the way: no scripts needed.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from bus.errors import BusError, one_line
from dashboard import visible
from dashboard.actions.audit import Actor, Forbidden
from dashboard.alerts import desk, shown
from dashboard.alerts.models import Alert, AlertRule, Stage
from dashboard.alerts.rules import KINDS, LINKS, SEVERITIES, USUAL
from dashboard.views.pacing import paced

LOOKS: Final = {  # stage → look and word
    "raised": ("dead", "Raised"),
    "acknowledged": ("held", "Acknowledged"),
    "snoozed": ("waiting", "Snoozed"),
    "dismissed": ("discarded", "Cleared by hand"),
    "cleared": ("succeeded", "Cleared"),
}


@require_safe
def alerts(request: HttpRequest) -> HttpResponse:
    """What is raised, the rules, and what was."""
    return render(request, "alerts/index.html", _context(request))


@require_safe
def body(request: HttpRequest) -> HttpResponse:
    """What the page shows again, for the page itself."""
    return render(request, "alerts/_body.html", _context(request))


@require_safe
def alert(request: HttpRequest, pk: int) -> HttpResponse:
    """One alert: its history, what can be done, and the events it is about."""
    return _page(request, pk)


@require_safe
def alert_body(request: HttpRequest, pk: int) -> HttpResponse:
    """What the page of one alert shows again, for the page itself."""
    return _page(request, pk, template="alerts/_detail.html")


@require_POST
@paced
def act(request: HttpRequest, pk: int, word: str) -> HttpResponse:
    """Acknowledge, snooze or clear."""
    found = Alert.objects.exclude(stage=Stage.PENDING).filter(pk=pk).select_related("rule").first()
    if found is None or not visible.sees(found.topic):
        raise Http404(f"no alert {pk}")
    reason, snooze = request.POST.get("reason", "").strip(), request.POST.get("for", "")
    try:
        done = desk.act(_actor(request), found, word, reason=reason, snooze=snooze)
    except BusError as error:
        return _page(request, pk, refused=one_line(error), status=_status(error))
    messages.success(request, done.told)
    return redirect("alerts")


@require_http_methods(["GET", "HEAD", "POST"])
@paced
def rule(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """The form of a rule, new or not; POST saves, switches or removes."""
    found = AlertRule.objects.filter(pk=pk, removed_ms=None).first() if pk is not None else None
    if pk is not None and (found is None or not shown.sees_rule(found)):
        raise Http404(f"no rule {pk}")
    if request.method != "POST":
        return _form(request, found, _said(request, found))
    try:
        _done(request, found)
    except BusError as error:
        said = {**USUAL, **{name: request.POST.get(name, "") for name in USUAL}}
        return _form(request, found, said, refused=one_line(error), status=_status(error))
    return redirect("alerts")


def _done(request: HttpRequest, found: AlertRule | None) -> None:
    word, reason = request.POST.get("do", "save"), request.POST.get("reason", "").strip()
    if found is not None and word == "remove":
        desk.remove(_actor(request), found, reason)
    elif found is not None and word == "switch":
        desk.switch(_actor(request), found, on=not found.enabled, reason=reason)
    else:
        desk.save(_actor(request), found, request.POST.dict(), reason)
    messages.success(request, {"remove": "The rule is removed.", "switch": "The rule is switched."}.get(word, "Saved."))


def _said(request: HttpRequest, found: AlertRule | None) -> dict[str, Any]:
    if found is not None:
        return shown.rule_told(found)
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else "lag"
    names = {name: request.GET[name][:512] for name in ("topic", "group", "type") if request.GET.get(name)}
    return {**USUAL, "kind": kind, "threshold": KINDS[kind].threshold, **names}


def _form(
    request: HttpRequest, found: AlertRule | None, said: dict[str, Any], *, refused: str = "", status: int = 200
) -> HttpResponse:
    kind = KINDS.get(said["kind"]) or KINDS["lag"]
    context = {
        "rule": found,
        "said": said,
        "kind": kind,
        "kinds": KINDS,
        "severities": SEVERITIES,
        "links": LINKS,
        "refused": refused,
        "may": desk.may_on(request.user, found.topic if found else str(said["topic"])),
    }
    return render(request, "alerts/rule.html", context, status=status)


def _context(request: HttpRequest) -> dict[str, Any]:
    before = request.GET.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else 0
    raised, past = shown.raised(), shown.past(number)
    return {
        "raised": [_looked(request, one) for one in raised["alerts"]],
        "of": raised["of"],
        "past": [_looked(request, one) for one in past["alerts"]],
        "next": past["next"],
        "is_later_page": bool(number),
        "rules": [{**one, "may": desk.may_on(request.user, one["topic"])} for one in shown.rules()],
        "kinds": KINDS,
        "watched": shown.watched(),
        "may_make": desk.may_on(request.user, "*"),
    }


def _page(
    request: HttpRequest, pk: int, *, refused: str = "", status: int = 200, template: str = "alerts/detail.html"
) -> HttpResponse:
    found = shown.alert(pk) if pk < 2**63 else None
    if found is None:
        raise Http404(f"no alert {pk}")
    context = {"alert": _looked(request, found), "snoozes": desk.SNOOZES, "refused": refused}
    return render(request, template, context, status=status)


def _looked(request: HttpRequest, alert: dict[str, Any]) -> dict[str, Any]:
    look, word = LOOKS[alert["stage"]]
    return {
        **alert,
        "state": {"state": "retrying" if look == "dead" and alert["severity"] == "warning" else look, "label": word},
        "may": desk.may_on(request.user, alert["topic"]),
        "place": f"{alert['group']} on {alert['topic']}" if alert["topic"] else alert["group"],
        "is_open": alert["stage"] in ("raised", "acknowledged", "snoozed"),
    }


def _actor(request: HttpRequest) -> Actor:
    return Actor(request.user.get_username(), "page", request.user)


def _status(error: BusError) -> int:
    return 403 if isinstance(error, Forbidden) else 400
