"""How much the read model keeps, as the settings say it, and how large it is."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection

from dashboard.sql import rows

TROUBLE_TIMES: Final = 10  # what still needs somebody stays so many times as long
DAY_MS: Final = 86_400_000
LEAST_EVENTS: Final = 50_000  # stay, whatever the size says: what is used right now is among them
_STORED: Final = "SELECT COALESCE(SUM(newest_number - swept_number), 0) AS count FROM dashboard_partition"


class Limits(NamedTuple):
    """What goes beyond any of these is removed, the oldest first. `size`: bytes of the whole database, 0: any."""

    events: int
    days: float
    size: int = 0

    @property
    def span_ms(self) -> int:
        return int(self.days * DAY_MS)

    @property
    def trouble_ms(self) -> int:
        """How long events stay that still need somebody."""
        return self.span_ms * TROUBLE_TIMES


def limits() -> Limits:
    """Those that are set."""
    return Limits(settings.KEEP_EVENTS, settings.KEEP_DAYS, settings.KEEP_SIZE)


def in_force() -> Limits:
    """The limits, that of the size told as events: so many as fit, when they go on being as large as they are.

    Not on PostgreSQL, where deleted rows free no space that could be measured: there whole periods count (`dropping`).
    """
    said = limits()
    if connection.vendor == "postgresql":
        return said._replace(size=0)
    stored = int(rows(_STORED)[0]["count"])
    if not said.size or not stored or (used := size_used()) <= said.size:
        return said
    return said._replace(events=min(said.events, max(stored * said.size // used, LEAST_EVENTS)))


def size_used() -> int:
    """Bytes that rows take up on SQLite, without the pages that wait to be used again: a file never shrinks."""
    [free], [every], [page] = (
        next(iter(rows(f"PRAGMA {name}"))).values() for name in ("freelist_count", "page_count", "page_size")
    )
    return int((every - free) * page)


def size_on_disk() -> int | None:
    """Bytes that the database takes up; None when it is in memory."""
    if connection.vendor == "postgresql":
        return int(rows("SELECT pg_database_size(current_database()) AS size")[0]["size"])
    name = str(connection.settings_dict["NAME"])
    files = [path for path in (name, f"{name}-wal") if os.path.exists(path)]
    return sum(os.path.getsize(path) for path in files) if files else None
