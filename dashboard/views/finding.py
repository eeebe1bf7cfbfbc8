"""From a few characters to a page: the find box, and the palette's list. Must not query by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.queries import jump
from dashboard.queries.fields import TEXT
from dashboard.queries.language import quoted
from dashboard.views.traces import address_of

MAX_PLACES: Final = 6  # of one kind
PAGES: Final = (
    ("overview", "Overview", "g o"),
    ("topics", "Topics", "g t"),
    ("consumers", "Consumers", "g c"),
    ("dead-letters", "Dead letters", "g d"),
    ("search", "Search", "g f"),
    ("alerts", "Alerts", "g l"),
    ("activity", "Activity", "g a"),
    ("system", "System", "g s"),
)
COMMANDS: Final = (
    ("theme", "Light or dark", "moon", "t"),
    ("relative", "Times as ages", "clock", ""),
    ("local", "Times in your zone", "clock", ""),
    ("utc", "Times in UTC", "clock", ""),
    ("density", "Compact or comfortable rows", "rows", ""),
    ("live", "Pause or resume live updates", "pause", ""),
    ("link", "Copy the link to this view", "copy", ""),
    ("help", "Keys", "help", "?"),
)


@dataclass(frozen=True)
class Place:
    """One line of the palette: a page, or a command of the page that is open. `is_exact`: it is what was pasted."""

    kind: str
    text: str
    icon: str
    meaning: str = ""
    href: str = ""
    command: str = ""
    at_ms: float | None = None
    is_exact: bool = False


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """From a pasted id or key to its trace, from a query to the search, or words that help."""
    wanted = _wanted(request, "id")
    field, found = jump.exact(wanted)
    if found:
        return redirect(_address(field, wanted, found[0]))
    if wanted and (event := queries.event(wanted)) is not None:  # known only from the journal
        return redirect(address_of(event))
    if _is_query(wanted):
        return redirect(_search(wanted))
    context = {"wanted": wanted, "wanted_quoted": quoted(wanted[:200])} if wanted else {"wanted": ""}
    return render(request, "find.html", context, status=404 if wanted else 200)


@require_safe
def palette(request: HttpRequest) -> HttpResponse:
    """The palette's list for what was typed, as a fragment."""
    return render(request, "palette/_places.html", {"places": list(places(_wanted(request, "q")))})


def places(text: str) -> Iterator[Place]:
    """What the palette offers, the likeliest first."""
    field, events = jump.exact(text)
    yield from _exact(field, text, events)
    yield from _pages(text)
    if text:
        yield from _known(text)
    yield from _commands(text)
    if text:
        yield Place("Search", f"Search all topics for {text[:80]}", "search", href=_search(_as_query(text)))
    else:
        yield from (_event(row) for row in jump.recent())


def _exact(field: str, text: str, events: Iterable[Mapping[str, Any]]) -> Iterator[Place]:
    events = list(events)
    if not events:
        return
    first = events[0]
    label = {"id": "Event", "trace": "Trace", "key": "Key"}[field]
    href, meaning = _address(field, text, first), f"{first['type'] or 'no type'} on {first['topic']}"
    yield Place(label, text[:80], "flow", meaning, href, at_ms=first["at_ms"], is_exact=True)
    if field == "key":
        yield from (_event(row) for row in events[1 : jump.MAX_EACH])
        yield Place("Search", f"All events with key {text[:80]}", "search", href=_search(f"key:{quoted(text)}"))


def _event(row: Mapping[str, Any]) -> Place:
    meaning = " · ".join(part for part in (row["topic"], row["key"]) if part)
    return Place("Event", row["type"] or "no type", "flow", meaning, address_of(row), at_ms=row["at_ms"])


def _pages(text: str) -> Iterator[Place]:
    for name, title, keys in PAGES:
        try:
            href = reverse(name)
        except NoReverseMatch:
            continue
        if text.casefold() in title.casefold():
            yield Place("Page", title, "arrow-right", keys, href)


def _known(text: str) -> Iterator[Place]:
    for topic in jump.topics_like(text)[:MAX_PLACES]:
        yield Place("Topic", topic, "list", href=reverse("topic", args=[topic]))
    for group, topic in jump.groups_like(text)[:MAX_PLACES]:
        try:
            href = reverse("group", args=[topic, group])
        except NoReverseMatch:  # strangers may call a topic anything
            continue
        yield Place("Group", group, "server", f"on {topic}", href)


def _commands(text: str) -> Iterator[Place]:
    for command, title, icon, keys in COMMANDS:
        if text.casefold() in title.casefold():
            yield Place("Command", title, icon, keys, command=command)


def _wanted(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").strip().strip("\"'").strip()[: jump.MAX_LENGTH]


def _address(field: str, text: str, row: Mapping[str, Any]) -> str:
    return reverse("trace", args=[text]) if field == "trace" else address_of(row)


def _search(query: str) -> str:
    return f"{reverse('search')}?{urlencode({'q': query}, errors='replace')}"


def _as_query(text: str) -> str:
    return text if _is_query(text) else quoted(text)


def _is_query(wanted: str) -> bool:
    """Whether it says a field, so that it is no id."""
    try:
        return any(term.field != TEXT for term in queries.parse(wanted).terms)
    except queries.QueryInvalid:
        return False
