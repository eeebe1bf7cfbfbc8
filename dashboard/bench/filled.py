"""Fills one database with a long history, and says how fast it was written and how large it got.

A program of its own, since Django has one database a process: `python -m dashboard.bench.filled EVENTS FILE` with
BUS_URL, BUS_DATA and DATABASE_URL saying where. FILE gets the figures as JSON, and what `asked` needs to ask.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import django

PERCENT: Final = 10


def main(events: int, target: Path) -> None:
    """Fill; progress on standard output. The file is written last: where it lies, the database is whole."""
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    target.write_text(json.dumps(_filled(events)))


def _filled(events: int) -> dict[str, Any]:
    from dashboard.bench.made_up import TOPICS, History
    from dashboard.record.projection import Projection

    history = History(events, int(time.time() * 1000) - 60_000)
    projection = Projection()
    projection.load()
    projection.add([(topic, 0) for topic in TOPICS])
    empty, spent, stored, said = _bytes(), 0.0, 0, 0
    newest: dict[str, str] = {}
    for chunks in history.reads():
        newest.update({chunk.topic: chunk.events[-1].id for chunk in chunks if chunk.events})
        began = time.perf_counter()
        stored += projection.store(chunks).events
        spent += time.perf_counter() - began
        if stored * PERCENT // events > said:
            said = stored * PERCENT // events
            print(f"  {stored:,} of {events:,} events stored, {stored / spent:,.0f} a second", flush=True)
    _analyse()
    rows = _rows()
    figures = {
        "events": stored, "events_per_second": stored / spent, "rows": rows, "rows_per_event": rows / stored,
        "bytes_per_event": (_bytes() - empty) / stored,
    }  # fmt: skip
    ends = {topic: position.events for topic, position in history.positions.items()}
    return {"figures": figures, "samples": asdict(history.samples), "ends": ends, "newest": newest}


def _analyse() -> None:
    """As autovacuum has done within a minute of it; SQLite has nobody who does."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _rows() -> int:
    """Rows of events, deliveries and attempts."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT COUNT(*) FROM dashboard_event) + (SELECT COUNT(*) FROM dashboard_delivery)"
            " + (SELECT COUNT(*) FROM dashboard_attempt)"
        )
        return int(cursor.fetchone()[0])


def _bytes() -> int:
    """What the database takes on disk, indexes and all, once it has put its log away."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return Path(connection.settings_dict["NAME"]).stat().st_size
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
