"""From what one read of the bus returned to rows: events, deliveries, attempts, counts, and the cursors with them.

One transaction a read. Each cursor moves by compare-and-set in it, so rows and cursors agree whatever dies when, and
of two recorders one changes nothing. Knows no Redis: told chunks, it writes rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

import msgspec
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from bus.event import Event, entry_ms
from bus.journal import JournalEntry, Record, Step
from bus.tail import Chunk, Partition, Position
from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.record import moves, rates, rollups, rows
from dashboard.record.batch import Batch, Stored
from dashboard.record.periods import Periods
from dashboard.record.progress import Moment, Progress, advance
from dashboard.record.rates import Series, bucket_of
from dashboard.record.recent import Known, Recent
from dashboard.record.rollups import Ended, Rollups
from dashboard.record.spans import Span, step
from dashboard.record.subscriptions import Subscribed, governing, order_of, subscribed

MAX_SERIES: Final = 500  # edges of the map; what strangers invent beyond them is counted as one
_ENTRY: Final = re.compile(r"\d{1,20}-\d{1,20}\Z")
_START: Final = ("0-0", "0-0", 0, 0, 0, 0, 0, 0)


class CursorMoved(Exception):
    """Another recorder has stored this already."""


class Place(msgspec.Struct):
    """A partition's row: how far it is recorded."""

    id: int
    events_cursor: str
    journal_cursor: str
    newest_number: int
    newest_ms: int
    ghosts: int
    epoch: int
    trimmed_number: int
    swept_number: int
    forgotten: list[Span] = msgspec.field(default_factory=list)
    newest_id: str = ""  # of the event at the cursor; "" when nobody knows

    @property
    def position(self) -> Position:
        return Position(self.events_cursor, self.journal_cursor)


