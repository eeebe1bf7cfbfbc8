"""The topic page: browse the stored events of one topic and follow the new ones.

Filters are a GET form; must not query by itself.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import queries

FILTERS: Final = ("type", "key", "state", "group", "before")
STATES: Final = ("waiting", "running", "retrying", "succeeded", "dead", "lost")
MAX_FILTER: Final = 600  # characters; ids and keys are at most 512


@require_safe
def topic(request: HttpRequest, topic: str) -> HttpResponse:
    """Newest 50 events of a topic, filtered, live unless the filters need the record."""
    found = _found(topic)
    filters = {name: request.GET.get(name, "")[:MAX_FILTER].strip() for name in FILTERS}
    if filters["state"] not in STATES:
        filters["state"] = ""
    page = _page(topic, filters)
    return render(request, "topics/detail.html", {"topic": found, "page": page, **_words(filters, page)})


@require_safe
def head(request: HttpRequest, topic: str) -> HttpResponse:
    """Figures and groups of a topic again, as a fragment."""
    filters = {"group": request.GET.get("group", "")}
    return render(request, "topics/_head.html", {"topic": _found(topic), "filters": filters})


def _found(topic: str) -> dict[str, Any]:
    found = queries.topic(topic)
    if found is None:
        raise Http404(f"no topic {topic}")
    return found


def _page(topic: str, filters: dict[str, str]) -> dict[str, Any]:
    chosen = {name: value or None for name, value in filters.items()}
    return queries.events(
        topic,
        before=chosen["before"],
        type=chosen["type"],
        key=chosen["key"],
        state=chosen["state"],
        group=chosen["group"],
    )


def _words(filters: dict[str, str], page: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in filters.items() if value}
    not_live = "Outcomes change: not live while filtered by state or group" if kept else ""
    if filters["before"]:
        not_live = "Older events: not live"
    return {
        "filters": filters,
        "filtered": any(name != "before" for name in kept),
        "live": not (filters["before"] or filters["state"] or filters["group"]),
        "not_live": not_live,
        "older": urlencode({**kept, "before": page["next"] or ""}),
        "states": STATES,
    }
