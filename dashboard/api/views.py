"""The addresses of the API. Each parses the request, asks `queries`, and gives what it answers; none computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from dashboard import queries
from dashboard.actions.roles import Deed, may
from dashboard.actions.sight import Sight
from dashboard.api import export as exports
from dashboard.api.answers import Refused, endpoint, needed, whole
from dashboard.queries.dead_letters import MAX_KINDS
from dashboard.queries.language import MAX_LENGTH
from dashboard.queries.pending import MAX_ENTRIES
from dashboard.queries.search import MAX_PER_PAGE, PER_PAGE
from dashboard.queries.series import RANGES, USUAL

DESCRIPTION: Final = Path(__file__).with_name("openapi.json")


@endpoint
def openapi(_request: HttpRequest) -> HttpResponseBase:
    """The description of the API."""
    return HttpResponse(DESCRIPTION.read_bytes(), content_type="application/json")


@endpoint
def events(request: HttpRequest) -> dict[str, Any]:
    """Events that a query asks for, newest first unless `order=oldest`."""
    found = queries.search(
        _query(request),
        topic=request.GET.get("topic") or None,
        mark=request.GET.get("page"),
        limit=_limit(request),
        oldest_first=_is_oldest_first(request, default="newest"),
    )
    return _page(request, found)


@endpoint
def event(request: HttpRequest, event_id: str) -> dict[str, Any]:
    """One event in full."""
    return _seen(request, _there(queries.event(event_id), "event", event_id))


@endpoint
def trace(request: HttpRequest, correlation_id: str) -> dict[str, Any]:
    """All events of one correlation id with their lanes."""
    return _seen(request, _there(queries.trace(correlation_id), "trace", correlation_id))


@endpoint
def history(request: HttpRequest) -> dict[str, Any]:
    """Every event of a key, oldest first unless `order=newest`."""
    found = queries.history(
        needed(request, "key"),
        topic=request.GET.get("topic") or None,
        mark=request.GET.get("page"),
        limit=_limit(request),
        newest_first=not _is_oldest_first(request, default="oldest"),
    )
    return _page(request, found)


@endpoint
def topics(_request: HttpRequest) -> dict[str, Any]:
    """Every topic."""
    return {"topics": queries.topics()}


@endpoint
def groups(request: HttpRequest) -> dict[str, Any]:
    """Groups with lag, trend, drain time and cause."""
    return queries.groups(request.GET.get("topic") or None)


@endpoint
def series(request: HttpRequest, topic: str, group: str) -> dict[str, Any]:
    """A group over time."""
    name = request.GET.get("range", USUAL)
    if name not in RANGES:
        raise Refused(f"expected range to be one of {', '.join(RANGES)}, got {ascii(name)[:40]}")
    return _there(queries.series(topic, group, name), "topic", topic)


@endpoint
def pending(request: HttpRequest) -> dict[str, Any]:
    """The oldest pending entries of a group."""
    limit = whole(request, "limit", default=PER_PAGE, most=MAX_ENTRIES)
    return queries.pending(needed(request, "topic"), needed(request, "group"), limit=limit)


@endpoint
def holds(_request: HttpRequest) -> dict[str, Any]:
    """Every breakpoint."""
    return {"holds": queries.holds()}


@endpoint
def holding(request: HttpRequest, topic: str, group: str) -> dict[str, Any]:
    """A group's breakpoint, and what it holds."""
    return _seen(request, _there(queries.holding(topic, group), "breakpoint of", f"{group} on {topic}"))


@endpoint
def dead_letters(request: HttpRequest) -> dict[str, Any]:
    """Dead letters by what went wrong."""
    found = queries.dead_letters(
        topic=request.GET.get("topic") or None,
        group=request.GET.get("group") or None,
        since_ms=whole(request, "since_ms", default=0, most=2**53),
        limit=whole(request, "limit", default=MAX_KINDS, most=MAX_KINDS),
    )
    return _seen(request, found)


@endpoint
def workers(_request: HttpRequest) -> dict[str, Any]:
    """Workers that have beaten within the last hour."""
    return queries.workers()


@endpoint
def suggest(request: HttpRequest) -> dict[str, Any]:
    """What may follow at the cursor of a query."""
    cursor = whole(request, "cursor", default=MAX_LENGTH, most=MAX_LENGTH) if request.GET.get("cursor") != "0" else 0
    return {"suggestions": queries.suggest(request.GET.get("q", ""), cursor, topic=request.GET.get("topic"))}


@endpoint
def export(request: HttpRequest) -> HttpResponseBase:
    """A search as a file: CSV, or JSON with one object a line."""
    kind = request.GET.get("format", "csv")
    if kind not in exports.FORMATS:
        raise Refused(f"expected format to be {' or '.join(exports.FORMATS)}, got {ascii(kind)[:40]}")
    limit = whole(request, "limit", default=exports.MAX_ROWS, most=exports.MAX_ROWS)
    verdict = may(request.user, Deed.EXPORT, request.GET.get("topic", ""))
    if not verdict.allowed:
        raise Refused(f"not allowed: an export has payloads and {verdict.reason}", 403)
    return exports.response(kind, _query(request), topic=request.GET.get("topic") or None, limit=limit)


def _query(request: HttpRequest) -> queries.Query:
    return Sight(request.user).check(queries.parse(request.GET.get("q", "")), request.GET.get("topic", ""))


def _seen(request: HttpRequest, answer: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = Sight(request.user).of(answer)
    return seen


def _limit(request: HttpRequest) -> int:
    return whole(request, "limit", default=PER_PAGE, most=MAX_PER_PAGE)


def _is_oldest_first(request: HttpRequest, *, default: str) -> bool:
    order = request.GET.get("order", default)
    if order not in ("newest", "oldest"):
        raise Refused(f"expected order to be newest or oldest, got {ascii(order)[:40]}")
    return order == "oldest"


def _page(request: HttpRequest, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "events": Sight(request.user).of(found["rows"]),
        "next": found["next"],
        "searched": found["searched"],
        "unreadable": found["unreadable"],
    }


def _there(found: dict[str, Any] | None, what: str, wanted: str) -> dict[str, Any]:
    if found is None:
        raise Refused(f"no {what} has the id {ascii(wanted)[:80]}: not recorded yet, or older than what is kept", 404)
    return found
