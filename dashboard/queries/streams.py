"""Where the candidates of a search come from: the index that narrows most, read lazily, newest or oldest first.

Every source gives rows of events ordered by time within a partition's span, in portions by keyset, and stops being
read when the search has enough; none sorts or counts more than a portion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import product
from typing import Any, Final, NamedTuple

from django.db import connection

from dashboard.models import NUMBER_BITS, event_pk
from dashboard.queries.spans import Span, Spans
from dashboard.record.rows import clean
from dashboard.sql import rows, rows_in, slices, spread

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
# PostgreSQL plans each statement anew, for every period: which of many sources have anything is asked at once. A plan
# for all of them would not know their bounds, and sort what an index has in order; so what they have is read by itself.
_HAS: Final = {
    "event": "SELECT 1 FROM dashboard_event e WHERE {condition} e.id > asked.low AND e.id < asked.high LIMIT 1",
    "state": "SELECT 1 FROM dashboard_delivery WHERE NOT (state = 'succeeded') AND state = asked.text"
    " AND event_id > asked.low AND event_id < asked.high LIMIT 1",
}
_WITH_ANY: Final = (
    "WITH asked(place, low, high, text) AS MATERIALIZED (VALUES {asked})"
    " SELECT place FROM asked WHERE ({has}) IS NOT NULL"
)
_ASKED: Final = "(%s, CAST(%s AS bigint), CAST(%s AS bigint), CAST(%s AS varchar(512)))"
MANY: Final = 4  # sources
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


class _Source(NamedTuple):
    """A stretch of one partition, and what its index is asked for."""

    pid: int
    span: Span
    text: str

    @property
    def keys(self) -> tuple[int, int]:
        return event_pk(self.pid, self.span.low), event_pk(self.pid, self.span.high)


def merged(sources: Sequence[Iterator[Row]], reading: Reading) -> Iterator[Row]:
    """Several sources as one, in the order of time."""
    return merge(*sources, key=lambda row: (row["at_ms"], row["id"]), reverse=not reading.oldest_first)


def by_index(spans: Spans, reading: Reading, field: str = "", values: Sequence[str] = ("",)) -> list[Iterator[Row]]:
    """Events with one of the values in an indexed field; without a field all events."""
    sources = _sources(spans, sorted({clean(value) for value in values}))
    condition = _CONDITIONS[field]
    if field:
        sources = _with_any(_HAS["event"].replace("{condition}", condition.replace("%s", "asked.text")), sources)
    statement = _statement(_BY_INDEX, reading).replace("{condition}", condition)
    return [_by_index(statement, source, reading) for source in sources]


def by_state(spans: Spans, reading: Reading, states: Sequence[str]) -> list[Iterator[Row]]:
    """Events with a lane in one of these states, as far as the index of trouble knows; each with its `deliveries`."""
    sources = _with_any(_HAS["state"], _sources(spans, states))
    statement = _statement(_BY_STATE, reading)
    return [_by_state(statement, source, reading) for source in sources]


def by_ids(spans: Spans, reading: Reading, field: str, values: Sequence[str]) -> list[Iterator[Row]]:
    """Events by a field whose values have few events each."""
    texts = [clean(value) for value in values if value]
    if not texts:
        return []
    found = rows(spread(_IDS[field], len(texts)), [*texts, MAX_OF_ONE_ID])
    return [_in_portions(sorted(row["id"] for row in found), spans, reading)]


def _sources(spans: Spans, texts: Sequence[str]) -> list[_Source]:
    return [_Source(pid, span, text) for (pid, span), text in product(spans.items(), texts) if not span.is_empty]


def _with_any(has: str, sources: list[_Source]) -> list[_Source]:
    """The sources that have anything, where it is worth to ask first."""
    if connection.vendor != "postgresql" or len(sources) <= MANY:
        return sources
    found = []
    for some in slices(sources):
        asked = [value for at, source in enumerate(some) for value in (at, *source.keys, source.text)]
        statement = _WITH_ANY.replace("{has}", has).replace("{asked}", ", ".join([_ASKED] * len(some)))
        found += [some[row["place"]] for row in rows(statement, asked)]
    return found


def _by_index(statement: str, source: _Source, reading: Reading) -> Iterator[Row]:
    count = reading.first_portion
    while not source.span.is_empty:
        found = rows(statement, _parameters(statement, source, count))
        yield from found
        if len(found) < count:
            return
        source = _after(source, found[-1]["id"], reading)
        count = reading.portion


def _by_state(statement: str, source: _Source, reading: Reading) -> Iterator[Row]:
    count = reading.first_portion
    while not source.span.is_empty:
        found = rows(statement, _parameters(statement, source, count))
        is_last = len(found) < count
        if not is_last:  # the last event may have more lanes than came
            found = [row for row in found if row["id"] != found[-1]["id"]]
        if not is_last and not found:
            count *= 2
            continue
        yield from found
        if is_last:
            return
        source = _after(source, found[-1]["id"], reading)
        count = reading.portion


def _parameters(statement: str, source: _Source, count: int) -> list[Any]:
    """Those of a statement that may ask for no text."""
    return [source.text, *source.keys, count][-statement.count("%s") :]


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


def _after(source: _Source, pk: int, reading: Reading) -> _Source:
    low, high = source.span
    number = pk & _NUMBER
    return source._replace(span=Span(number, high) if reading.oldest_first else Span(low, number))
