"""Edit and replay: the form, the difference, and then the new event. Works as plain forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

import bus
from bus import control
from bus.errors import BusError, one_line
from bus.event import new_id
from bus.streams import connect
from dashboard import visible
from dashboard.actions.audit import Actor, Forbidden
from dashboard.actions.roles import Deed, Verdict, may, may_somewhere
from dashboard.replays import editing
from dashboard.replays.desk import ReplayInvalid
from dashboard.replays.editing import Opened
from dashboard.views.pacing import paced


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@paced
def edit(request: HttpRequest) -> HttpResponse:
    """GET shows the form; a POST the difference; a POST that confirms it publishes."""
    said = request.POST if request.method == "POST" else request.GET
    event_id, group = said.get("event", "")[:600], said.get("group", "")[:200]
    try:
        _check(may_somewhere(request.user, Deed.EDIT_REPLAY))
        was = _opened(request, event_id, group)
    except BusError as error:
        return _trouble(request, error, {"event": event_id, "group": group})
    text = request.POST.get("data", was.text).replace("\r\n", "\n")
    context = _context(request, was, text)
    if request.method != "POST":
        return render(request, "replays/edit.html", context)
    try:
        editing.edited(was, text)
        if "confirmed" in said:
            return _done(request, was, text)
        context["difference"] = editing.difference(was, text)
        context["shape"] = editing.checked(was, text)
    except BusError as error:
        return _trouble(request, error, context)
    return render(request, "replays/edit.html", context)


def _opened(request: HttpRequest, event_id: str, group: str) -> Opened:
    client = connect(bus.config())
    try:
        was = editing.opened(client, event_id, group)
    finally:
        client.close()
    if not visible.sees(was.letter.event.topic):
        raise ReplayInvalid(f"expected a dead letter of {group[:80]}, this event has none")
    for deed in (Deed.SEE_PAYLOADS, Deed.EDIT_REPLAY):
        _check(may(request.user, deed, was.letter.event.topic))
    return was


def _check(verdict: Verdict) -> None:
    if not verdict.allowed:
        raise Forbidden(f"not allowed: {verdict.reason}")


def _done(request: HttpRequest, was: Opened, text: str) -> HttpResponse:
    actor = Actor(request.user.get_username(), "page", request.user)
    fresh, reason = request.POST.get("new_id", "")[:64] or new_id(), request.POST.get("reason", "").strip()
    editing.replay_edited(actor, was, text, new_id=fresh, reason=reason)
    return redirect(f"{reverse('event', args=[was.letter.event.id])}?{urlencode({'group': was.place.group})}")


def _trouble(request: HttpRequest, error: BusError, context: dict[str, Any]) -> HttpResponse:
    status = 403 if isinstance(error, Forbidden) else 400
    return render(request, "replays/edit.html", {**context, "refused": one_line(error)}, status=status)


def _context(request: HttpRequest, was: Opened, text: str) -> dict[str, Any]:
    event = was.letter.event
    until = datetime.now(UTC) + timedelta(milliseconds=control.DISCARDED_KEPT_MS)
    return {
        "was": was,
        "event": event.id,
        "group": was.place.group,
        "letter": event,
        "error": was.letter.failure,
        "text": text,
        "new_id": request.POST.get("new_id", "")[:64] or new_id(),
        "reason": request.POST.get("reason", "the data was wrong"),
        "until": until.strftime("%-d %B %Y"),
        "links": editing.links_of(event.id),
    }
