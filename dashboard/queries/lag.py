"""How far a group is behind: waiting (from ordinals of events) plus pending. Unknown is None, never 0.

XINFO's own `lag` is NULL or wrong in many cases; the numbers that the recorder gives events are not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bus.event import entry_ms
from bus.inspect import GroupState
from dashboard import visible
from dashboard.models import GHOSTS_FROM, NUMBER_BITS, event_pk
from dashboard.record.spans import Span, count_between, forgotten_at, step
from dashboard.record.subscriptions import order_of
from dashboard.sql import rows, rows_in, slices

RECORDER_LATE_MS: Final = 2_000  # the recorder is this far behind the stream: what it knows is too old to count by
_NUMBER: Final = (1 << NUMBER_BITS) - 1

_PARTITIONS: Final = (
    "SELECT id, topic, number, events_cursor, journal_cursor, newest_number, newest_ms, trimmed_number, epoch,"
    " swept_number"
    " FROM dashboard_partition ORDER BY topic, number"
)
_REWINDS: Final = "SELECT partition_id, first, last, at_ms FROM dashboard_rewind ORDER BY first"
_AT: Final = "SELECT id, entry, at_ms FROM dashboard_event WHERE id IN (…)"
_NUMBERS: Final = (
    "WITH wanted(partition_id, entry) AS (VALUES {})"
    " SELECT event.id, event.partition_id, event.entry FROM wanted JOIN dashboard_event AS event"
    " ON event.partition_id = wanted.partition_id AND event.entry = wanted.entry"
)


class PartitionRow(msgspec.Struct, frozen=True):
    """How far a partition is recorded."""

    id: int
    topic: str
    number: int
    events_cursor: str
    journal_cursor: str
    newest_number: int
    newest_ms: int
    trimmed_number: int
    epoch: int
    swept_number: int = 0
    forgotten: tuple[Span, ...] = ()  # what the server forgot

    def forgotten_at(self, number: int) -> int | None:
        """When it was noticed that the server had forgotten an event; None: it has not."""
        return forgotten_at(self.forgotten, number)


class Lag(NamedTuple):
    """How far a group is behind on one partition. `oldest_ms`: when its oldest unsettled event was published."""

    last_number: int | None
    waiting: int | None
    oldest_ms: int | None


def partitions(topic: str | None = None) -> dict[tuple[str, int], PartitionRow]:
    """Recorded partitions, of one topic or all, as far as they are seen."""
    forgotten: dict[int, list[Span]] = defaultdict(list)
    for row in rows(_REWINDS):
        forgotten[row.pop("partition_id")].append(Span(**row))
    found = (PartitionRow(**row, forgotten=tuple(forgotten[row["id"]])) for row in rows(_PARTITIONS))
    return {(row.topic, row.number): row for row in found if topic in (None, row.topic) and visible.sees(row.topic)}


def lags(
    states: Collection[GroupState], places: Mapping[tuple[str, int], PartitionRow]
) -> dict[tuple[str, int, str], Lag]:
    """The lag of each group on each partition that is recorded, with three queries in all."""
    known = [
        (state, places[state.topic, state.partition]) for state in states if (state.topic, state.partition) in places
    ]
    numbers = _numbers({(place.id, state.last_delivered) for state, place in known}, dict(known_spans(places)))
    firsts = _events_at(event_pk(place.id, place.trimmed_number + 1) for _, place in known)
    last_numbers = {}
    for state, place in known:
        first = firsts.get(event_pk(place.id, place.trimmed_number + 1))
        number = numbers.get((place.id, state.last_delivered))
        last_numbers[state] = last_number(state, place, number, first["entry"] if first else None)
    nexts = _events_at(_next_pk(place, n) for s, place in known if (n := last_numbers[s]) is not None)
    found = {}
    for state, place in known:
        number = last_numbers[state]
        following = None if number is None else nexts.get(_next_pk(place, number))
        waiting = count_waiting(state, place, number)
        oldest_ms = _oldest(state, following["at_ms"] if following and waiting else None)
        found[state.topic, state.partition, state.group] = Lag(number, waiting, oldest_ms)
    return found


def last_number(state: GroupState, place: PartitionRow, number: int | None, first_entry: str | None) -> int | None:
    """The number of the event that the group was handed last, or None when nobody can tell.

    `number`: of the event with that very entry, `first_entry`: of the oldest event still in the stream, if recorded.
    """
    last = order_of(state.last_delivered)
    if number is not None:
        return number
    if last >= order_of(place.events_cursor):
        return place.newest_number  # ahead of the recorder
    if first_entry is not None and last < order_of(first_entry):
        return place.trimmed_number
    return None


def count_waiting(state: GroupState, place: PartitionRow, number: int | None) -> int | None:
    """Events after the one that the group was handed last; None when unknown."""
    if state.newest == state.last_delivered or order_of(state.newest) <= order_of(state.last_delivered):
        return 0
    is_late = entry_ms(state.newest) - entry_ms(place.events_cursor) > RECORDER_LATE_MS
    if number is None or is_late:
        return None
    after = max(number, place.trimmed_number)
    return max(place.newest_number - after - count_between(place.forgotten, after, place.newest_number), 0)


def _oldest(state: GroupState, waiting_ms: int | None) -> int | None:
    pending_ms = entry_ms(state.oldest_pending) if state.oldest_pending else None
    return min((moment for moment in (pending_ms, waiting_ms) if moment is not None), default=None)


def known_spans(places: Mapping[tuple[str, int], PartitionRow]) -> Iterable[tuple[int, tuple[Span, ...]]]:
    """What is forgotten, by partition id."""
    return ((place.id, place.forgotten) for place in places.values() if place.forgotten)


def _next_pk(place: PartitionRow, number: int) -> int:
    return event_pk(place.id, step(place.forgotten, number, 1))


def _numbers(
    wanted: Collection[tuple[int, str]], forgotten: Mapping[int, tuple[Span, ...]]
) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    for some in slices(sorted(wanted)):
        marks = ", ".join(["(CAST(%s AS bigint), %s)"] * len(some))
        for row in rows(_NUMBERS.format(marks), [value for pair in some for value in pair]):
            number = row["id"] & _NUMBER
            if number < GHOSTS_FROM and forgotten_at(forgotten.get(row["partition_id"], ()), number) is None:
                found[row["partition_id"], row["entry"]] = number
    return found


def _events_at(ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in rows_in(_AT, sorted(set(ids)))}


def number_between(topic: str, partition: int, after: str, to: str) -> int | None:
    """How many events lie after the entry `after`, up to `to`; None unless both are recorded."""
    place = partitions(topic).get((topic, partition))
    if place is None:
        return None
    found = _numbers({(place.id, after), (place.id, to)}, {place.id: place.forgotten})
    first, last = found.get((place.id, after)), found.get((place.id, to))
    if first is None or last is None:
        return None
    return max(last - first - count_between(place.forgotten, first, last), 0)
