"""The read model made anew from the streams, as a recorder would have made it that was there from the beginning.

First all rows go, and the cursors with them, in one transaction; from then on it is plain recording. So whatever ends
it half-way, any recorder goes on from there. What the streams no longer hold can't be made anew: then it refuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from bus import inspect, tail
from bus.errors import BusError
from bus.inspect import StreamState
from bus.operations import entry_order
from bus.streams import Client
from bus.tail import Chunk, Partition, Position
from dashboard.record.presence import Presence
from dashboard.record.projection import CursorMoved, Place, Projection

READ_COUNT: Final = 500  # entries of each stream in one read, and so in one transaction
SILENT_MS: Final = 10_000  # a recorder that was not heard of for this long runs no more
_SAID: Final = 3  # partitions in one message
_RUNNING: Final = "SELECT name FROM dashboard_recording WHERE beat_ms > %s ORDER BY beat_ms DESC"
_TABLES: Final = ("attempt", "delivery", "event", "rewind", "subscription", "tally", "total", "rollup", "workerversion")
_BEGIN_AGAIN: Final = (
    "UPDATE dashboard_partition SET events_cursor = '0-0', journal_cursor = '0-0', newest_number = 0, newest_ms = 0,"
    " trimmed_number = 0, swept_number = 0, ghosts = 0, epoch = 0"
)


class RebuildRefused(BusError):
    """The rows stay as they are: something else records, or they tell what the streams no longer do."""


class Progress(NamedTuple):
    """How many entries of events and journal are done, and how many there were to do at the beginning."""

    done: int
    total: int

    @property
    def percent(self) -> int:
        return min(100 * self.done // self.total, 100) if self.total else 100


class Rebuild:
    """One rebuild of the whole read model."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = client.config.prefix
        self._projection = Projection()
        self._presence = Presence()

    def check(self, *, from_scratch: bool) -> None:
        """Raise `RebuildRefused` where a rebuild would lose something, or `ServerError` when nobody can tell."""
        with connection.cursor() as cursor:
            _refuse_rivals(cursor)
        self._projection.load()
        places = self._projection.places
        states = self._client.run(inspect.streams(self._prefix, list(places)))
        gone = [told for state in states if (told := _gone(state, places[state.topic, state.partition]))]
        if gone and not from_scratch:
            more = f"; and {len(gone) - _SAID} more partitions" if len(gone) > _SAID else ""
            raise RebuildRefused(
                f"expected the streams to hold all that was recorded, but gone are {'; '.join(gone[:_SAID])}{more}:"
                " nobody can make those rows anew. Nothing was changed; --from-scratch loses them and rebuilds the rest"
            )

    def run(self, tell: Callable[[Progress], None]) -> Progress:
        """Empty the read model and record what the streams hold now. Raises `ServerError` or a database error:
        then it is not complete, and any recorder goes on from there."""
        partitions = self._client.run(tail.partitions(self._prefix))  # nothing is emptied while the server is away
        _empty()
        self._projection.load()
        self._projection.add(partitions)
        places = list(self._projection.places)
        end = self._client.run(tail.newest(self._prefix, places))
        states = self._client.run(inspect.streams(self._prefix, places))
        progress = Progress(0, sum(state.events + state.journal for state in states))
        while chunks := self._read(end):
            progress = progress._replace(done=progress.done + self._store(chunks))
            self._presence.beat()
            tell(progress)
        self._presence.leave()
        return progress

    def _read(self, end: dict[Partition, Position]) -> list[Chunk]:
        """What comes next of the partitions that have not reached their end."""
        positions = {partition: place.position for partition, place in self._projection.places.items()}
        behind = {partition: at for partition, at in positions.items() if _is_before(at, end[partition])}
        if not behind:
            return []
        return self._client.run(tail.read(self._prefix, behind, count=READ_COUNT, block_ms=None))

    def _store(self, chunks: list[Chunk]) -> int:
        """How many entries were stored; another recorder that came meanwhile does no harm, it does the same."""
        try:
            self._projection.store(chunks)
        except CursorMoved:
            self._projection.load()
        return sum(len(chunk.events) + len(chunk.journal) for chunk in chunks)


def _empty() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        _refuse_rivals(cursor)
        if connection.vendor == "postgresql":  # at once, whatever there is
            cursor.execute(f"TRUNCATE {', '.join(f'dashboard_{table}' for table in _TABLES)}")
        else:
            for table in _TABLES:
                cursor.execute(f"DELETE FROM dashboard_{table}")  # noqa: S608  constants
        cursor.execute(_BEGIN_AGAIN)


def _refuse_rivals(cursor: CursorWrapper) -> None:
    cursor.execute(_RUNNING, [int(time.time() * 1000) - SILENT_MS])
    if found := cursor.fetchone():
        raise RebuildRefused(
            f"expected that no recorder runs, but {found[0]} was heard of within the last {SILENT_MS // 1000} seconds;"
            " stop it (it is part of `up` and `demo`) and begin again"
        )


def _gone(state: StreamState, place: Place) -> str:
    """What of a partition was there once and is no longer, in words; "" when all of it still is."""
    events = max(state.added, place.newest_number) - state.events
    journal = state.journal_added - state.journal
    forgotten = entry_order(state.newest_record) < entry_order(place.journal_cursor)
    if events <= 0 and journal <= 0 and not forgotten:
        return ""
    steps = "the journal's end" if forgotten else f"{max(journal, 0):,} entries of the journal"
    return f"{state.topic}/{state.partition}: {max(events, 0):,} events and {steps}"


def _is_before(at: Position, end: Position) -> bool:
    return any(entry_order(here) < entry_order(there) for here, there in zip(at, end, strict=True))
