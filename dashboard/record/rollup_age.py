"""Older rollups and samples become coarser: ten seconds, then minutes, then ten minutes, then nothing.

A little at a time. A partition's row is locked meanwhile, so that no recorder adds to a cell that is being folded, and
two that fold do it one after the other. Sums stay exact; of samples of lag the worst of a span is kept.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from dashboard.record.rollups import COLUMNS, SPAN_MS, STORE, Bucket, cell, stored

SPANS_MS: Final = (SPAN_MS, 60_000, 600_000)
KEPT_MS: Final = (75 * 60_000, 25 * 3_600_000, 35 * 86_400_000)  # how long each span is kept
AHEAD_MS: Final = 86_400_000  # a stranger's entries may lie in any year: later than this nobody looks
PORTION: Final = 100  # coarse spans of time in one transaction
VERSIONS_KEPT_MS: Final = 400 * 86_400_000

_PARTITIONS: Final = "SELECT id FROM dashboard_partition ORDER BY id"
_LOCK: Final = "UPDATE dashboard_partition SET ghosts = ghosts WHERE id = %s"
_OLD: Final = (
    f'SELECT "group", start_ms, type, {", ".join(COLUMNS)} FROM dashboard_rollup'  # noqa: S608  constants
    ' WHERE span_ms = %s AND start_ms >= %s AND start_ms < %s AND partition_id = %s ORDER BY start_ms, "group", type'
)
_FIRST: Final = "SELECT MIN(start_ms) FROM dashboard_rollup WHERE span_ms = %s AND start_ms < %s AND partition_id = %s"
_DELETE: Final = (
    "DELETE FROM dashboard_rollup WHERE span_ms = %s AND start_ms >= %s AND start_ms < %s AND partition_id = %s"
)
_FOLD_SAMPLES: Final = (
    'INSERT INTO dashboard_lagsample (span_ms, start_ms, topic, "group", lag, age_ms, dead)'
    ' SELECT %s, start_ms - start_ms %% %s, topic, "group", MAX(lag), MAX(age_ms), MAX(dead)'
    ' FROM dashboard_lagsample WHERE span_ms = %s AND start_ms < %s GROUP BY 2, topic, "group"'
    ' ON CONFLICT (span_ms, start_ms, topic, "group") DO UPDATE SET'
    " lag = CASE WHEN excluded.lag > dashboard_lagsample.lag THEN excluded.lag ELSE dashboard_lagsample.lag END,"
    " age_ms = CASE WHEN excluded.age_ms > dashboard_lagsample.age_ms THEN excluded.age_ms"
    " ELSE dashboard_lagsample.age_ms END,"
    " dead = CASE WHEN excluded.dead > dashboard_lagsample.dead THEN excluded.dead ELSE dashboard_lagsample.dead END"
)
_DROP_SAMPLES: Final = "DELETE FROM dashboard_lagsample WHERE span_ms = %s AND start_ms < %s"
_DROP_OLD: Final = "DELETE FROM dashboard_rollup WHERE span_ms = %s AND start_ms < %s"
_DROP_LATER: Final = "DELETE FROM dashboard_rollup WHERE span_ms = %s AND start_ms > %s"
_DROP_VERSIONS: Final = "DELETE FROM dashboard_workerversion WHERE since_ms < %s"


def fold(now_ms: int) -> None:
    """Fold what is older than its span is kept, and remove the oldest. Raises a database error."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS)
        partitions = [row[0] for row in cursor.fetchall()]
    for (fine_ms, coarse_ms), kept_ms in zip(pairwise(SPANS_MS), KEPT_MS, strict=False):
        before_ms = (now_ms - kept_ms) // coarse_ms * coarse_ms
        for partition_id in partitions:
            while _fold_portion(partition_id, fine_ms, coarse_ms, before_ms):
                pass
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FOLD_SAMPLES, [coarse_ms, coarse_ms, fine_ms, before_ms])
            cursor.execute(_DROP_SAMPLES, [fine_ms, before_ms])
    with connection.cursor() as cursor:
        cursor.execute(_DROP_SAMPLES, [SPANS_MS[-1], now_ms - KEPT_MS[-1]])
        cursor.execute(_DROP_OLD, [SPANS_MS[-1], now_ms - KEPT_MS[-1]])
        cursor.execute(_DROP_LATER, [SPAN_MS, now_ms + AHEAD_MS])
        cursor.execute(_DROP_VERSIONS, [now_ms - VERSIONS_KEPT_MS])


def _fold_portion(partition_id: int, fine_ms: int, coarse_ms: int, before_ms: int) -> bool:
    """Whether there was anything to fold."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [partition_id])
        cursor.execute(_FIRST, [fine_ms, before_ms, partition_id])
        first_ms = cursor.fetchone()[0]
        if first_ms is None:
            return False
        low = first_ms // coarse_ms * coarse_ms
        high = min(low + PORTION * coarse_ms, before_ms)
        coarse = _read(cursor, partition_id, coarse_ms, low, high)
        changed = _add(coarse, _read(cursor, partition_id, fine_ms, low, high), coarse_ms)
        cursor.execute(_DELETE, [fine_ms, low, high, partition_id])
        cursor.executemany(
            STORE,
            [stored(partition_id, start, coarse_ms, *name, coarse[start].cells[name]) for start, name in changed],
        )
    return True


def _read(cursor: CursorWrapper, partition_id: int, span_ms: int, low: int, high: int) -> dict[int, Bucket]:
    found: dict[int, Bucket] = defaultdict(Bucket)
    cursor.execute(_OLD, [span_ms, low, high, partition_id])
    for group, start, event_type, *values in cursor.fetchall():
        found[start].put(group, event_type, cell(values))
    return found


def _add(coarse: dict[int, Bucket], fine: dict[int, Bucket], coarse_ms: int) -> dict[tuple[int, Any], None]:
    """Add the fine cells to the coarse ones. Result: which have changed."""
    changed: dict[tuple[int, Any], None] = {}
    for start, bucket in fine.items():
        into = start // coarse_ms * coarse_ms
        for (group, event_type), one in bucket.cells.items():
            name, found = coarse[into].find(group, event_type)
            found.add(one)
            changed[into, name] = None
    return changed
