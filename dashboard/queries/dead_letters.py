"""Dead letters by what went wrong: one row for each fingerprint, worst first. Looks at the newest ones; says how many.

Bounded by an index: so many of each partition, in SQL, and one event of each kind as an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dashboard.models import NUMBER_BITS, event_pk
from dashboard.queries.bus_state import bus_state
from dashboard.queries.facts import EVENT_COLUMNS, preview
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.versions import versions_of
from dashboard.record.rows import clean
from dashboard.sql import rows, rows_in

MAX_SEARCHED: Final = 20_000
MAX_KINDS: Final = 50
MAX_VERSIONS: Final = 20
MAX_MESSAGES: Final = 3  # beside the newest, of letters that failed at one line and say different things
TOGETHER: Final = 50  # partitions of one query
_LAST_NUMBER: Final = (1 << NUMBER_BITS) - 1
# Of the index of dead letters alone, which holds all of these columns. Without a fingerprint, the error tells a letter.
_KINDS: Final = (
    'SELECT kind, "group", worker, COUNT(*) AS count, MIN(settled_ms) AS first_ms, MAX(settled_ms) AS last_ms,'
    " MAX(event_id) AS example, MIN(error) AS first_error, MAX(error) AS last_error"
    ' FROM (SELECT event_id, "group", worker, settled_ms, error,'
    " CASE WHEN fingerprint = '' THEN error ELSE fingerprint END AS kind"
    " FROM dashboard_delivery WHERE state = 'dead' AND event_id > %s AND event_id < %s"
    ' ORDER BY event_id DESC LIMIT %s) AS newest WHERE settled_ms >= %s{narrowed} GROUP BY kind, "group", worker'
)
# The condition of the index of trouble, word for word.
_COUNT: Final = (
    "SELECT CAST(%s AS bigint) AS pid, COUNT(*) AS count FROM (SELECT 1 AS one FROM dashboard_delivery"
    " WHERE NOT (state = 'succeeded') AND state = 'dead' AND event_id > %s AND event_id < %s LIMIT %s) AS counted"
)
_EXAMPLES: Final = "SELECT {columns} FROM dashboard_event WHERE id IN (…)".replace("{columns}", EVENT_COLUMNS)
# Two questions and no join: PostgreSQL would read every attempt of every period for it.
_ERRORS: Final = 'SELECT event_id, "group", error, ended FROM dashboard_delivery WHERE event_id IN (…)'
_FRAMES: Final = 'SELECT event_id, "group", place, frame FROM dashboard_attempt WHERE event_id IN (…)'


def dead_letters(
    *,
    topic: str | None = None,
    group: str | None = None,
    fingerprint: str | None = None,
    since_ms: int = 0,
    limit: int = MAX_KINDS,
) -> dict[str, Any]:
    """`kinds` of dead letters with count, first and last time, groups, and the newest event as an example.

    `fingerprint`: of the one kind that is asked for. `places` of a kind: how many of each group of each topic;
    `versions`: of the code that gave up, in the order in which they first did.
    `searched`: how many letters were looked at; `is_complete` False: there are older ones. `total`: how many the bus
    holds, None when it is away.
    """
    group = clean(group) if group else None
    places = {place.id: place for place in partitions(topic).values()}
    share = max(MAX_SEARCHED // max(len(places), 1), 100)
    searched = _counts(list(places), share + 1)
    if any(count > share for count in searched.values()):  # partitions without trouble leave their share to others
        held = [pid for pid, count in searched.items() if count]
        share = max(MAX_SEARCHED // len(held), 100)
        searched = _counts(held, share + 1)
    narrow = _Narrowed(share, since_ms, group, clean(fingerprint, 300) if fingerprint else None)
    found = _kinds_of([pid for pid, count in searched.items() if count], narrow)
    kinds = sorted(_by_kind(found, places).values(), key=lambda kind: (-kind["count"], kind["fingerprint"]))
    shown = kinds[: max(1, min(limit, MAX_KINDS))]
    _add_examples(shown, places)
    _add_versions(shown)
    return {
        "kinds": shown,
        "of_kinds": len(kinds),
        "searched": sum(min(count, share) for count in searched.values()),
        "is_complete": all(count <= share for count in searched.values()),
        "total": _total(topic, group),
    }


class _Narrowed(NamedTuple):
    """Which letters are looked at: so many of each partition, and of those the ones that fit."""

    share: int
    since_ms: int
    group: str | None
    kind: str | None


def _kinds_of(pids: Sequence[int], narrow: _Narrowed) -> list[dict[str, Any]]:
    wanted = {'"group"': narrow.group, "kind": narrow.kind}
    values = [value for value in wanted.values() if value is not None]
    narrowed = "".join(f" AND {column} = %s" for column, value in wanted.items() if value is not None)
    statement = _KINDS.replace("{narrowed}", narrowed)
    return _of_each(statement, pids, lambda pid: [*_within(pid), narrow.share, narrow.since_ms, *values])


def _counts(pids: Sequence[int], most: int) -> dict[int, int]:
    """Dead letters of each partition, counted up to `most`."""
    found = _of_each(_COUNT, pids, lambda pid: [pid, *_within(pid), most])
    return {row["pid"]: row["count"] for row in found}


def _of_each(statement: str, pids: Sequence[int], values: Callable[[int], list[Any]]) -> list[dict[str, Any]]:
    """The rows of one statement for each partition: a query for many of them."""
    found = []
    for start in range(0, len(pids), TOGETHER):
        some = pids[start : start + TOGETHER]
        found += rows(" UNION ALL ".join([statement] * len(some)), [value for pid in some for value in values(pid)])
    return found


def _within(pid: int) -> tuple[int, int]:
    return event_pk(pid, 0), event_pk(pid, _LAST_NUMBER)


def _by_kind(found: Sequence[Mapping[str, Any]], places: Mapping[int, PartitionRow]) -> dict[str, dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {}
    for row in found:
        kind = kinds.setdefault(
            row["kind"],
            {
                "fingerprint": row["kind"],
                "count": 0,
                "first_ms": row["first_ms"],
                "last_ms": 0,
                "groups": {},
                "places": {},
                "workers": {},
                "messages": set(),
            },
        )
        kind["workers"][row["worker"]] = min(row["first_ms"], kind["workers"].get(row["worker"], row["first_ms"]))
        place = (places[row["example"] >> NUMBER_BITS].topic, row["group"])
        kind["places"][place] = kind["places"].get(place, 0) + row["count"]
        kind["count"] += row["count"]
        kind["messages"] |= {row["first_error"], row["last_error"]}
        kind["first_ms"] = min(kind["first_ms"], row["first_ms"])
        kind["groups"][row["group"]] = kind["groups"].get(row["group"], 0) + row["count"]
        if row["last_ms"] >= kind["last_ms"]:
            kind["last_ms"], kind["example"] = row["last_ms"], (row["example"], row["group"])
    return kinds


def _add_examples(kinds: Sequence[dict[str, Any]], places: Mapping[int, PartitionRow]) -> None:
    ids = sorted({kind["example"][0] for kind in kinds})
    events = {row["id"]: row for row in rows_in(_EXAMPLES, ids)}
    errors = {(row["event_id"], row["group"]): row for row in rows_in(_ERRORS, ids)}
    frames = {(row["event_id"], row["group"], row["place"]): row["frame"] for row in rows_in(_FRAMES, ids)}
    for kind in kinds:
        pk, group = kind["example"]
        event, error = events.get(pk), errors.get((pk, group), {})
        kind["groups"] = [{"group": name, "count": count} for name, count in sorted(kind["groups"].items())]
        kind["places"] = [
            {"topic": topic, "group": name, "count": count} for (topic, name), count in sorted(kind["places"].items())
        ]
        kind["error"] = error.get("error", "")
        kind["frame"] = frames.get((pk, group, error.get("ended")), "")
        kind["messages"] = sorted(kind["messages"] - {kind["error"], ""})[:MAX_MESSAGES]
        kind["example"] = event and {
            "id": event["event_id"],
            "correlation_id": event["correlation_id"],
            "topic": places[event["partition_id"]].topic,
            "type": event["type"],
            "key": event["key"] or None,
            "group": group,
            "at_ms": event["at_ms"],
            "preview": preview(event["head"]),
        }


def _add_versions(kinds: Sequence[dict[str, Any]]) -> None:
    """The versions of the code whose workers gave up, the one that did so first at the head."""
    known = versions_of(worker for kind in kinds for worker in kind["workers"])
    for kind in kinds:
        in_time = sorted(kind.pop("workers").items(), key=lambda one: (one[1], one[0]))
        kind["versions"] = list(dict.fromkeys(known[worker] for worker, _ in in_time if worker in known))[:MAX_VERSIONS]


def _total(topic: str | None, group: str | None) -> int | None:
    state = bus_state()
    if not state.available:
        return None
    return sum(one.dead for one in state.groups.values() if topic in (None, one.topic) and group in (None, one.group))
