"""Which part of each partition a search looks at: a range of numbers, narrowed by times and by where a page ended."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isqrt
from typing import Final, NamedTuple

from dashboard.models import GHOSTS_FROM, NUMBER_BITS, event_pk, number_of
from dashboard.queries.lag import PartitionRow
from dashboard.sql import rows

_MARK: Final = re.compile(r"\d{1,9}:\d{1,13}(,\d{1,9}:\d{1,13}){0,1023}\Z")
_LAST_NUMBER: Final = (1 << NUMBER_BITS) - 1
_AT: Final = (
    "SELECT at_ms FROM dashboard_event WHERE id >= %s AND id < %s AND at_ms >= %s AND at_ms <= %s ORDER BY id LIMIT 1"
)
# In their order: what is asked is the least number, and times may repeat and even fall.
_FEW: Final = _AT.replace("SELECT at_ms", "SELECT id")
_END_MS: Final = 2**62
FEW: Final = 256  # events that one query may look through

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
    places: Iterable[PartitionRow], *, since_ms: int | None = None, until_ms: int | None = None, ghosts: bool = False
) -> Spans:
    """The whole of each partition, or what was published between the two moments, which are included."""
    found = {}
    for place in places:
        span = Span(GHOSTS_FROM - 1, _LAST_NUMBER) if ghosts else Span(0, min(place.newest_number + 1, GHOSTS_FROM))
        moments = [None if ghosts else since_ms, None if ghosts or until_ms is None else until_ms + 1]
        first, last = _first_at(place, moments, span)
        found[place.id] = Span(span.low if first is None else first - 1, span.high if last is None else last)
    return found


def _first_at(place: PartitionRow, moments: Sequence[int | None], span: Span) -> list[int | None]:
    """For each moment, the number of the first event within the span that was published then or later.

    Else the span's end; None for no moment.
    """
    if span.is_empty or moments.count(None) == len(moments):
        return [None] * len(moments)
    oldest = rows(_AT, [event_pk(place.id, span.low + 1), event_pk(place.id, span.high), 0, _END_MS])
    if not oldest:
        return [None if moment is None else span.high for moment in moments]
    ends = oldest[0]["at_ms"], place.newest_ms
    return [None if moment is None else first_at(place.id, moment, span, ends) for moment in moments]


def first_at(partition_id: int, at_ms: int, span: Span, ends_ms: tuple[int, int]) -> int:
    """The number of the first event within the span that was published at that moment or later; else the span's end.

    Numbers go up with time, but for a server that was found behind what is recorded. So where to look is guessed from
    the times at both ends (`ends_ms`), and checked a little before and after: a few queries, where halving takes
    twenty, and queries that know about when. Where events came unevenly a guess may be far off: each time what is left
    is halved too.
    """
    low, high, (low_ms, high_ms) = span.low + 1, span.high, ends_ms
    if not low_ms < at_ms <= high_ms:
        return low if at_ms <= low_ms else high
    while high - low > FEW:
        for number in _guesses(low, high, (low_ms, high_ms), at_ms):
            if not low <= number < high:
                continue
            found = rows(_AT, [event_pk(partition_id, number), event_pk(partition_id, high), low_ms, high_ms])
            if not found or found[0]["at_ms"] >= at_ms:
                high, high_ms = number, found[0]["at_ms"] if found else high_ms
            else:
                low, low_ms = number + 1, found[0]["at_ms"]
    few = rows(_FEW, [event_pk(partition_id, low), event_pk(partition_id, high), at_ms, high_ms])
    return number_of(few[0]["id"]) if few else high


def _guesses(low: int, high: int, ends_ms: tuple[int, int], at_ms: int) -> tuple[int, int, int]:
    """Numbers to look at: a little before and after where the moment should be, and the middle."""
    low_ms, high_ms = ends_ms
    around = low + (high - low) * (at_ms - low_ms) // (high_ms - low_ms)
    slack = isqrt(high - low)
    return around - slack, around + slack, (low + high) // 2


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
