"""Which part of each partition a search looks at: a range of numbers, narrowed by times and by where a page ended."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from django.db import connection

from dashboard.models import GHOSTS_FROM, NUMBER_BITS, event_pk, number_of
from dashboard.queries.lag import PartitionRow
from dashboard.sql import rows, slices

_MARK: Final = re.compile(r"\d{1,9}:\d{1,13}(,\d{1,9}:\d{1,13}){0,1023}\Z")
_LAST_NUMBER: Final = (1 << NUMBER_BITS) - 1
# By its text an entry of these moments, thirteen digits, stands where its time does: the index that tells entries apart
# finds the first of a moment at once. Of events of one ms the least number counts; `+ 0` keeps the planner from looking
# for it along the primary key, and `{kept}` keeps PostgreSQL from asking for each moment thrice.
_PLAIN_MS: Final = range(10**12, 10**13)
_FIRST: Final = (
    "WITH asked(pid, low, high, moment, entry) AS (VALUES {places}), found AS {kept} (SELECT pid, low, high, moment,"
    " (SELECT e.at_ms FROM dashboard_event e WHERE e.partition_id = asked.pid AND e.entry >= asked.entry"
    " AND e.at_ms >= asked.moment AND e.id >= asked.low AND e.id < asked.high ORDER BY e.entry LIMIT 1) AS first_ms"
    " FROM asked) SELECT pid, moment, (SELECT MIN(e.id + 0) FROM dashboard_event e WHERE e.partition_id = found.pid"
    " AND e.entry >= CAST(first_ms AS text) AND e.entry < CAST(first_ms + 1 AS text) AND e.at_ms = first_ms"
    " AND e.id >= found.low AND e.id < found.high) AS id FROM found"
)
_PLACE: Final = (
    "(CAST(%s AS bigint), CAST(%s AS bigint), CAST(%s AS bigint), CAST(%s AS bigint), CAST(%s AS varchar(41)))"
)
_SCAN: Final = "SELECT id FROM dashboard_event WHERE id >= %s AND id < %s AND at_ms >= %s ORDER BY id LIMIT 1"

Bounds = dict[int, int]  # by partition id: the number from which to go on, itself left out


class Span(NamedTuple):
    """Numbers of a partition, both ends left out."""

    low: int
    high: int

    @property
    def is_empty(self) -> bool:
        return self.high - self.low <= 1


Spans = dict[int, Span]  # by partition id


def spans_of(
    places: Collection[PartitionRow], *, since_ms: int | None = None, until_ms: int | None = None, ghosts: bool = False
) -> Spans:
    """The whole of each partition, or what was published between the two moments, which are included."""
    found = {place.id: _whole(place, ghosts=ghosts) for place in places}
    if ghosts:
        return found
    moments = [moment for moment in (since_ms, None if until_ms is None else until_ms + 1) if moment is not None]
    firsts = first_at([(place, moment) for place in places for moment in moments], found)
    for pid, (low, high) in found.items():
        first = low if since_ms is None else firsts[pid, since_ms] - 1
        found[pid] = Span(first, high if until_ms is None else firsts[pid, until_ms + 1])
    return found


def _whole(place: PartitionRow, *, ghosts: bool) -> Span:
    return Span(GHOSTS_FROM - 1, _LAST_NUMBER) if ghosts else Span(0, min(place.newest_number + 1, GHOSTS_FROM))


def first_at(asked: Sequence[tuple[PartitionRow, int]], spans: Spans) -> dict[tuple[int, int], int]:
    """By partition and moment: the number of the first event of the span that was published then or later.

    Else the span's end. Numbers go up with time, but for a server that was found behind what is recorded.
    """
    found = {(place.id, moment): spans[place.id].high for place, moment in asked}
    within = [(place, moment) for place, moment in asked if moment <= place.newest_ms]
    for some in slices([(place.id, moment) for place, moment in within if moment in _PLAIN_MS]):
        places = [value for pid, moment in some for value in (pid, *_keys(pid, spans[pid]), moment, str(moment))]
        kept = "MATERIALIZED" if connection.vendor == "postgresql" else ""
        statement = _FIRST.replace("{kept}", kept).replace("{places}", ", ".join([_PLACE] * len(some)))
        for row in rows(statement, places):
            if row["id"] is not None:
                found[row["pid"], row["moment"]] = number_of(row["id"])
    for place, moment in within:
        if found[place.id, moment] == spans[place.id].high:  # odd times, which strangers may give to entries
            for row in rows(_SCAN, [*_keys(place.id, spans[place.id]), moment]):
                found[place.id, moment] = number_of(row["id"])
    return found


def _keys(pid: int, span: Span) -> tuple[int, int]:
    """The span's primary keys, the last one left out."""
    return event_pk(pid, span.low + 1), event_pk(pid, span.high)


def from_mark(mark: str | None, spans: Spans, *, oldest_first: bool) -> Spans:
    """The spans without what earlier pages have shown. Anything odd in `mark` means the beginning."""
    if not mark or not _MARK.match(mark):
        return spans
    pairs = (pair.split(":") for pair in mark.split(","))
    bounds = {int(pid): int(number) for pid, number in pairs}
    return beyond(bounds, spans, oldest_first=oldest_first)


def beyond(bounds: Mapping[int, int], spans: Spans, *, oldest_first: bool) -> Spans:
    """The spans from `bounds` on, in the direction of reading."""
    found = dict(spans)
    for pid, number in bounds.items():
        if pid in found:
            low, high = found[pid]
            found[pid] = Span(max(low, number), high) if oldest_first else Span(low, min(high, number))
    return found


def mark_of(bounds: Bounds) -> str:
    """Where a page ended, as text that travels to the browser and back."""
    return ",".join(f"{pid}:{number}" for pid, number in sorted(bounds.items()))


def size_of(spans: Spans, places: Collection[PartitionRow]) -> int:
    """About how many events are stored within the spans."""
    swept = {place.id: place.swept_number for place in places}
    return sum(max(high - max(low, swept.get(pid, 0)) - 1, 0) for pid, (low, high) in spans.items())
