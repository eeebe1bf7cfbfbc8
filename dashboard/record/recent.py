"""The events that the recorder knows by heart: the newest ones, with their deliveries.

A cache of rows; only valid while nobody else writes them, which the cursors' compare-and-set proves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec
from django.db.backends.utils import CursorWrapper

from bus.event import entry_ms
from dashboard.models import number_of
from dashboard.record.progress import Progress
from dashboard.record.spans import Span, forgotten_at
from dashboard.sql import slices, spread

MAX_KNOWN: Final = 20_000
_EVENTS: Final = (
    "SELECT id, entry, correlation_id, type, at_ms FROM dashboard_event"
    " WHERE partition_id = %s AND at_ms BETWEEN %s AND %s AND entry IN (…)"
)
_DELIVERIES: Final = (
    'SELECT event_id, "group", state, attempt, ended, worker, due_ms, delivered_ms, started_ms, settled_ms,'
    " duration_us, error, fingerprint, moved_ms FROM dashboard_delivery"
    " WHERE at_ms BETWEEN %s AND %s AND event_id IN (…)"
)


class Known(msgspec.Struct, gc=False):
    """An event that was stored, with its deliveries by group."""

    pk: int
    at_ms: int
    trace: str
    type: str
    deliveries: dict[str, Progress] = msgspec.field(default_factory=dict)


class Recent:
    """Known events by partition id and entry."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Known] = {}
        self.forgotten: dict[int, list[Span]] = {}  # by partition id: rows that are no longer the entry's

    def get(self, partition_id: int, entry: str) -> Known | None:
        return self._known.get((partition_id, entry))

    def put(self, partition_id: int, entry: str, known: Known) -> None:
        self._known[partition_id, entry] = known

    def clear(self) -> None:
        self._known.clear()

    def shrink(self) -> None:
        """Forget the oldest beyond the limit."""
        for key in list(islice(self._known, max(len(self._known) - MAX_KNOWN, 0))):
            del self._known[key]

    def fetch(self, cursor: CursorWrapper, partition_id: int, entries: Sequence[str]) -> list[str]:
        """Bring these entries to memory from the database. Result: those that it doesn't have, in order."""
        missing = [entry for entry in entries if (partition_id, entry) not in self._known]
        for some in slices(missing):
            self._fetch(cursor, partition_id, some)
        return [entry for entry in missing if (partition_id, entry) not in self._known]

    def _fetch(self, cursor: CursorWrapper, partition_id: int, entries: Sequence[str]) -> None:
        moments = sorted(map(entry_ms, entries))
        between = [moments[0], moments[-1]]
        cursor.execute(spread(_EVENTS, len(entries)), [partition_id, *between, *entries])
        spans = self.forgotten.get(partition_id, ())
        there = [row for row in cursor.fetchall() if forgotten_at(spans, number_of(row[0])) is None]
        found = {row[0]: (row[1], Known(row[0], row[4], row[2], row[3])) for row in there}
        if found:
            cursor.execute(spread(_DELIVERIES, len(found)), [*between, *found])
        for row in cursor.fetchall():
            found[row[0]][1].deliveries[row[1]] = Progress(*row[2:])
        for entry, known in found.values():
            self._known[partition_id, entry] = known
