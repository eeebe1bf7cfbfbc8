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

import bus
from bus import server
from dashboard import queries
from dashboard.actions.sight import Sight
from dashboard.queries.event import handlers_of
from dashboard.queries.language import quoted
from dashboard.views.copying import copies

TABS: Final = (("Flow", "flow"), ("Timeline", "timeline"), ("Sequence", "sequence"), ("List", "list"))
LIST_PAGE: Final = 200  # events
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
    """The trace in four views over one selection; view and selection are in the address."""
    found = Sight(request.user).of(_trace(correlation_id))
    selected = _selected(found, request.GET)
    detail = _detail(Sight(request.user), **selected, site=_site(request))
    context = {**_context(found, _view(request)), **_listed(found, request), **detail}
    return render(request, "traces/detail.html", context)


@require_safe
def panel(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The side panel for `?event=…&group=…`, as a fragment."""
    event_id, group = request.GET.get("event", ""), request.GET.get("group", "")
    context = _detail(Sight(request.user), event=event_id, group=group, site=_site(request))
    if context["detail"] is None or context["detail"]["correlation_id"] != correlation_id:
        return render(request, "traces/_panel_missing.html", {"event": event_id})
    return render(request, "traces/_panel.html", {**context, "tab": _view(request)})


@require_safe
def listing(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """The list view again, as a fragment."""
    found = Sight(request.user).of(_trace(correlation_id))
    return render(request, "traces/_list.html", {"trace": found, **_listed(found, request)})


@require_safe
def event(request: HttpRequest, event_id: str) -> HttpResponse:
    """The trace of an event, with that event selected."""
    found = queries.event(event_id)
    if found is None:
        return _not_found(request, event_id)
    return redirect(_address(found, group=request.GET.get("group") or _worst(found["lanes"])))


def _not_found(request: HttpRequest, wanted: str) -> HttpResponse:
    return render(request, "find.html", {"wanted": wanted, "wanted_quoted": quoted(wanted[:200])}, status=404)


def _view(request: HttpRequest) -> str:
    """The view that the address names; `tab` is what it was called in older addresses."""
    wanted = request.GET.get("view") or request.GET.get("tab", "")
    return wanted if wanted in {picture for _, picture in TABS} else "flow"


def _listed(found: Mapping[str, Any], request: HttpRequest) -> dict[str, Any]:
    """The events that one page of the list shows, from `?from=` on, and where the pages beside it begin."""
    events = found["events"]
    start = request.GET.get("from", "")
    first = int(start) if start.isascii() and start.isdigit() and len(start) < 7 else _page_of(request, events)
    shown = events[first : first + LIST_PAGE]
    return {
        "listed": {
            "events": shown,
            "first": first + 1,
            "last": first + len(shown),
            "of": len(events),
            "step": LIST_PAGE,
            "before": max(first - LIST_PAGE, 0) if first else None,
            "after": first + LIST_PAGE if first + LIST_PAGE < len(events) else None,
        }
    }


def _page_of(request: HttpRequest, events: Iterable[Mapping[str, Any]]) -> int:
    """Where the page begins that holds the selected event."""
    wanted = request.GET.get("event")
    at = next((at for at, event in enumerate(events) if event["id"] == wanted), 0)
    return at // LIST_PAGE * LIST_PAGE


def _trace(correlation_id: str) -> dict[str, Any]:
    found: dict[str, Any] | None = queries.trace(correlation_id)
    if found is None:
        raise Http404(f"no trace {correlation_id}")
    return found


def address_of(found: Mapping[str, Any]) -> str:
    """The trace of an event, with the lane selected that the reader came for."""
    return _address(found, group=_worst(found["lanes"]))


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
        "tab": tab,
        "tabs": [(urlencode({"view": name}), words, name) for words, name in TABS],
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


def _detail(sight: Sight, *, event: str, group: str, site: str) -> dict[str, Any]:
    detail = sight.of(queries.event(event)) if event else None
    lanes = detail["lanes"] if detail else []
    lane = next((lane for lane in lanes if lane["group"] == group), None)
    texts = _copies(detail, lane, site) if detail and not detail.get("payload_hidden") else []
    return {"detail": detail, "lane": lane, "copies": texts, "chosen": {"event": event, "group": group if lane else ""}}


def _site(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


def _copies(detail: Mapping[str, Any], lane: Mapping[str, Any] | None, site: str) -> list[dict[str, str]]:
    config = bus.config()
    handlers = handlers_of(detail["topic"], lane["group"]) if lane else []
    url = config.url or server.address(config.data_folder)
    return copies(detail, lane, handlers=handlers, url=url, prefix=config.prefix, site=site)
