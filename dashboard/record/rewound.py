"""A server that has forgotten what is recorded: after a crash, a restored copy, or a failover to a replica behind.

Proves that what was read last is still there; where it is not, finds the last event that server and rows agree on,
marks the rows after it as forgotten, and lets the recorder go on from there. Numbers of events stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import connection, transaction

from bus import inspect, tail
from bus.event import entry_ms
from bus.inspect import StreamState
from bus.operations import entry_order
from bus.streams import Client
from bus.tail import START, Found, Partition, Position
from dashboard.models import GHOSTS_FROM, event_pk, number_of
from dashboard.record import rows
from dashboard.record.projection import CursorMoved, Place
from dashboard.record.spans import count_between, forgotten_at, stretches


class Rewound(NamedTuple):
    """What was done about a rewound partition. `entry`: the last one that the server still has."""

    partition: Partition
    entry: str
    forgotten: int
    traces: list[str]


class Loss(NamedTuple):
    """What of a partition's end is gone from the server."""

    events: bool
    journal: bool


def doubtful(client: Client, places: Mapping[Partition, Place]) -> list[Partition]:
    """Partitions of which the server no longer has what was recorded last. One round trip. Raises `ServerError`."""
    positions = {partition: place.position for partition, place in places.items() if place.position != Position()}
    if not positions:
        return []
    found = client.run(tail.look_back(client.config.prefix, positions))
    return [partition for partition in positions if any(_loss(places[partition], found[partition]))]


def reconcile(client: Client, partition: Partition, place: Place) -> Rewound | None:
    """Bring the rows of a doubtful partition and the server together; None when it is as it should be after all.

    Raises `ServerError`, a database error, or `CursorMoved` when another recorder did it first. What of the rows is
    in memory must be loaded afresh.
    """
    prefix = client.config.prefix
    [state] = client.run(inspect.streams(prefix, [partition]))
    found = client.run(tail.look_back(prefix, {partition: place.position}))[partition]
    loss = _without_trims(_loss(place, found), place, found, state)
    if not any(loss):
        return None
    number, entry = place.newest_number, place.events_cursor
    if loss.events:
        number, entry = _Search(client, partition, place, state).last_common()
    journal = place.journal_cursor
    if loss.journal:
        journal = client.run(tail.last_record_before(prefix, partition, entry_ms(entry)))
    with transaction.atomic():
        return _store(partition, place, state, number, Position(entry, journal), is_journal_lost=loss.journal)


def _loss(place: Place, found: Found) -> Loss:
    is_other = found.event is not None and bool(place.newest_id) and rows.clean(found.event.id) != place.newest_id
    return Loss(
        place.events_cursor != START and (found.event is None or is_other),
        place.journal_cursor != START and not found.record,
    )


def _without_trims(loss: Loss, place: Place, found: Found, state: StreamState) -> Loss:
    """Entries that somebody trimmed by hand are gone too, but what follows them is the same history still."""
    trimmed = found.event is None and state.added > state.events
    return Loss(
        loss.events and not (trimmed and _has_passed(place.events_cursor, state.oldest, state.newest)),
        loss.journal and not _has_passed(place.journal_cursor, state.oldest_record, state.newest_record),
    )


def _has_passed(cursor: str, oldest: str, newest: str) -> bool:
    """Whether a stream has given ids beyond the cursor and holds none up to it."""
    at = entry_order(cursor)
    return entry_order(newest) >= at and (not oldest or entry_order(oldest) > at)


