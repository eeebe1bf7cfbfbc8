"""The rows of one commit, gathered while a read is applied and then written with one statement a table."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final, NamedTuple

from django.db.backends.utils import CursorWrapper

from dashboard.record import bulk, rates, rows
from dashboard.record.progress import Progress
from dashboard.record.rates import Series

TALLY_KEPT_MS: Final = 2 * 3_600_000


class Stored(NamedTuple):
    """What one commit stored, and the traces that it changed."""

    events: int
    records: int
    traces: list[str]


NOTHING: Final = Stored(0, 0, [])


class Batch:
    """Rows by table."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.deliveries: dict[tuple[int, int, str], Progress] = {}  # by event, its time, group
        self.attempts: list[tuple[Any, ...]] = []
        self.subscriptions: list[tuple[Any, ...]] = []
        self.versions: list[tuple[Any, ...]] = []
        self.counts: Counter[tuple[int, Series]] = Counter()  # by bucket and series
        self.traces: dict[str, None] = {}
        self.records = 0
        self._events_written = 0

    @property
    def stored(self) -> Stored:
        """What was written so far."""
        return Stored(self._events_written, self.records, [trace for trace in self.traces if trace])

    def write(self, cursor: CursorWrapper) -> None:
        """Store everything that is gathered."""
        deliveries = [rows.delivery_row(*place, delivery) for place, delivery in self.deliveries.items()]
        for statement, values in (
            (rows.INSERT_EVENT, self.events),
            (rows.upsert_delivery(), deliveries),
            (rows.INSERT_ATTEMPT, self.attempts),
            (rows.INSERT_SUBSCRIPTION, self.subscriptions),
            (rows.ADD_VERSION, self.versions),
            (rows.ADD_TALLY, self._tallies()),
            (rows.ADD_TOTAL, self._totals()),
        ):
            if values:
                bulk.write(cursor, statement, values)
        self._events_written += len(self.events)
        for gathered in (
            self.events, self.deliveries, self.attempts, self.subscriptions, self.versions, self.counts,
        ):  # fmt: skip
            gathered.clear()

    def _tallies(self) -> list[tuple[Any, ...]]:
        """Counts near now: a stranger's entry ids may lie in any year."""
        now_ms = int(time.time() * 1000)
        low, high = rates.bucket_of(now_ms - TALLY_KEPT_MS), rates.bucket_of(now_ms) + rates.SPARK_BUCKETS
        return sorted(
            (bucket, *series, count) for (bucket, series), count in self.counts.items() if low <= bucket <= high
        )

    def _totals(self) -> list[tuple[Any, ...]]:
        totals: dict[Series, tuple[int, int]] = {}
        for (bucket, series), count in self.counts.items():
            counted, newest_ms = totals.get(series, (0, 0))
            totals[series] = counted + count, max(newest_ms, bucket * rates.BUCKET_MS)
        return sorted((*series, counted, newest_ms) for series, (counted, newest_ms) in totals.items())
