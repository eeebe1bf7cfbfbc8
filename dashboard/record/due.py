"""What retention removes next, and when that is to be expected: told for people, by the limits that are set.

Only what is old enough is certain; when a number of events or a size is reached is reckoned from the pace at which what
is kept was published. Changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from django.db import connection

from dashboard.models import event_pk
from dashboard.record.limits import Limits, limits, size_used
from dashboard.record.periods import TABLES, stored
from dashboard.sql import rows

_KEPT: Final = (
    "SELECT newest_number - swept_number AS kept, newest_ms, (SELECT event.at_ms FROM dashboard_event event"  # noqa: S608  a constant
    f" WHERE event.id > place.id * {event_pk(1, 0)} + place.swept_number ORDER BY event.id LIMIT 1) AS first_ms"
    " FROM dashboard_partition place WHERE newest_number > swept_number"
)
_SIZE: Final = "SELECT SUM(pg_total_relation_size(inhrelid)) AS size FROM pg_inherits WHERE inhparent IN (%s, %s, %s)"
DAYS: Final = "KEEP_DAYS"
EVENTS: Final = "KEEP_EVENTS"
SIZE: Final = "KEEP_SIZE"


class Filled(NamedTuple):
    """How full a limit is, 1.0: what is beyond it goes. `at_ms`: when it will be reached; None when nobody can tell."""

    limit: str
    share: float
    at_ms: float | None


class Due(NamedTuple):
    """What goes next: events published before `before_ms` (`is_whole`: all of a period at once), because of `limit`."""

    before_ms: int
    at_ms: float
    limit: str
    is_whole: bool


def due() -> tuple[Due | None, list[Filled]]:
    """What goes next, if that can be told, and how full each limit is."""
    now_ms, keep = int(time.time() * 1000), limits()
    kept, oldest_ms, newest_ms = _kept()
    if not kept:
        return None, []
    periods = stored()
    end_ms = periods[0].end_ms if len(periods) > 1 else oldest_ms  # the newest one always stays
    pace = (newest_ms - oldest_ms) / kept  # ms between two events
    filled = [Filled(DAYS, (now_ms - oldest_ms) / keep.span_ms, end_ms + keep.span_ms), *_by_number(kept, keep, pace)]
    at_ms, limit = min((one.at_ms, one.limit) for one in filled if one.at_ms is not None)
    return Due(end_ms, max(at_ms, now_ms), limit, len(periods) > 1), filled


def _by_number(kept: int, keep: Limits, pace: float) -> Iterator[Filled]:
    """How full the limits are that time alone doesn't reach."""
    now_ms = time.time() * 1000
    shares = {EVENTS: kept / keep.events, **({SIZE: _size() / keep.size} if keep.size else {})}
    for limit, share in shares.items():
        left = kept * (1 / share - 1) if share else 0
        yield Filled(limit, share, now_ms + left * pace if share and pace else None)


def _kept() -> tuple[int, int, int]:
    """How many events are kept, and when the oldest and the newest of them were published."""
    found = [row for row in rows(_KEPT) if row["first_ms"] is not None]
    firsts, lasts = ([row[name] for row in found] for name in ("first_ms", "newest_ms"))
    return sum(row["kept"] for row in found), min(firsts, default=0), max(lasts, default=0)


def _size() -> int:
    """Bytes that what retention counts takes up."""
    if connection.vendor != "postgresql":
        return size_used()
    oids = [rows("SELECT CAST(to_regclass(%s) AS bigint) AS oid", [f"dashboard_{table}"])[0]["oid"] for table in TABLES]
    return int(rows(_SIZE, oids)[0]["size"] or 0)
