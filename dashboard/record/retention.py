"""How long the read model remembers: at most so many events, for so many days, removed a little at a time.

An event that still needs somebody (dead, retrying, held) stays ten times as long. Cursors, totals and the numbers of
events are never touched, so counts stay exact.
"""

from __future__ import annotations

import time
from typing import Final

from django.db import connection, transaction

from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.record.batch import TALLY_KEPT_MS
from dashboard.record.dropping import drop_old
from dashboard.record.limits import Limits, in_force, limits
from dashboard.record.periods import stored
from dashboard.record.rates import bucket_of
from dashboard.sql import rows, spread

CHUNK: Final = 500
_SLACK: Final = 1.25  # of what is kept, or days: so much more is there at times where whole periods go
_NEEDED: Final = "('dead', 'retrying', 'running', 'waiting', 'held', 'replaying')"

_NEEDED_EVENTS: Final = (
    f"SELECT DISTINCT event_id FROM dashboard_delivery WHERE event_id BETWEEN %s AND %s AND state IN {_NEEDED}"  # noqa: S608  a constant
)
_PARTITIONS: Final = "SELECT id, newest_number, swept_number FROM dashboard_partition"
_OLD_LEFTOVERS: Final = "SELECT id FROM dashboard_event WHERE id BETWEEN %s AND %s AND at_ms < %s ORDER BY id LIMIT %s"
_FIRST_AT: Final = "SELECT at_ms FROM dashboard_event WHERE id BETWEEN %s AND %s ORDER BY id LIMIT 1"
_DELETE: Final = (
    "DELETE FROM dashboard_attempt WHERE event_id IN (…)",
    "DELETE FROM dashboard_delivery WHERE event_id IN (…)",
    "DELETE FROM dashboard_event WHERE id IN (…)",
)
_DELETE_TALLIES: Final = "DELETE FROM dashboard_tally WHERE bucket < %s"
_DELETE_SUBSCRIPTIONS: Final = (
    "DELETE FROM dashboard_subscription WHERE since_ms < %s"
    ' AND id NOT IN (SELECT MAX(id) FROM dashboard_subscription GROUP BY partition_id, "group")'
)
_MOVE_SWEPT: Final = "UPDATE dashboard_partition SET swept_number = %s WHERE id = %s AND swept_number < %s"


def drop_periods() -> int:
    """Drop whole periods where there are any (`dropping`). Result: how many."""
    return drop_old(limits(), int(time.time() * 1000))


def by_row() -> Limits:
    """Beyond which events are removed one by one: where whole periods go, only what that doesn't reach."""
    keep = in_force()
    return keep._replace(events=int(keep.events * _SLACK), days=keep.days + _SLACK) if stored() else keep


def sweep(*, keep: Limits | None = None, chunks: int = 4) -> int:
    """Remove up to `chunks` portions of what is too old or too much. Result: how many events were passed over.

    A result of 0 means that there is nothing more to do now.
    """
    now_ms, keep = int(time.time() * 1000), keep or by_row()
    passed = 0
    for _ in range(chunks):
        portion = _next_portion(now_ms - keep.span_ms, keep.events)
        if portion is None:
            break
        passed += _sweep_portion(*portion)
    return passed


def sweep_leftovers(*, keep: Limits | None = None) -> None:
    """Remove what stayed longer because it needed somebody, ghosts, subscriptions long replaced, and old counts."""
    now_ms = int(time.time() * 1000)
    horizon_ms = now_ms - (keep or limits()).trouble_ms
    for partition in rows(_PARTITIONS):
        start, end = event_pk(partition["id"], 0), event_pk(partition["id"], partition["swept_number"])
        ghosts = event_pk(partition["id"], GHOSTS_FROM), event_pk(partition["id"] + 1, 0) - 1
        _delete(_ids(start, end, horizon_ms))
        _delete(_ids(*ghosts, horizon_ms))
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_SUBSCRIPTIONS, [horizon_ms])
        cursor.execute(_DELETE_TALLIES, [bucket_of(now_ms - TALLY_KEPT_MS)])


def _next_portion(horizon_ms: int, keep_events: int) -> tuple[int, int, int] | None:
    """Partition id, first and last number of what should go next."""
    partitions = rows(_PARTITIONS)
    stored = {row["id"]: row["newest_number"] - row["swept_number"] for row in partitions}
    surplus = sum(stored.values()) - keep_events
    for row in sorted(partitions, key=lambda row: -stored[row["id"]]):
        first, last = row["swept_number"] + 1, min(row["swept_number"] + CHUNK, row["newest_number"])
        if last < first:
            continue
        if surplus > 0:
            return row["id"], first, min(last, first + surplus - 1)
        if _at_ms(row["id"], last) < horizon_ms:
            return row["id"], first, last
    return None


def _at_ms(partition_id: int, number: int) -> int:
    """When the first event from `number` on was published."""
    found = rows(_FIRST_AT, [event_pk(partition_id, number), event_pk(partition_id, GHOSTS_FROM) - 1])
    return int(found[0]["at_ms"]) if found else 0


def _sweep_portion(partition_id: int, first: int, last: int) -> int:
    start, end = event_pk(partition_id, first), event_pk(partition_id, last)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_NEEDED_EVENTS, [start, end])
        needed = {row[0] for row in cursor.fetchall()}
        _delete([pk for pk in range(start, end + 1) if pk not in needed])
        cursor.execute(_MOVE_SWEPT, [last, partition_id, last])
    return last - first + 1


def _ids(start: int, end: int, horizon_ms: int) -> list[int]:
    return [row["id"] for row in rows(_OLD_LEFTOVERS, [start, end, horizon_ms, CHUNK])]


def _delete(ids: list[int]) -> None:
    if ids:
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in _DELETE:
                cursor.execute(spread(statement, len(ids)), ids)
