"""What one database does with a long history: how fast it is written, asked at two sizes, and how large it gets.

A program of its own, since Django has one database a process: `python -m dashboard.bench.filled EVENTS ASKED FILE`
with BUS_URL, BUS_DATA and DATABASE_URL saying where. The figures go to FILE as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import django

PERCENT: Final = 10
_GROUPS_PER_TOPIC: Final = 3

Say = Callable[[str], None]


def main(events: int, asked: int, target: Path) -> None:
    """Fill and ask; progress on standard output."""
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    figures = [*_run(events, asked, lambda line: print(line, flush=True))]
    target.write_text(json.dumps(figures))


def _run(events: int, asked: int, say: Say) -> Iterator[dict[str, Any]]:
    """The figures at a tenth of the events, and at all of them."""
    from dashboard.bench.made_up import TOPICS, History
    from dashboard.record.projection import Projection

    history = History(events, int(time.time() * 1000) - 60_000)
    projection = Projection()
    projection.load()
    projection.add([(topic, 0) for topic in TOPICS])
    empty, spent, stored, records, last = _bytes(), 0.0, 0, 0, (0.0, 0)
    checkpoints = [events // PERCENT, events]
    said = 0
    for chunks in history.reads():
        began = time.perf_counter()
        done = projection.store(chunks)
        spent += time.perf_counter() - began
        stored, records = stored + done.events, records + done.records
        if stored * PERCENT // events > said:
            said = stored * PERCENT // events
            say(f"{stored:,} of {events:,} events stored, {stored / spent:,.0f} a second")
        if checkpoints and stored >= checkpoints[0]:
            since, before = last
            last = spent, stored
            figures = {
                "events": stored,
                "events_per_second": (stored - before) / (spent - since),
                "rows": _rows(),
                "rows_per_event": _rows() / stored,
                "bytes_per_event": (_bytes() - empty) / stored,
            }
            _stand_at(history, len(checkpoints))
            hostile = _hostile() if stored >= events else None
            yield {**figures, "asked": _asked(history, asked, say), "hostile": hostile}
            checkpoints.pop(0)


def _asked(history: Any, count: int, say: Say) -> list[dict[str, Any]]:
    from dashboard.bench.asking import ask_all, quantile

    found = []
    for asked in ask_all(history.samples, count):
        p50, p95, worst = quantile(asked.took_ms, 0.5), quantile(asked.took_ms, 0.95), asked.took_ms[-1]
        say(f"  {asked.name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, at most {worst:.1f} ms")
        found.append(
            {
                "name": asked.name, "indexed": asked.indexed, "times": len(asked.took_ms), "p50_ms": p50,
                "p95_ms": p95, "max_ms": worst, "searched": asked.searched,
                "cpu_p50_ms": quantile(asked.cpu_ms, 0.5), "cpu_p95_ms": quantile(asked.cpu_ms, 0.95),
            }
        )  # fmt: skip
    return found


def _hostile() -> dict[str, Any]:
    """How long hostile queries take to be answered, or refused."""
    from dashboard.bench.hostile_queries import queries
    from dashboard.queries.language import QueryInvalid, parse
    from dashboard.queries.search import search

    took: list[tuple[float, str]] = []
    refused = 0
    for text in queries():
        began = time.perf_counter()
        try:
            search(parse(text))
        except QueryInvalid:
            refused += 1
        took.append(((time.perf_counter() - began) * 1000, text))
    took.sort()
    return {
        "queries": len(took), "answered": len(took) - refused, "refused": refused, "p50_ms": took[len(took) // 2][0],
        "p99_ms": took[int(len(took) * 0.99)][0], "max_ms": took[-1][0], "slowest": ascii(took[-1][1][:60]),
    }  # fmt: skip


def _stand_at(history: Any, name: int) -> None:
    """A bus whose groups have taken everything that was made: what is asked of lanes and lag is as in real life."""
    import bus
    from bus import operations
    from bus.journal import SubscriptionRecord
    from bus.keys import Keys
    from bus.streams import connect
    from dashboard.bench.made_up import TOPICS

    config = bus.configure(prefix=f"bench{name}")
    client = connect(config)
    for topic, groups in TOPICS.items():
        client.run(operations.declare_topic(config.prefix, topic, 1))
        for group in groups:
            keys, start = Keys(config.prefix, topic, 0), history.positions[topic].events
            client.run(operations.subscribe(keys, group, SubscriptionRecord(), start=start, worker="bench"))
    client.close()


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
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
