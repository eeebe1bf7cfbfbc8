"""Where the candidates of a search come from: the index that narrows most, read lazily, newest or oldest first.

Every source gives rows of events ordered by time within a partition's span, in portions by keyset, and stops being
read when the search has enough; none sorts or counts more than a portion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any, Final, NamedTuple

from dashboard.models import NUMBER_BITS, event_pk
from dashboard.queries.spans import Span, Spans
from dashboard.record.rows import clean
from dashboard.sql import rows, rows_in, spread

Row = dict[str, Any]

MAX_OF_ONE_ID: Final = 10_000  # events of one trace, of one cause, or with one id, that a search looks at
_NUMBER: Final = (1 << NUMBER_BITS) - 1
_COLUMNS: Final = (
    "e.id, e.partition_id, e.entry, e.event_id, e.type, e.key, e.source, e.correlation_id, e.cause_id, e.at_ms,"
    " e.size, e.ghost"
)
_BY_INDEX: Final = (
    "SELECT {columns} FROM dashboard_event e WHERE {condition} e.id > %s AND e.id < %s ORDER BY e.id {way} LIMIT %s"
)
# The condition of the index of trouble, word for word.
_BY_STATE: Final = (
    'SELECT {columns}, d."group" AS lane_group, d.state AS lane_state, d.attempt AS lane_attempt,'
    " d.worker AS lane_worker, d.error AS lane_error, d.fingerprint AS lane_fingerprint"
    " FROM (SELECT * FROM dashboard_delivery"
    " WHERE NOT (state = 'succeeded') AND state = %s AND event_id > %s AND event_id < %s"
    ' ORDER BY event_id {way}, "group" {way} LIMIT %s) d'
    ' JOIN dashboard_event e ON e.id = d.event_id ORDER BY e.id {way}, d."group" {way}'
)
# Not ordered by id: that would tempt a planner to walk the primary key instead.
_IDS: Final = {
    "id": "SELECT id FROM dashboard_event WHERE event_id IN (…) LIMIT %s",
    "trace": "SELECT id FROM dashboard_event WHERE correlation_id IN (…) ORDER BY at_ms DESC LIMIT %s",
    "cause": "SELECT id FROM dashboard_event WHERE cause_id IN (…) AND NOT (cause_id = '') LIMIT %s",
}
_CONDITIONS: Final = {"": "", "type": "e.type = %s AND", "key": "e.key = %s AND NOT (e.key = '') AND"}


class Reading(NamedTuple):
    """How a source is read."""

    oldest_first: bool
    first_portion: int
    portion: int
    with_headers: bool = False
    with_payload: bool = False

    @property
    def columns(self) -> str:
        return _COLUMNS + ", e.headers" * self.with_headers + ", e.payload" * self.with_payload

    @property
    def way(self) -> str:
        return "ASC" if self.oldest_first else "DESC"


def merged(sources: Sequence[Iterator[Row]], reading: Reading) -> Iterator[Row]:
    """Several sources as one, in the order of time."""
    return merge(*sources, key=lambda row: (row["at_ms"], row["id"]), reverse=not reading.oldest_first)


def by_index(spans: Spans, reading: Reading, field: str = "", values: Sequence[str] = ("",)) -> list[Iterator[Row]]:
    """Events with one of the values in an indexed field; without a field all events."""
    texts = sorted({clean(value) for value in values})
    return [_by_index(pid, span, reading, field, text) for pid, span in spans.items() for text in texts]


def by_state(spans: Spans, reading: Reading, states: Sequence[str]) -> list[Iterator[Row]]:
    """Events with a lane in one of these states, as far as the index of trouble knows; each with its `deliveries`."""
    return [_by_state(pid, span, reading, state) for pid, span in spans.items() for state in states]


def by_ids(spans: Spans, reading: Reading, field: str, values: Sequence[str]) -> list[Iterator[Row]]:
    """Events by a field whose values have few events each."""
    texts = [clean(value) for value in values if value]
    if not texts:
        return []
    found = rows(spread(_IDS[field], len(texts)), [*texts, MAX_OF_ONE_ID])
    return [_in_portions(sorted(row["id"] for row in found), spans, reading)]


def _by_index(pid: int, span: Span, reading: Reading, field: str, text: str) -> Iterator[Row]:
    statement = _statement(_BY_INDEX, reading).replace("{condition}", _CONDITIONS[field])
    parameters = [text] if field else []
    count = reading.first_portion
    while not span.is_empty:
        found = rows(statement, [*parameters, event_pk(pid, span.low), event_pk(pid, span.high), count])
        yield from found
        if len(found) < count:
            return
        span = _after(span, found[-1]["id"], reading)
        count = reading.portion


def _by_state(pid: int, span: Span, reading: Reading, state: str) -> Iterator[Row]:
    statement = _statement(_BY_STATE, reading)
    count = reading.first_portion
    while not span.is_empty:
        low, high = event_pk(pid, span.low), event_pk(pid, span.high)
        found = rows(statement, [state, low, high, count])
        is_last = len(found) < count
        if not is_last:  # the last event may have more lanes than came
            found = [row for row in found if row["id"] != found[-1]["id"]]
        if not is_last and not found:
            count *= 2
            continue
        yield from found
        if is_last:
            return
        span = _after(span, found[-1]["id"], reading)
        count = reading.portion


def _in_portions(ids: list[int], spans: Spans, reading: Reading) -> Iterator[Row]:
    """Rows of these ids in the order of time; their times first, since what else they have may be large."""
    within = [pk for pk in ids if (span := spans.get(pk >> NUMBER_BITS)) and span.low < (pk & _NUMBER) < span.high]
    times = rows_in("SELECT id, at_ms FROM dashboard_event WHERE id IN (…)", within)
    ordered = sorted(((row["at_ms"], row["id"]) for row in times), reverse=not reading.oldest_first)
    statement = f"SELECT {reading.columns} FROM dashboard_event e WHERE e.id IN (…)"  # noqa: S608  constants
    for start in range(0, len(ordered), reading.portion):
        some = [pk for _, pk in ordered[start : start + reading.portion]]
        found = {row["id"]: row for row in rows_in(statement, some)}
        yield from (found[pk] for pk in some if pk in found)


def _statement(pattern: str, reading: Reading) -> str:
    return pattern.replace("{columns}", reading.columns).replace("{way}", reading.way)


def _after(span: Span, pk: int, reading: Reading) -> Span:
    number = pk & _NUMBER
    return Span(number, span.high) if reading.oldest_first else Span(span.low, number)
