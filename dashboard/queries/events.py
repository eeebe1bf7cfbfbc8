"""Lists of events, newest first. Bounded: a filter that finds little says how far it searched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bus.tail import Position
from dashboard import cursors
from dashboard.models import GHOSTS_FROM, NUMBER_BITS, event_pk
from dashboard.queries.facts import EVENT_COLUMNS, Surroundings, happened, preview
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.record.progress import State
from dashboard.record.rows import clean
from dashboard.sql import rows

PER_PAGE: Final = 50
MAX_PER_PAGE: Final = 200
MAX_SEARCHED: Final = 5_000
_PORTION: Final = 250  # events looked at in one step, when only their lanes tell whether they belong
_BEFORE: Final = re.compile(r"\d{1,9}:\d{1,12}(,\d{1,9}:\d{1,12}){0,255}\Z")
# States that the index of trouble doesn't hold, or not of every lane: what a rewound server forgot may have no row.
_UNRECORDED: Final = frozenset({State.WAITING, State.SUCCEEDED, State.LOST})
_SELECT: Final = "SELECT {columns} FROM dashboard_event WHERE id > %s AND id < %s".replace("{columns}", EVENT_COLUMNS)
_NEWEST: Final = " ORDER BY id DESC LIMIT %s"
_IN_STATE: Final = (
    " AND id IN (SELECT event_id FROM dashboard_delivery WHERE NOT (state = 'succeeded') AND state = %s{group}"
    " AND event_id > %s AND event_id < %s ORDER BY event_id DESC LIMIT %s)"
)

Bounds = dict[int, int]  # by partition id: the number below which to go on


class Filter(msgspec.Struct, frozen=True):
    """What a list is narrowed to; None leaves it open."""

    type: str | None = None
    key: str | None = None
    state: str | None = None
    group: str | None = None

    @property
    def is_recorded_state(self) -> bool:
        """Whether an index knows which events are in the wanted state."""
        return self.state is not None and self.state not in _UNRECORDED

    def admits(self, row: Mapping[str, Any]) -> bool:
        """Whether an event with its lanes belongs to the list."""
        if self.type not in (None, row["type"]) or self.key not in (None, row["key"] or ""):
            return False
        if self.state is None and self.group is None:
            return True
        return any(self.state in (None, lane["state"]) and self.group in (None, lane["group"]) for lane in row["lanes"])


def events(
    topic: str,
    *,
    before: str | None = None,
    type: str | None = None,
    key: str | None = None,
    state: str | None = None,
    group: str | None = None,
    limit: int = PER_PAGE,
) -> dict[str, Any]:
    """A topic's events, newest first: `rows`, `next` (the `before` of the next page) and `cursor` (for the live tail).

    `searched`: how many events were looked at, where the search stopped before the page was full.
    """
    places = list(partitions(topic).values())
    positions = {place.number: Position(place.events_cursor, place.journal_cursor) for place in places}
    bounds = _bounds(before, places)
    wanted = Filter(*(clean(value) if value else None for value in (type, key, state, group)))
    found, searched, more = _search(wanted, bounds, topic, limit=max(1, min(limit, MAX_PER_PAGE)))
    return {
        "rows": found,
        "total_shown": len(found),
        "next": ",".join(f"{pid}:{number}" for pid, number in sorted(bounds.items())) if more else None,
        "searched": searched if more and len(found) < limit else None,
        "cursor": cursors.encode(positions),
    }


def _search(wanted: Filter, bounds: Bounds, topic: str, *, limit: int) -> tuple[list[dict[str, Any]], int, bool]:
    """Rows, how many events were looked at, and whether there are more below `bounds`, which it moves."""
    around = Surroundings(bounds)
    found: list[dict[str, Any]] = []
    searched = 0
    while searched < MAX_SEARCHED:
        portion = _newest(wanted, bounds, limit if wanted.state is wanted.group is None else _PORTION)
        recorded = happened([event["id"] for event in portion], with_attempts=False)
        for event in portion:
            bounds[event["partition_id"]] = event["id"] & ((1 << NUMBER_BITS) - 1)
            searched += 1
            row = _row(event, topic, around, around.lanes_of(event, recorded.get(event["id"], {})))
            if wanted.admits(row):
                found.append(row)
            if len(found) == limit:
                return found, searched, bool(_newest(wanted, bounds, 1))
        if not portion:
            return found, searched, False
    return found, searched, True


def _row(event: Mapping[str, Any], topic: str, around: Surroundings, lanes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": around.partitions[event["partition_id"]].number,
        "entry": event["entry"],
        "id": event["event_id"],
        "type": event["type"],
        "key": event["key"] or None,
        "source": event["source"],
        "correlation_id": event["correlation_id"],
        "at_ms": event["at_ms"],
        "size": event["size"],
        "preview": preview(event["head"]),
        "forgotten_ms": around.forgotten_ms(event),
        "lanes": [{name: lane[name] for name in ("group", "state", "label")} for lane in lanes],
    }


def _newest(wanted: Filter, bounds: Bounds, count: int) -> list[dict[str, Any]]:
    """The newest events below `bounds` over all partitions that may belong to the list."""
    found = [event for pid, number in bounds.items() for event in _newest_of(wanted, pid, number, count)]
    return sorted(found, key=lambda event: (event["at_ms"], event["id"]), reverse=True)[:count]


def _newest_of(wanted: Filter, partition_id: int, number: int, count: int) -> list[dict[str, Any]]:
    span = (event_pk(partition_id, 0), event_pk(partition_id, number))
    statement, parameters = _SELECT, list[Any](span)
    if wanted.is_recorded_state:
        group = [wanted.group] if wanted.group else []
        statement += _IN_STATE.replace("{group}", ' AND "group" = %s' if group else "")
        parameters = [*span, wanted.state, *group, *span, count]
    elif wanted.key is not None:
        statement += """ AND "key" = %s AND NOT ("key" = '')"""
        parameters = [*span, wanted.key]
    elif wanted.type is not None:
        statement += " AND type = %s"
        parameters = [*span, wanted.type]
    return rows(statement + _NEWEST, [*parameters, count])


def _bounds(before: str | None, places: list[PartitionRow]) -> Bounds:
    """Where to go on in each partition; anything odd in `before` means the beginning."""
    bounds = {place.id: min(place.newest_number + 1, GHOSTS_FROM) for place in places}
    if before and _BEFORE.match(before):
        for pair in before.split(","):
            pid, number = (int(part) for part in pair.split(":"))
            if pid in bounds:
                bounds[pid] = min(number, bounds[pid])
    return bounds
