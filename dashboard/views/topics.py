"""The topic page: browse and search the stored events of one topic, and follow the new ones.

The query is in the address; must not query by itself.
"""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.actions.sight import Sight
from dashboard.queries.language import says, toggled
from dashboard.views.searching import link, query_text, searched


@require_safe
def topic(request: HttpRequest, topic: str) -> HttpResponse:
    """Newest 50 events of a topic that the query asks for; live unless it needs the record."""
    start = _start(request)
    context = {"topic": _found(topic, query_text(request)), **searched(request, topic=topic, since=start["since"])}
    return render(request, "topics/detail.html", {**context, "start": start, "not_live": _not_live(context, start)})


@require_safe
def row(request: HttpRequest, topic: str, event_id: str) -> HttpResponse:
    """One event opened in its row: its data beside its deliveries, as a fragment."""
    found = queries.event(event_id)
    if found is None or found["topic"] != topic:
        raise Http404(f"no event {event_id} on {topic}")
    return render(request, "topics/_opened.html", {"event": Sight(request.user).of(found)})


@require_safe
def head(request: HttpRequest, topic: str) -> HttpResponse:
    """Figures and groups of a topic again, as a fragment."""
    return render(request, "topics/_head.html", {"topic": _found(topic, query_text(request))})


def _start(request: HttpRequest) -> dict[str, Any]:
    """Where the list begins: at the newest (`show=newest`: without following), a moment, or an event."""
    since, origin = request.GET.get("since_time", "").strip()[:40], request.GET.get("from", "").strip()[:600]
    found = queries.event(origin) if origin else None
    if found is not None:
        return {"kind": "from", "since": str(found["at_ms"]), "value": origin, "missing": False}
    if since:
        return {"kind": "since", "since": since, "value": since, "missing": False}
    kind = "newest" if request.GET.get("show") == "newest" or origin else "live"
    return {"kind": kind, "since": "", "value": origin, "missing": bool(origin)}


def _found(topic: str, text: str) -> dict[str, Any]:
    found = queries.topic(topic)
    if found is None:
        raise Http404(f"no topic {topic}")
    groups = [{**group, **_chip(text, group["group"])} for group in found["groups"]]
    return {**found, "groups": groups}


def _chip(text: str, group: str) -> dict[str, Any]:
    """Where a group's chip leads: the query with that group in it, or without it when it is there."""
    return {"link": link(toggled(text, "group", group)), "is_on": says(text, "group", group)}


def _not_live(context: dict[str, Any], start: dict[str, Any]) -> str:
    if context["error"]:
        return ""
    if start["since"]:
        return "Oldest first, from there on"
    if start["kind"] == "newest":
        return "As of when the page was asked for"
    return "Older events: not live" if context["is_later_page"] else "Not live: this query asks the record"