class Projection:
    """Stores chunks. Keeps cursors and the newest events in memory; after an error it reads them again."""

    def __init__(self) -> None:
        self.places: dict[Partition, Place] = {}
        self.periods = Periods()
        self._recent = Recent()
        self._rollups = Rollups()
        self._series: set[Series] = set()
        self._history: dict[tuple[int, str], list[Subscribed]] = defaultdict(list)

    def load(self) -> None:
        """Read what is recorded so far."""
        self._recent.clear()
        self.periods.load()
        self._rollups.clear()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT topic, number, id, events_cursor, journal_cursor, newest_number, newest_ms, ghosts, epoch,"
                " trimmed_number, swept_number FROM dashboard_partition"
            )
            self.places = {(row[0], row[1]): Place(*row[2:]) for row in cursor.fetchall()}
            self._load_ends(cursor)
            cursor.execute("SELECT kind, who, topic FROM dashboard_total LIMIT %s", [MAX_SERIES])
            self._series = {Series(*row) for row in cursor.fetchall()}
            cursor.execute(
                'SELECT partition_id, "group", start, types, attempts FROM dashboard_subscription ORDER BY id'
            )
            self._history = defaultdict(list)
            for partition_id, group, *said in cursor.fetchall():
                self._history[partition_id, group].append(subscribed(*said))

    def _load_ends(self, cursor: CursorWrapper) -> None:
        """What the server must still have, and what it has been found without."""
        by_id = {place.id: place for place in self.places.values()}
        cursor.execute(rows.NEWEST_IDS)
        for partition_id, event_id in cursor.fetchall():
            by_id[partition_id].newest_id = event_id
        cursor.execute(rows.REWINDS)
        for partition_id, *span in cursor.fetchall():
            by_id[partition_id].forgotten.append(Span(*span))
        self._recent.forgotten = {place.id: place.forgotten for place in by_id.values() if place.forgotten}

    def add(self, partitions: Iterable[Partition]) -> None:
        """Begin to record partitions that are new."""
        fresh = [
            (*partition, "0-0", "0-0", 0, 0, 0, 0, 0, 0) for partition in partitions if partition not in self.places
        ]
        if fresh:
            with connection.cursor() as cursor:
                cursor.executemany(rows.ADD_PARTITION, fresh)
            self.load()

    def trimmed(self, partition: Partition, count: int) -> None:
        """So many of the partition's oldest events have left the stream."""
        place = self.places[partition]
        trimmed_number = step(place.forgotten, place.trimmed_number, count)
        with connection.cursor() as cursor:
            cursor.execute(rows.ADD_TRIMMED, (trimmed_number - place.trimmed_number, place.id))
        place.trimmed_number = trimmed_number

    def store(self, chunks: Sequence[Chunk]) -> Stored:
        """Store what one read returned, all of it or nothing. Raises `CursorMoved` when somebody else has.

        After any error `load` must come before the next `store`.
        """
        batch = Batch()
        for chunk in chunks:
            self.periods.cover([entry_ms(event.entry) for event in chunk.events])
        with transaction.atomic(), connection.cursor() as cursor:
            for chunk in chunks:
                place = self.places[chunk.topic, chunk.partition]
                number = place.newest_number
                self._move_cursor(cursor, place, chunk)
                for event in chunk.events:
                    number += 1
                    self._store_event(place, event_pk(place.id, number), event, batch)
                if chunk.journal:
                    self._store_journal(cursor, place, chunk, batch)
            batch.write(cursor)
            self._rollups.write(cursor)
        self._recent.shrink()
        return batch.stored

    def _move_cursor(self, cursor: CursorWrapper, place: Place, chunk: Chunk) -> None:
        number = place.newest_number + len(chunk.events)
        newest_ms = entry_ms(chunk.position.events) if chunk.events else place.newest_ms
        was = (*place.position, place.newest_number, place.epoch)
        cursor.execute(rows.MOVE_CURSOR, (*chunk.position, number, newest_ms, place.id, *was))
        if cursor.rowcount != 1:
            raise CursorMoved(f"{chunk.topic}/{chunk.partition}")
        place.events_cursor, place.journal_cursor = chunk.position
        place.newest_number, place.newest_ms = number, newest_ms
        if chunk.events:
            place.newest_id = rows.clean(chunk.events[-1].id)

    def _store_event(self, place: Place, pk: int, event: Event, batch: Batch) -> None:
        row = rows.event_row(event, pk=pk, partition_id=place.id, epoch=place.epoch)
        batch.events.append(row.values)
        batch.traces[row.trace] = None
        self._recent.put(place.id, event.entry, Known(pk, row.at_ms, row.trace, row.type))
        self._rollups.published.append((place.id, row.at_ms - row.at_ms % rollups.SPAN_MS, row.type))
        bucket = bucket_of(row.at_ms)
        batch.counts[bucket, self._series_of(rates.PUBLISHED, "", event.topic)] += 1
        kind, who = rates.edge_of(event.source, event.cause)
        batch.counts[bucket, self._series_of(kind, rows.clean(who), event.topic)] += 1

    def _store_journal(self, cursor: CursorWrapper, place: Place, chunk: Chunk, batch: Batch) -> None:
        rest = chunk.journal
        while rest:
            count = next((at for at, entry in enumerate(rest) if _is_move(entry)), len(rest))
            self._store_entries(cursor, place, chunk.topic, rest[:count], batch)
            if count < len(rest):
                self._store_move(cursor, place, rest[count], batch)
            rest = rest[count + 1 :]

    def _store_move(self, cursor: CursorWrapper, place: Place, entry: JournalEntry, batch: Batch) -> None:
        """A group's position was moved: rows by the million may change, so they do in the database alone."""
        assert entry.control is not None
        group = rows.clean(entry.group, rows.MAX_NAME)
        batch.write(cursor)
        self._recent.clear()
        history = self._history.get((place.id, group))
        moves.store(cursor, place.id, group, entry.control, at_ms=entry.at_ms, said=history[-1] if history else None)

    def _store_entries(
        self, cursor: CursorWrapper, place: Place, topic: str, entries: Sequence[JournalEntry], batch: Batch
    ) -> None:
        named = {record.entry: None for entry in entries for record in entry.records}
        gone = self._recent.fetch(cursor, place.id, [entry for entry in named if _ENTRY.match(entry)])
        if gone:
            self._store_ghosts(cursor, place, gone, batch)
        for entry in entries:
            group = rows.clean(entry.group, rows.MAX_NAME)
            if entry.subscription is not None:
                self._store_subscription(place, group, entry, batch)
            if entry.version:
                batch.versions.append(rows.version_row(entry))
            self._store_records(place, topic, group, entry, batch)

    def _store_ghosts(self, cursor: CursorWrapper, place: Place, entries: list[str], batch: Batch) -> None:
        """Events that the journal speaks of and the stream no longer has."""
        for ghost, entry in enumerate(entries, place.ghosts):
            pk = event_pk(place.id, GHOSTS_FROM + ghost)
            batch.events.append(rows.ghost_row(entry, pk=pk, partition_id=place.id, epoch=place.epoch))
            self._recent.put(place.id, entry, Known(pk, entry_ms(entry), "", ""))
        place.ghosts += len(entries)
        cursor.execute(rows.SET_GHOSTS, [place.ghosts, place.id])

    def _store_subscription(self, place: Place, group: str, entry: JournalEntry, batch: Batch) -> None:
        row = rows.subscription_row(entry, partition_id=place.id, group=group)
        batch.subscriptions.append(row.values)
        self._history[place.id, group].append(subscribed(row.start, row.types, row.attempts))

    def _store_records(self, place: Place, topic: str, group: str, entry: JournalEntry, batch: Batch) -> None:
        moment = Moment(entry.at_ms, entry.worker.partition("#")[0])
        bucket = bucket_of(entry.at_ms)
        ended: list[Ended] = []
        for record in entry.records:
            known = self._recent.get(place.id, record.entry)
            if known is None:
                continue
            if record.step == Step.SKIPPED and not self._was_expected(place, group, known, record):
                ended.append((Step.SKIPPED, known.type, 0, None))
                continue
            if _store_record(known, group, record, moment, batch) and record.step in rollups.COUNTED:
                delivery = known.deliveries[group]
                waited_ms = delivery.settled_ms - known.at_ms if delivery.settled_ms else None
                ended.append((record.step, known.type, delivery.duration_us, waited_ms))
        if ended:
            self._rollups.ended[place.id, entry.at_ms - entry.at_ms % rollups.SPAN_MS, group] += ended
        for step_number, count in Counter(map(itemgetter(0), ended)).items():
            for kind in rates.COUNTED.get(step_number, ()):
                batch.counts[bucket, self._series_of(kind, group, topic)] += count

    def _was_expected(self, place: Place, group: str, known: Known, record: Record) -> bool:
        """Whether leaving it out says more than the group's subscription does."""
        said = governing(self._history.get((place.id, group), ()), order_of(record.entry))
        return said is not None and said.admits(known.type)

    def _series_of(self, kind: str, who: str, topic: str) -> Series:
        series = Series(kind, who, topic)
        if series not in self._series:
            if len(self._series) >= MAX_SERIES:
                return Series(kind, rates.OTHERS if who else "", topic)
            self._series.add(series)
        return series


def _is_move(entry: JournalEntry) -> bool:
    control = entry.control
    return control is not None and control.kind == "rewound" and all(map(_ENTRY.match, (control.before, control.after)))


def _store_record(known: Known, group: str, record: Record, moment: Moment, batch: Batch) -> bool:
    """Whether the record changed anything."""
    delivery = known.deliveries.get(group)
    if delivery is None:
        delivery = known.deliveries[group] = Progress()
    batch.records += 1
    moved = advance(delivery, record, moment)
    if moved.counted:
        batch.deliveries[known.pk, known.at_ms, group] = delivery
        batch.traces[known.trace] = None
    if moved.ended is not None:
        batch.attempts.append(rows.attempt_row(known.pk, known.at_ms, group, moved.ended))
    return moved.counted
