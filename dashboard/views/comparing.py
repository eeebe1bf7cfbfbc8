"""Two traces side by side. Parses the request and shapes the answer for the template; must not query by itself."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.actions.sight import Sight
from dashboard.queries.compare import compare, earlier, ids, payloads


@require_safe
def comparison(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The trace beside the one of `?with=`, an id of a trace or of an event in it; without, which could be."""
    left = queries.trace(correlation_id)
    if left is None:
        raise Http404(f"no trace {correlation_id}")
    wanted = request.GET.get("with", "").strip()[:600]
    right = _of_any_id(wanted) if wanted else None
    root = next((event for event in left["events"] if event["topic"]), left["events"][0])
    context: dict[str, Any] = {
        "left": left,
        "right": right,
        "wanted": wanted,
        "offers": earlier(root, correlation_id),
        "found": compare(left, right, payloads(_visible(request, left, right))) if right else None,
    }
    return render(request, "traces/compare.html", context, status=404 if wanted and right is None else 200)


def _visible(request: HttpRequest, left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Ids of the events whose data the user may see."""
    sight = Sight(request.user)
    seen = {event["id"] for side in (left, right) for event in side["events"] if sight.sees(event["topic"])}
    return [event_id for event_id in ids(left, right) if event_id in seen]


def _of_any_id(wanted: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = queries.trace(wanted)
    event = queries.event(wanted) if found is None else None
    return queries.trace(event["correlation_id"]) if event else found
