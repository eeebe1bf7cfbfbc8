"""Old periods go whole, on PostgreSQL: what takes minutes row by row takes a moment, whatever they hold.

What still needs somebody is taken out first and lies in `…_other` from then on. Readers wait for that moment at most;
where one of them is in the way for longer than an instant, it is tried again later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from bus.errors import one_line
from dashboard.models import GHOSTS_FROM, event_pk, number_of
from dashboard.record.limits import Limits
from dashboard.record.periods import LOCK_WAIT, TABLES, Period, stored
from dashboard.sql import rows

MOST_NEEDED: Final = 5_000  # events to be taken out while readers wait; a period with more stays for now
_NEEDED_STATES: Final = "('dead', 'retrying', 'running', 'waiting', 'held', 'replaying')"
_SIZE: Final = "SELECT pg_total_relation_size(CAST(%s AS regclass)) AS size"
_PARTITIONS: Final = "SELECT id, newest_number, swept_number FROM dashboard_partition"
_MOVE_SWEPT: Final = "UPDATE dashboard_partition SET swept_number = %s WHERE id = %s AND swept_number < %s"

log = logging.getLogger("dashboard.recorder")


def drop_old(limits: Limits, now_ms: int) -> int:
    """Drop the periods that are too old, or beyond what is kept, but the newest one. Result: how many."""
    dropped = 0
    every = stored()
    too_large = beyond_size(every, limits.size)
    for period in every[:-1]:
        ends = _ends(period)
        is_old = period.end_ms <= now_ms - limits.span_ms
        if not is_old and period not in too_large and not _is_surplus(ends, limits.events):
            break
        try:
            if _drop(period, ends):
                dropped += 1
        except OperationalError as error:
            log.info("%s is dropped later: %s", period.table("event"), one_line(error))
            break
    return dropped


def beyond_size(periods: Sequence[Period], most: int) -> set[Period]:
    """The periods that are too many when all together may have `most` bytes, 0: any."""
    surplus = set()
    left = most
    for period in reversed(periods) if most else ():
        left -= sum(rows(_SIZE, [period.table(table)])[0]["size"] for table in TABLES)
        if left < 0:
            surplus.add(period)
    return surplus


def _ends(period: Period) -> dict[int, int]:
    """The number of the period's last event, by partition."""
    table = period.table("event")
    found = {}
    for partition in rows(_PARTITIONS):
        between = [event_pk(partition["id"], 0), event_pk(partition["id"], GHOSTS_FROM) - 1]
        [last] = rows(f"SELECT MAX(id) AS id FROM {table} WHERE id BETWEEN %s AND %s", between)  # noqa: S608  our name
        if last["id"] is not None:
            found[partition["id"]] = number_of(last["id"])
    return found


def _is_surplus(ends: dict[int, int], keep_events: int) -> bool:
    """Whether enough is left when everything up to there is gone."""
    left = (row["newest_number"] - max(ends.get(row["id"], 0), row["swept_number"]) for row in rows(_PARTITIONS))
    return bool(sum(left) >= keep_events)


def _drop(period: Period, ends: dict[int, int]) -> bool:
    """False: too much of it still needs somebody. Raises `OperationalError` where a reader is in the way."""
    delivery = period.table("delivery")
    needed = [
        row["event_id"]
        for row in rows(
            f"SELECT DISTINCT event_id FROM {delivery} WHERE NOT (state = 'succeeded')"  # noqa: S608  our name
            f" AND state IN {_NEEDED_STATES} LIMIT %s",
            [MOST_NEEDED + 1],
        )
    ]
    if len(needed) > MOST_NEEDED:
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK_WAIT)
        for table in TABLES:
            cursor.execute(f"ALTER TABLE dashboard_{table} DETACH PARTITION {period.table(table)}")
        for table in TABLES:
            _take_out(cursor, table, period, needed)
        for partition_id, number in ends.items():
            cursor.execute(_MOVE_SWEPT, [number, partition_id, number])
    log.info("dropped %s; %d events of it still need somebody and stay", period.table("event"), len(needed))
    return True


def _take_out(cursor: CursorWrapper, table: str, period: Period, needed: list[int]) -> None:
    column = "id" if table == "event" else "event_id"
    if needed:
        cursor.execute(
            f"INSERT INTO dashboard_{table} SELECT * FROM {period.table(table)} WHERE {column} = ANY(%s)",  # noqa: S608
            [needed],
        )
    cursor.execute(f"DROP TABLE {period.table(table)}")
