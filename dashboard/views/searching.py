"""Search over all topics, and what the topic page shares with it: the box, its errors, and what was searched.

Parses the request, asks `queries.search`, shapes the answer for the templates; must not query by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.actions.sight import Sight
from dashboard.queries import Query, QueryInvalid
from dashboard.queries.fields import FIELDS
from dashboard.queries.language import quoted, says, toggled

# Parameters of their own: `?state=dead` is `?q=state:dead`.
SHORTHANDS: Final = ("type", "key", "state", "group", "version")
BESIDE: Final = ("show", "since_time", "from")  # where a topic's page begins: `dashboard.views.topics`
MAX_BESIDE: Final = 600
QUICK_STATES: Final = ("dead", "retrying", "running", "waiting")
EXAMPLES: Final = (
    ("state:dead since:24h", "what was given up since yesterday"),
    ("key:o-1", "everything about one order"),
    ("type:order_placed payload.lines[*].quantity>2", "by a value in the data, of any item of a list"),
    ("group:email -state:succeeded", "what email has not done"),
    ("state:dead,retrying error:Timeout", "what timed out"),
    ('payload.lines[*].sku:chair-oak "mobile-api"', "and a text anywhere"),
)
_NO_EVENTS: Final[Mapping[str, Any]] = {"rows": [], "next": None, "searched": None, "unreadable": 0, "cursor": None}


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Events of all topics that a query asks for; without one, what can be asked."""
    context = searched(request) if query_text(request) else {"text": "", "page": _NO_EVENTS, "error": None}
    return render(request, "search/index.html", {**context, "examples": EXAMPLES, "fields": FIELDS.values()})


def query_text(request: HttpRequest) -> str:
    """What is asked, whichever way the address says it."""
    given = request.GET.get("q", "").strip()
    said = [f"{name}:{quoted(value)}" for name in SHORTHANDS if (value := request.GET.get(name, "").strip())]
    return " ".join([given, *said] if given else said)


def searched(request: HttpRequest, *, topic: str | None = None, since: str = "") -> dict[str, Any]:
    """The box's text, the page of events or the error, and where the page's links lead.

    `since`: from this moment on, oldest first; it stands beside the query, not in it.
    """
    text, before = query_text(request), request.GET.get("before")
    beside = {name: value for name in BESIDE if (value := request.GET.get(name, "")[:MAX_BESIDE])}
    try:
        sight = Sight(request.user)
        query = sight.check(queries.parse(text), topic or "")
        asked = queries.parse(f"{text} since:{quoted(since)}") if since else query
        found = queries.search(asked, topic=topic, mark=before, oldest_first=bool(since))
        page, error = {**found, "rows": sight.of(found["rows"])}, None
    except QueryInvalid as invalid:
        query, page, error = Query(text), dict(_NO_EVENTS), _shown(invalid)
    return {
        "text": text,
        "page": page,
        "error": error,
        "examples": EXAMPLES,
        "is_later_page": bool(before),
        "older": urlencode({**({"q": text} if text else {}), **beside, "before": page["next"] or ""}),
        "without": _without(query) if not page["rows"] else [],
        "export": urlencode({"q": text, **({"topic": topic} if topic else {})}),
        "states": [_quick(text, state) for state in QUICK_STATES],
        "live": None if before or error or beside else live_filter(query),
    }


def live_filter(query: Query) -> dict[str, str] | None:
    """What new events are compared with as they come, without the record; None when the query asks for more."""
    wanted = {term.field: term.texts[0] for term in query.terms if term.is_plain and len(term.values) == 1}
    if len(wanted) < len(query.terms) or not wanted.keys() <= {"type", "key"}:
        return None
    return {"type": wanted.get("type", ""), "key": wanted.get("key", "")}


def link(text: str) -> str:
    """The address of the same page with another query."""
    return f"?{urlencode({'q': text})}" if text else "?"


def _shown(error: QueryInvalid) -> dict[str, Any]:
    text = error.text
    return {
        "before": text[: error.start],
        "word": text[error.start : error.end],
        "after": text[error.end :],
        "message": error.message,
        "corrected": link(error.corrected) if error.corrected else "",
        "nearest": error.nearest,
    }


def _quick(text: str, state: str) -> Mapping[str, Any]:
    return {"name": state, "link": link(toggled(text, "state", state)), "is_on": says(text, "state", state)}


def _without(query: Query) -> list[dict[str, str]]:
    """The same search without one of its terms: what to do when nothing is found."""
    if len(query.terms) < 2:
        return []
    cut = [
        (query.text[term.start : term.end], query.text[: term.start] + query.text[term.end :]) for term in query.terms
    ]
    return [{"term": term, "link": link(" ".join(rest.split(" ")).strip())} for term, rest in cut[:6]]
