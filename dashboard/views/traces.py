"""The trace page: everything that one correlation id caused, and one event's details beside it.

Picks what to show first; must not query by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.actions.sight import Sight
from dashboard.queries.fields import TEXT
from dashboard.queries.language import quoted

TABS: Final = (("Flow", "flow"), ("Timeline", "timeline"), ("List", "list"))
# Worst first: what the summary says first, and what is selected when the address selects nothing.
SUMMARY: Final = (
    ("dead", "dead"),
    ("lost", "lost"),
    ("retrying", "retrying"),
    ("running", "running"),
    ("waiting", "waiting"),
    ("skipped", "skipped"),
)
TROUBLE: Final = ("dead", "lost", "retrying")


@require_safe
def trace(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The trace in three views over one selection; tab and selection are in the address."""
    found = Sight(request.user).of(_trace(correlation_id))
    tab = request.GET.get("tab", "flow")
    selected = _selected(found, request.GET)
    return render(request, "traces/detail.html", {**_context(found, tab), **_seen(request, _detail(**selected))})


@require_safe
def panel(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The side panel for `?event=…&group=…`, as a fragment."""
    event_id, group = request.GET.get("event", ""), request.GET.get("group", "")
    context = _seen(request, _detail(event=event_id, group=group))
    if context["detail"] is None or context["detail"]["correlation_id"] != correlation_id:
        return render(request, "traces/_panel_missing.html", {"event": event_id})
    return render(request, "traces/_panel.html", {**context, "tab": request.GET.get("tab", "flow")})


@require_safe
def listing(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The list view again, as a fragment."""
    return render(request, "traces/_list.html", {"trace": Sight(request.user).of(_trace(correlation_id))})


@require_safe
def event(request: HttpRequest, event_id: str) -> HttpResponse:
    """The trace of an event, with that event selected."""
    found = queries.event(event_id)
    if found is None:
        return _not_found(request, event_id)
    return redirect(_address(found, group=request.GET.get("group") or _worst(found["lanes"])))


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """From a pasted id to its trace, or words that help."""
    wanted = request.GET.get("id", "").strip().strip("\"'")[:600]
    found = queries.event(wanted) if wanted else None
    if found is not None:
        return redirect(_address(found, group=_worst(found["lanes"])))
    if wanted and queries.trace(wanted) is not None:
        return redirect(reverse("trace", args=[wanted]))
    if _is_query(wanted):
        return redirect(f"{reverse('search')}?{urlencode({'q': wanted})}")
    return _not_found(request, wanted) if wanted else render(request, "find.html", {"wanted": ""})


def _is_query(wanted: str) -> bool:
    """Whether it says a field, so that it is no id."""
    try:
        return any(term.field != TEXT for term in queries.parse(wanted).terms)
    except queries.QueryInvalid:
        return False


def _not_found(request: HttpRequest, wanted: str) -> HttpResponse:
    return render(request, "find.html", {"wanted": wanted, "wanted_quoted": quoted(wanted[:200])}, status=404)


def _trace(correlation_id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = queries.trace(correlation_id)
    if found is None:
        raise Http404(f"no trace {correlation_id}")
    return found


def _worst(lanes: Iterable[Mapping[str, Any]]) -> str:
    """The group whose lane the reader came for: the worst one. None in trouble: the event itself."""
    troubled = [lane for lane in lanes if lane["state"] in TROUBLE]
    return str(min(troubled, key=lambda lane: TROUBLE.index(lane["state"]))["group"]) if troubled else ""


def _address(found: Mapping[str, Any], *, group: str) -> str:
    chosen = {"event": found["id"], "group": group} if group else {"event": found["id"]}
    return f"{reverse('trace', args=[found['correlation_id']])}?{urlencode(chosen)}"


def _context(found: dict[str, Any], tab: str) -> dict[str, Any]:
    return {
        "trace": found,
        "root": found["events"][0],
        "tab": tab if tab in {name for _, name in TABS} else "flow",
        "tabs": [(urlencode({"tab": name}), words, name) for words, name in TABS],
        "summary": summary(found["summary"]),
    }


def summary(counts: Mapping[str, int]) -> list[dict[str, str]]:
    """The summary as parts, worst first: `1 dead`, `1 retrying`, `3 of 5 succeeded`."""
    parts = [
        {"look": name, "icon": f"state-{name}", "text": f"{counts[name]:,} {word}"}
        for name, word in SUMMARY
        if counts.get(name)
    ]
    done = f"{counts['succeeded']:,} of {counts['lanes']:,} succeeded" if counts["lanes"] else "no group subscribed"
    return [*parts, {"look": "succeeded", "icon": "state-succeeded", "text": done}]


def _selected(found: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, str]:
    if query.get("event"):
        return {"event": query["event"], "group": query.get("group", "")}
    lanes = [{**lane, "event": item["id"]} for item in found["events"] for lane in item["lanes"]]
    worst = next((lane for name in TROUBLE for lane in lanes if lane["state"] == name), None)
    if worst:
        return {"event": worst["event"], "group": worst["group"]}
    return {"event": found["events"][0]["id"], "group": ""}


def _seen(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    return {**context, "detail": Sight(request.user).of(context["detail"])}


def _detail(*, event: str, group: str) -> dict[str, Any]:
    detail = queries.event(event) if event else None
    lanes = detail["lanes"] if detail else []
    lane = next((lane for lane in lanes if lane["group"] == group), None)
    return {"detail": detail, "lane": lane, "chosen": {"event": event, "group": group if lane else ""}}
