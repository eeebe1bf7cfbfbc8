"""What it does to rows that a group's position is moved: back, its deliveries begin anew; forth, some never come.

One or two statements over a range of the partition, whatever its size. Knows no Redis.
"""

from __future__ import annotations

from typing import Final

from django.db.backends.utils import CursorWrapper

from bus.journal import Control
from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.record.subscriptions import Subscribed, order_of

PASSED_OVER: Final = "its group was moved past it"
_FIRST_AFTER: Final = (
    "SELECT id FROM dashboard_event WHERE id BETWEEN %s AND %s AND (at_ms > %s OR (at_ms = %s AND at_seq > %s))"
    " ORDER BY id LIMIT 1"
)
_TRIMMED: Final = "SELECT trimmed_number FROM dashboard_partition WHERE id = %s"
_BEGIN_ANEW: Final = (
    "UPDATE dashboard_delivery SET state = 'waiting', attempt = 0, worker = '', due_ms = NULL, started_ms = NULL,"
    " settled_ms = NULL, error = '', fingerprint = '', moved_ms = %s"
    " WHERE event_id BETWEEN %s AND %s AND \"group\" = %s AND state <> 'lost'"
)
_SKIP_BETWEEN: Final = (
    "UPDATE dashboard_delivery SET state = 'skipped', error = %s, settled_ms = %s, moved_ms = %s"
    " WHERE event_id BETWEEN %s AND %s AND \"group\" = %s AND state = 'waiting'"
)
_SKIP_UNTOUCHED: Final = (
    'INSERT INTO dashboard_delivery (event_id, at_ms, "group", state, attempt, ended, worker, settled_ms, duration_us,'
    " error, fingerprint, moved_ms) SELECT id, at_ms, %s, 'skipped', 0, 0, '', %s, 0, %s, '', %s FROM dashboard_event"
    " WHERE id BETWEEN %s AND %s"
)


def store(
    cursor: CursorWrapper, partition_id: int, group: str, control: Control, *, at_ms: int, said: Subscribed | None
) -> None:
    """Move the group's deliveries as the journal says. `said`: its subscription, for the types that it takes."""
    cursor.execute(_TRIMMED, [partition_id])
    low = event_pk(partition_id, cursor.fetchone()[0] + 1)
    high = event_pk(partition_id, GHOSTS_FROM) - 1
    before, after = (_first_after(cursor, low, high, entry) for entry in (control.before, control.after))
    if order_of(control.after) < order_of(control.before):
        cursor.execute(_BEGIN_ANEW, [at_ms, after, high, group])
        return
    between = [before, after - 1]
    cursor.execute(_SKIP_BETWEEN, [PASSED_OVER, at_ms, at_ms, *between, group])
    values: list[str | int] = [group, at_ms, PASSED_OVER, at_ms, *between]
    statement, values = _of_types(said, values)
    cursor.execute(statement, values)


def _of_types(said: Subscribed | None, values: list[str | int]) -> tuple[str, list[str | int]]:
    """Only events of types that the group takes never come to it; the others would not have come anyway."""
    if said is None or said.types is None:
        return f"{_SKIP_UNTOUCHED} ON CONFLICT DO NOTHING", values
    names = sorted(said.types)
    marks = ", ".join(["%s"] * len(names)) or "NULL"
    return f"{_SKIP_UNTOUCHED} AND type IN ({marks}) ON CONFLICT DO NOTHING", [*values, *names]


def _first_after(cursor: CursorWrapper, low: int, high: int, entry: str) -> int:
    """Primary key of the partition's first event after an entry; one beyond all of them when there is none."""
    ms, sequence = order_of(entry)
    cursor.execute(_FIRST_AFTER, [low, high, ms, ms, sequence])
    found = cursor.fetchone()
    return int(found[0]) if found else high + 1