class _Search:
    """Looks for the last event that server and rows agree on: a binary search, so about twenty looks in a million."""

    def __init__(self, client: Client, partition: Partition, place: Place, state: StreamState) -> None:
        self._client = client
        self._partition = partition
        self._place = place
        self._state = state

    def last_common(self) -> tuple[int, str]:
        """Its number and entry; (0, "0-0") when there is none."""
        place = self._place
        for first, last in stretches(place.forgotten, place.swept_number, place.newest_number):
            row = self._row(first, last)
            if row is not None and self._is_common(row):
                return self._last_within(row, last)
        return 0, START

    def _last_within(self, row: tuple[Any, ...], last: int) -> tuple[int, str]:
        low = number_of(row[0])
        while low < last:
            middle = (low + last + 1) // 2
            looked_at = self._row(middle, last)
            if looked_at is not None and self._is_common(looked_at):
                row, low = looked_at, number_of(looked_at[0])
            else:
                last = middle - 1
        return low, str(row[1])

    def _row(self, first: int, last: int) -> tuple[Any, ...] | None:
        """The first event that is still in the rows, of those from number `first` to `last`."""
        with connection.cursor() as cursor:
            cursor.execute(rows.FIRST_FROM, [event_pk(self._place.id, first), event_pk(self._place.id, last)])
            found: tuple[Any, ...] | None = cursor.fetchone()
        return found

    def _is_common(self, row: tuple[Any, ...]) -> bool:
        _, entry, event_id = row
        oldest = self._state.oldest
        if oldest and self._state.added > self._state.events and entry_order(entry) < entry_order(oldest):
            return True  # trimmed, not forgotten
        position = {self._partition: Position(entry, START)}
        event = self._client.run(tail.look_back(self._client.config.prefix, position))[self._partition].event
        return event is not None and rows.clean(event.id) == event_id


def _store(
    partition: Partition, place: Place, state: StreamState, number: int, position: Position, *, is_journal_lost: bool
) -> Rewound:
    """Note what the server forgot. `number`: of the last event that it has, 0 when it has none of them."""
    now_ms = int(time.time() * 1000)
    after = number or max(place.trimmed_number, place.swept_number)
    first, last = event_pk(place.id, after + 1), event_pk(place.id, place.newest_number)
    moved = (*position, _trimmed_number(place, state, number, after), place.id, *place.position, place.epoch)
    with connection.cursor() as cursor:
        cursor.execute(rows.REWIND_CURSOR, moved)
        if cursor.rowcount != 1:
            raise CursorMoved("/".join(map(str, partition)))
        cursor.execute(rows.DROP_REWINDS, [place.id, after + 1])
        span = (after + 1, place.newest_number)
        cursor.executemany(rows.ADD_REWIND, [(place.id, place.epoch + 1, now_ms, *span)])
        cursor.execute(rows.LOSE_DELIVERIES, [now_ms, now_ms, first, last])
        if number and is_journal_lost:
            _reopen(cursor, place, number, since_ms=_redone_since(position, state))
        cursor.execute(rows.FORGOTTEN_TRACES, [first, last])
        traces = [row[0] for row in cursor.fetchall() if row[0]]
    forgotten = place.newest_number - after - count_between(place.forgotten, after, place.newest_number)
    return Rewound(partition, position.events, forgotten, traces)


def _reopen(cursor: Any, place: Place, number: int, *, since_ms: int) -> None:
    """What happened to events that the server still has, and it forgot: it happens again, and is recorded again."""
    kept = [event_pk(place.id, 1), event_pk(place.id, number), since_ms]
    cursor.execute(rows.FORGET_ATTEMPTS, kept)
    cursor.execute(rows.REOPEN_DELIVERIES, kept)


def _redone_since(position: Position, state: StreamState) -> int:
    """From when on the journal is read again: what is older than both is common, or trimmed from it."""
    oldest_ms = entry_ms(state.oldest_record) if state.oldest_record else 0
    return max(entry_ms(position.events), oldest_ms)


def _trimmed_number(place: Place, state: StreamState, number: int, after: int) -> int:
    """The number up to which events are gone from the stream as it is now: an old copy holds more than we left."""
    if not number:
        return after
    with connection.cursor() as cursor:
        cursor.execute(rows.NUMBER_AT, [place.id, state.oldest, event_pk(place.id, GHOSTS_FROM)])
        numbers = [number_of(row[0]) for row in cursor.fetchall()]
    there = [n for n in numbers if n <= number and forgotten_at(place.forgotten, n) is None]
    return there[-1] - 1 if there else min(place.trimmed_number, number)
