"""The read model made anew from the streams, as a recorder would have made it that was there from the beginning.

The rows are made beside those in use (`shadow`): pages show the old ones and the recorder goes on with them meanwhile.
At the end the rebuild takes the recorder's lease, catches up, puts the new rows in the place of the old ones in one
transaction, and hands the lease back. Whatever ends it before leaves the old rows as they are. What the streams no
longer hold can't be made anew: then it refuses.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from django.db import OperationalError, connection

from bus import inspect, tail
from bus.errors import BusError
from bus.inspect import StreamState
from bus.lease import Lease
from bus.operations import entry_order
from bus.streams import Client
from bus.tail import Chunk, Partition, Position
from dashboard.record.presence import LEASE, REBUILD, Presence
from dashboard.record.projection import Place, Projection
from dashboard.record.shadow import Shadow

READ_COUNT: Final = 500  # entries of each stream in one read, and so in one transaction
SWAPS: Final = 30  # tries, two seconds each at most, between readers that are in the way
_SAID: Final = 3  # partitions in one message
_LEASE_SECONDS: Final = 1.5  # renewed in a third of it, so that no recorder finds it idle
_BEGIN_AGAIN: Final = (
    "UPDATE dashboard_partition SET events_cursor = '0-0', journal_cursor = '0-0', newest_number = 0, newest_ms = 0,"
    " trimmed_number = 0, swept_number = 0, ghosts = 0, epoch = 0"
)


class RebuildRefused(BusError):
    """The rows stay as they are: they tell what the streams no longer do."""


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
        self._presence = Presence(REBUILD)
        self._lease = Lease(self._presence.name, _LEASE_SECONDS, name=LEASE)
        self._shadow = Shadow()
        self._progress = Progress(0, 0)

    def check(self, *, from_scratch: bool) -> None:
        """Raise `RebuildRefused` where a rebuild would lose something, or `ServerError` when nobody can tell."""
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
        """Make the rows anew. Raises `ServerError` or a database error: then the old rows stay as they are."""
        partitions = self._client.run(tail.partitions(self._prefix))  # nothing is made while the server is away
        self._presence.beat()  # from now on the recorder trims nothing
        self._shadow.create()
        try:
            self._fill(partitions, tell)
            self._shadow.finish()
            self._lease.seize()
            self._catch_up(tell)
            self._swap()
        finally:
            self._shadow.drop()
            self._lease.release()
            self._presence.leave()
        return self._progress

    def _fill(self, partitions: list[Partition], tell: Callable[[Progress], None]) -> None:
        with self._shadow.filling():
            with connection.cursor() as cursor:
                cursor.execute(_BEGIN_AGAIN)
            self._projection.load()
            self._projection.add(partitions)
        states = self._client.run(inspect.streams(self._prefix, list(self._projection.places)))
        self._progress = Progress(0, sum(state.events + state.journal for state in states))
        self._catch_up(tell)

    def _catch_up(self, tell: Callable[[Progress], None]) -> None:
        """Store what the streams hold beyond the new rows."""
        end = self._client.run(tail.newest(self._prefix, list(self._projection.places)))
        while chunks := self._read(end):
            with self._shadow.filling():
                self._projection.store(chunks)
            count = sum(len(chunk.events) + len(chunk.journal) for chunk in chunks)
            self._progress = self._progress._replace(done=self._progress.done + count)
            self._presence.beat()
            if self._lease.holder:
                self._lease.hold()
            tell(self._progress)

    def _read(self, end: dict[Partition, Position]) -> list[Chunk]:
        """What comes next of the partitions that have not reached their end."""
        positions = {partition: place.position for partition, place in self._projection.places.items()}
        behind = {partition: at for partition, at in positions.items() if _is_before(at, end[partition])}
        if not behind:
            return []
        return self._client.run(tail.read(self._prefix, behind, count=READ_COUNT, block_ms=None))

    def _swap(self) -> None:
        for left in reversed(range(SWAPS)):
            try:
                self._shadow.swap()
            except OperationalError:
                if not left:
                    raise
                time.sleep(0.2)  # for whoever reads
            else:
                return


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
