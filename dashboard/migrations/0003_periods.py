"""Events, deliveries and attempts divided by time: on PostgreSQL by native partitions, one a day to begin with.

On PostgreSQL what is stored is copied, in the one transaction of the migration: about twice the tables' size of disk
until it ends. On SQLite two columns are added and filled in.
"""

# ruff: noqa: RUF012  lists are the form that Django writes and compares
# ruff: noqa: S608  SQL of constants

import time
from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper

DAY_MS = 86_400_000
KEPT_DAYS = 7
TABLES = {
    "event": (
        "ADD PRIMARY KEY (id, at_ms)",
        "ADD CONSTRAINT event_entry_once UNIQUE (partition_id, entry, epoch, at_ms)",
    ),
    "delivery": ('ADD PRIMARY KEY (event_id, "group", at_ms)',),
    "attempt": ('ADD PRIMARY KEY (event_id, "group", place, at_ms)',),
}
INDEXES = (
    "event_by_id ON dashboard_event (event_id, id)",
    "event_by_trace ON dashboard_event (correlation_id, at_ms)",
    "event_by_type ON dashboard_event (type, id)",
    "event_by_key ON dashboard_event (key, id) WHERE NOT (key = '')",
    "event_by_cause ON dashboard_event (cause_id) WHERE NOT (cause_id = '')",
    "delivery_by_trouble ON dashboard_delivery (state, event_id, \"group\") WHERE NOT (state = 'succeeded')",
    "attempt_by_time ON dashboard_attempt (ended_ms) WHERE NOT (step = 2)",
)


def forwards(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            divide(cursor)
        else:
            add_times(cursor)


def add_times(cursor: CursorWrapper) -> None:
    for table in ("delivery", "attempt"):
        cursor.execute(f"ALTER TABLE dashboard_{table} ADD COLUMN at_ms bigint NOT NULL DEFAULT 0")
        cursor.execute(
            f"UPDATE dashboard_{table} SET at_ms ="
            f" COALESCE((SELECT event.at_ms FROM dashboard_event event WHERE event.id = dashboard_{table}.event_id), 0)"
        )


def divide(cursor: CursorWrapper) -> None:
    """Indexes come last: to build them of all rows at once takes a fraction of the time."""
    for table in TABLES:
        cursor.execute(f"ALTER TABLE dashboard_{table} RENAME TO dashboard_{table}_before")
        column = "" if table == "event" else ", at_ms bigint NOT NULL"
        like = f"LIKE dashboard_{table}_before INCLUDING DEFAULTS"
        cursor.execute(f"CREATE TABLE dashboard_{table} ({like}{column}) PARTITION BY RANGE (at_ms)")
        cursor.execute(f"CREATE TABLE dashboard_{table}_other PARTITION OF dashboard_{table} DEFAULT")
    for first_ms in days_with_events(cursor):
        add_day(cursor, first_ms)
    cursor.execute("INSERT INTO dashboard_event SELECT * FROM dashboard_event_before")
    for table in ("delivery", "attempt"):
        cursor.execute(
            f"INSERT INTO dashboard_{table} SELECT it.*, COALESCE(event.at_ms, 0)"
            f" FROM dashboard_{table}_before it LEFT JOIN dashboard_event_before event ON event.id = it.event_id"
        )
    for table, constraints in TABLES.items():
        cursor.execute(f"DROP TABLE dashboard_{table}_before")
        for constraint in constraints:
            cursor.execute(f"ALTER TABLE dashboard_{table} {constraint}")
    for index in INDEXES:
        cursor.execute(f"CREATE INDEX {index}")
    for table in TABLES:
        cursor.execute(f"ANALYZE dashboard_{table}")


def days_with_events(cursor: CursorWrapper) -> list[int]:
    """Where each day of the week that is kept begins, as far as there are events of it; what is odd lies elsewhere."""
    now_ms = int(time.time() * 1000)
    cursor.execute(
        "SELECT DISTINCT at_ms / %s FROM dashboard_event_before WHERE at_ms BETWEEN %s AND %s ORDER BY 1",
        [DAY_MS, now_ms - KEPT_DAYS * DAY_MS, now_ms + DAY_MS],
    )
    return [row[0] * DAY_MS for row in cursor.fetchall()]


def add_day(cursor: CursorWrapper, first_ms: int) -> None:
    name = time.strftime("%Y%m%d_%H%M", time.gmtime(first_ms // 1000))
    for table in TABLES:
        cursor.execute(
            f"CREATE TABLE dashboard_{table}_{name} PARTITION OF dashboard_{table}"
            f" FOR VALUES FROM ({first_ms}) TO ({first_ms + DAY_MS})"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0002_rewinds"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(forwards)],
            state_operations=[
                migrations.AddField("delivery", "at_ms", models.BigIntegerField(), preserve_default=False),
                migrations.AddField("attempt", "at_ms", models.BigIntegerField(), preserve_default=False),
            ],
        ),
    ]
