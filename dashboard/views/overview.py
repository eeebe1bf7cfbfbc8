"""Overview and topic list: is anything wrong, and where?

Shapes what `queries.overview()` answers into rows for the templates; must not query by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from bus.event import TOPIC_PATTERN
from dashboard import queries
from dashboard.alerts.shown import raised
from dashboard.queries.groups import is_behind
from dashboard.queries.language import quoted
from dashboard.queries.overview import BEHIND_LAG, BEHIND_MS

MOST_BEHIND: Final = 4
MAX_RAISED: Final = 3
MAX_EDGE: Final = 20
MAX_TOPICS: Final = 100
MAX_GROUPS: Final = 50
MOST_ROWS: Final = 2_000
MAX_NAMED: Final = 120
MAX_FOCUS: Final = 700
FIGURES: Final = (
    ("dead", "dead letter", "dead letters", "given up, waiting for you"),
    ("retrying", "retrying", "retrying", "failed, will be attempted again"),
    ("behind", "group behind", "groups behind", "over 100 events or 30 s late"),
    ("silent", "silent worker", "silent workers", "their heartbeat ended"),
)
LOOKS: Final = {
    "dead_lettered": "dead",
    "retry_scheduled": "retrying",
    "reclaimed": "retrying",
    "replayed": "replaying",
    "lost": "lost",
    "skipped": "skipped",
    "released": "waiting",
}
Row = Mapping[str, Any]
PARTS: Final = {
    "topics": "overview/_topics.html",
    "groups": "overview/_groups.html",
    "recent": "overview/_recent.html",
    "behind": "overview/_behind.html",
    "alerts": "overview/_alerts.html",
    "edge": "overview/_edge.html",
}


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Figures, live map, topics, groups and recent happenings."""
    return render(request, "overview.html", _context(request))


@require_safe
def part(request: HttpRequest, name: str) -> HttpResponse:
    """One part of the overview again, for a page that got a new row."""
    return render(request, PARTS[name], _context(request))


@require_safe
def topics(request: HttpRequest) -> HttpResponse:
    """One row a topic."""
    return render(request, "topics/index.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    overview = queries.overview()
    groups, topics = overview["groups"], _shown_topics(overview, request)
    trouble = request.GET.get("trouble", "")
    trouble = trouble if trouble in ("dead", "retrying", "behind") else ""
    wanted = [group for group in groups if not trouble or _in_trouble(group, trouble, overview["now_ms"])]
    return {
        "overview": {
            **overview,
            "recent": [_happening(item) for item in overview["recent"]],
        },
        "figures": [
            {"kind": kind, "value": overview["figures"][kind], "one": one, "many": many, "meaning": meaning}
            for kind, one, many, meaning in FIGURES
        ],
        **topics,
        "groups": _worst(wanted, _group_badness, _most(request, MAX_GROUPS)),
        "groups_found": len(wanted),
        "trouble": trouble,
        "behind": _behind() if overview["figures"]["behind"] else [],
        "raised": raised(MAX_RAISED),
        "most_behind": MOST_BEHIND,
        "edge": followed(request.GET.get("focus", "")),
    }


def _behind() -> list[dict[str, Any]]:
    """Who is behind, the furthest first, with the time by which each will have caught up."""
    return sorted(filter(is_behind, queries.groups()["groups"]), key=lambda row: -(row["lag"] or 0))


def followed(focus: str) -> dict[str, Any] | None:
    """What is selected on the map (`group TOPIC NAME`, `topic NAME`, `source NAME`) and its newest events."""
    kind, _, name = focus[:MAX_FOCUS].partition(" ")
    topic, _, group = name.partition(" ")
    asked = {"group": ("group", group, topic), "topic": ("", "", topic), "source": ("source", name, None)}.get(kind)
    if asked is None or not topic or (kind != "source" and not TOPIC_PATTERN.match(topic)):
        return None
    field, value, of_topic = asked
    text = f"{field}:{quoted(value)}" if field else ""
    try:
        rows = queries.search(queries.parse(text), topic=of_topic, limit=MAX_EDGE)["rows"]
    except queries.QueryInvalid:
        return None
    shown = [{**row, "lane": _lane(row["lanes"], group)} for row in rows]
    return {"kind": kind, "name": name, "topic": of_topic or "", "group": group, "rows": shown, "query": text}


def _lane(lanes: Iterable[Mapping[str, Any]], group: str) -> Mapping[str, Any] | None:
    return next((lane for lane in lanes if lane["group"] == group), None)


def _shown_topics(overview: Mapping[str, Any], request: HttpRequest) -> dict[str, Any]:
    """The rows of topics, those of a name if one is asked for; of very many those that matter most."""
    named = request.GET.get("named", "").strip()[:MAX_NAMED]
    by_topic: dict[str, list[Row]] = defaultdict(list)
    for group in overview["groups"]:
        by_topic[group["topic"]].append(group)
    found: list[Row] = [
        {**row, "sums": _sums(by_topic[row["topic"]])}
        for row in overview["topics"]
        if named.lower() in row["topic"].lower()
    ]
    shown = _worst(found, _topic_badness, _most(request, MAX_TOPICS))
    return {"topics": shown, "topics_found": len(found), "topics_of": len(overview["topics"]), "named": named}


def _most(request: HttpRequest, usual: int) -> int:
    return MOST_ROWS if request.GET.get("rows") == "all" else usual


def _worst(rows: list[Row], badness: Callable[[Row], tuple[float, ...]], most: int) -> list[Row]:
    """At most so many, the worst, in the order that they had."""
    if len(rows) <= most:
        return rows
    worst = sorted(range(len(rows)), key=lambda number: badness(rows[number]), reverse=True)[:most]
    return [rows[number] for number in sorted(worst)]


def _topic_badness(row: Row) -> tuple[float, ...]:
    sums = row["sums"]
    return (sums["dead"] or 0, sums["retrying"] or 0, sums["behind"] or 0, row["rate"] or 0, row["total"])


def _group_badness(row: Row) -> tuple[float, ...]:
    return (row["dead"] or 0, row["retrying"] or 0, row["lag"] or 0, row["rate"] or 0)


def _sums(own: list[Row]) -> dict[str, float | None]:
    """What a topic's groups add up to; unknown (None) when it is for one of them."""
    columns = {"behind": "lag", "retrying": "retrying", "dead": "dead", "failing": "failing_rate"}
    return {"groups": len(own), **{name: _sum([group[column] for group in own]) for name, column in columns.items()}}


def _sum(values: list[float | None]) -> float | None:
    return None if None in values else sum(value for value in values if value is not None)


def _in_trouble(group: Mapping[str, Any], trouble: str, now_ms: int) -> bool:
    """As the figures count it (`queries.overview`)."""
    if trouble == "behind":
        return (group["lag"] or 0) > BEHIND_LAG or now_ms - (group["oldest_ms"] or now_ms) > BEHIND_MS
    return bool(group[trouble])


def _happening(item: Mapping[str, Any]) -> dict[str, Any]:
    look = LOOKS.get(item["kind"], "")
    return {**item, "look": look or "waiting", "icon": f"state-{look}" if look else "bell"}
