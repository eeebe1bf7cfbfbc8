"""Periods: on PostgreSQL events, deliveries and attempts of a stretch of time have tables of their own.

They are native partitions, so that what is old goes at once, not row by row. What falls into no period lies in the
tables `…_other`: times far from now, and what still needs somebody of periods that are gone. So nothing that is
published stops recording, whatever its time. SQLite has plain tables and no periods.

A period is as wide as a day, unless what is kept reaches back so little that days would be too coarse to drop.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from bus.errors import one_line
from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.record.limits import DAY_MS, limits
from dashboard.sql import rows

TABLES: Final = ("event", "delivery", "attempt")
HOUR_MS: Final = 3_600_000
WIDTHS_MS: Final = (DAY_MS, 6 * HOUR_MS, HOUR_MS, HOUR_MS // 6)
LEAST_KEPT: Final = 6  # periods, if they can be narrower: so much less than all that is kept goes at once
MOST: Final = 48  # periods; each query that doesn't know the time looks into all of them
AHEAD_MS: Final = HOUR_MS
MOST_NEW: Final = 8  # periods in one go: a stranger's entries may lie anywhere
MOST_MOVED: Final = 20_000  # rows that lie in a period's way; they are moved while readers wait
FEW_EVENTS: Final = 10_000  # too few to tell how far back what is kept will reach
AGAIN_SECONDS: Final = 5.0
LOCK_WAIT: Final = "SET LOCAL lock_timeout = '300ms'"  # readers queue up behind whoever waits for such a lock

_STORED: Final = (
    "SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = to_regclass('dashboard_event')"
)
_BOUND: Final = re.compile(r"FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)")
_PLACES: Final = "SELECT id, newest_number, swept_number FROM dashboard_partition WHERE newest_number > swept_number"
_FIRST_MS: Final = "SELECT at_ms FROM dashboard_event WHERE id BETWEEN %s AND %s ORDER BY id LIMIT 1"

log = logging.getLogger("dashboard.recorder")


class Period(NamedTuple):
    """From `first_ms` up to `end_ms`, which is the first moment after it."""

    first_ms: int
    end_ms: int

    def table(self, of: str) -> str:
        """The name of its table of events, deliveries or attempts."""
        return f"dashboard_{of}_{time.strftime('%Y%m%d_%H%M', time.gmtime(self.first_ms // 1000))}"

    def __contains__(self, at_ms: object) -> bool:
        return isinstance(at_ms, int) and self.first_ms <= at_ms < self.end_ms


def stored() -> list[Period]:
    """The periods that there are, oldest first."""
    if connection.vendor != "postgresql":
        return []
    found = (_BOUND.search(row["bound"]) for row in rows(_STORED))
    return sorted(Period(int(bound[1]), int(bound[2])) for bound in found if bound)


class Periods:
    """Makes periods before they are needed. Keeps in memory which there are; `load` comes first."""

    def __init__(self) -> None:
        self._known: list[Period] = []
        self._again = 0.0

    def load(self) -> None:
        """Read which there are."""
        self._known = stored()

    def cover(self, moments: Sequence[int]) -> None:
        """Make the periods that these moments lack (in order). Where that can't be now, the rows lie elsewhere."""
        if not moments or connection.vendor != "postgresql" or self._is_one(moments[0], moments[-1]):
            return
        now_ms = int(time.time() * 1000)
        low_ms, high_ms = now_ms - limits().span_ms, now_ms + DAY_MS
        lacking = [at for at in moments if low_ms <= at < high_ms and not any(at in period for period in self._known)]
        if lacking and time.monotonic() >= self._again:
            self._add_all(lacking)

    def ahead(self) -> None:
        """Make what the next hour needs."""
        now_ms = int(time.time() * 1000)
        self.cover([now_ms, now_ms + AHEAD_MS])

    def _is_one(self, first_ms: int, last_ms: int) -> bool:
        """Whether a period holds both; nearly always the newest one does."""
        return any(first_ms in period and last_ms in period for period in reversed(self._known))

    def _add_all(self, moments: Iterable[int]) -> None:
        width_ms, made = width(reach_ms()), 0
        for at_ms in moments:
            if made < MOST_NEW and not any(at_ms in period for period in self._known):
                made += 1
                self._add(self._around(at_ms, width_ms if len(self._known) < MOST else DAY_MS))

    def _around(self, at_ms: int, width_ms: int) -> Period:
        """The period of a moment, between those that there are."""
        first_ms = at_ms - at_ms % width_ms
        before = max((period.end_ms for period in self._known if period.end_ms <= at_ms), default=0)
        after = min((period.first_ms for period in self._known if period.first_ms > at_ms), default=first_ms + width_ms)
        return Period(max(first_ms, before), min(first_ms + width_ms, after))

    def _add(self, period: Period) -> None:
        try:
            if _create(period):
                self._known.append(period)
                return
            why = "too many of its rows are elsewhere already"
        except DatabaseError as error:  # a reader was in the way, or another recorder made it: later, then
            why = one_line(error)
            self.load()
        self._again = time.monotonic() + AGAIN_SECONDS
        log.info("no period of its own yet for %s: %s", period.table("event"), why)


def width(reach_ms: float) -> int:
    """How wide a period should be where what is kept reaches back so far."""
    return next((width_ms for width_ms in WIDTHS_MS if width_ms * LEAST_KEPT <= reach_ms), WIDTHS_MS[-1])


def reach_ms() -> float:
    """How far back the rows will reach when as much is kept as may be."""
    allowed = limits()
    places = rows(_PLACES)
    kept = sum(place["newest_number"] - place["swept_number"] for place in places)
    if kept < FEW_EVENTS:
        return allowed.span_ms
    firsts = [rows(_FIRST_MS, [event_pk(p["id"], 0), event_pk(p["id"], GHOSTS_FROM) - 1]) for p in places]
    first_ms = min((found[0]["at_ms"] for found in firsts if found), default=0)
    return float(min(allowed.span_ms, (time.time() * 1000 - first_ms) * allowed.events / kept))


def _create(period: Period) -> bool:
    """False: too many rows lie where they would have to be moved from. Raises a database error where a lock is held."""
    bounds = [period.first_ms, period.end_ms]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK_WAIT)
        cursor.execute(
            "SELECT COUNT(*) FROM (SELECT 1 FROM dashboard_delivery_other WHERE at_ms >= %s AND at_ms < %s LIMIT %s) x",
            [*bounds, MOST_MOVED + 1],
        )
        if cursor.fetchone()[0] > MOST_MOVED:
            return False
        for table in TABLES:
            _create_table(cursor, table, period)
    return True


def _create_table(cursor: CursorWrapper, table: str, period: Period) -> None:
    """Made aside and then attached: else every reader of the table would have to wait."""
    parent, name = f"dashboard_{table}", period.table(table)
    bounds = f"at_ms >= {period.first_ms} AND at_ms < {period.end_ms}"
    cursor.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)")
    moved = f"DELETE FROM {parent}_other WHERE {bounds} RETURNING *"  # noqa: S608  constants and integers
    cursor.execute(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved")  # noqa: S608  as above
    cursor.execute(
        f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({period.first_ms}) TO ({period.end_ms})"
    )
