"""Tables beside those in use: filled while everybody reads the old ones, then put in their place in one transaction.

Within `Shadow.filling()` every statement of the recorder means the tables beside: the same SQL, `rebuilt_…` instead of
`dashboard_…`. Indexes that filling doesn't need come last. Knows no Redis and not what the rows mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from dashboard.record.periods import TABLES as DIVIDED
from dashboard.sql import rows

TABLES: Final = (  # partitions last, since others refer to them
    "attempt", "delivery", "event", "rewind", "subscription", "tally", "total", "rollup", "workerversion", "partition",
)  # fmt: skip
# Tables of the record that no stream tells, so that nobody can make them anew: a rebuild leaves them as they are.
KEPT: Final = {
    "lagsample": "lag is measured every ten seconds, and nothing tells it afterwards",
    "recording": "which recorders run now; each says so itself",
}
_NAMES: Final = re.compile(rf"\bdashboard_(?=(?:{'|'.join(TABLES)})(?:_|\b))")
_SWAP_WAIT: Final = "SET LOCAL lock_timeout = '2s'"
# Ours and those of periods, the divided ones last: with them go their periods.
_BESIDE: Final = (
    "SELECT c.relname AS name FROM pg_class c WHERE c.relname ~ '^rebuilt_' AND c.relkind IN ('r', 'p')"
    " AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relispartition, c.relname"
)
_CONSTRAINTS: Final = (
    "SELECT conname AS name, contype AS kind, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
    " WHERE conrelid = to_regclass(%s) AND contype IN ('p', 'u', 'f') ORDER BY contype DESC"
)
_INDEXES: Final = (
    "SELECT i.indexname AS name, i.indexdef AS definition FROM pg_indexes i WHERE i.schemaname = current_schema()"
    " AND i.tablename = %s AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname"
    " AND c.conrelid = to_regclass(%s))"
)


def beside(sql: str) -> str:
    """The statement as it is for the tables beside."""
    return _NAMES.sub("rebuilt_", sql)


class Shadow:
    """The tables beside, one set at a time."""

    def __init__(self) -> None:
        self._is_postgres = connection.vendor == "postgresql"

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Statements of this thread mean the tables beside."""

        def redirect(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            return execute(beside(sql), *rest)

        with connection.execute_wrapper(redirect):
            yield

    def create(self) -> None:
        """Make them, empty but for the partitions, which keep their ids."""
        self.drop()
        with transaction.atomic(), connection.cursor() as cursor:
            for table in reversed(TABLES):  # partitions first: others refer to them
                (self._create_postgres if self._is_postgres else self._create_sqlite)(cursor, table)
            cursor.execute("INSERT INTO rebuilt_partition SELECT * FROM dashboard_partition")

    def drop(self) -> None:
        """Forget them, also those that an earlier rebuild left behind."""
        with transaction.atomic(), connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE IF EXISTS rebuilt_{table}")

    def swap(self) -> None:
        """Put them in the place of the tables in use. Raises `OperationalError` where a reader is in the way."""
        with transaction.atomic(), connection.cursor() as cursor:
            if self._is_postgres:
                cursor.execute(_SWAP_WAIT)
                self._swap_postgres(cursor)
            else:
                self._swap_sqlite(cursor)

    def finish(self) -> None:
        """Build the indexes that filling did without; on SQLite they need their own names, so `swap` does it."""
        if self._is_postgres:
            with transaction.atomic(), connection.cursor() as cursor:
                for table in TABLES:
                    for index in rows(_INDEXES, [f"dashboard_{table}", f"dashboard_{table}"]):
                        kind, _, place = index["definition"].partition(" ON ")
                        unique = "UNIQUE " * kind.startswith("CREATE UNIQUE")
                        name = f'"rebuilt_{index["name"]}"'
                        cursor.execute(f"CREATE {unique}INDEX {name} ON {beside(place.removeprefix('ONLY '))}")
                    cursor.execute(f"ANALYZE rebuilt_{table}")

    def _create_sqlite(self, cursor: CursorWrapper, table: str) -> None:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [f"dashboard_{table}"])
        cursor.execute(beside(cursor.fetchone()[0]))

    def _swap_sqlite(self, cursor: CursorWrapper) -> None:
        names = ", ".join(f"'dashboard_{table}'" for table in TABLES)
        cursor.execute(f"SELECT sql FROM sqlite_master WHERE type = 'index' AND sql > '' AND tbl_name IN ({names})")  # noqa: S608
        indexes = [row[0] for row in cursor.fetchall()]
        for table in TABLES:
            cursor.execute(f"DROP TABLE dashboard_{table}")
        for table in reversed(TABLES):
            cursor.execute(f"ALTER TABLE rebuilt_{table} RENAME TO dashboard_{table}")
        for index in indexes:
            cursor.execute(index)

    def _create_postgres(self, cursor: CursorWrapper, table: str) -> None:
        like = f"LIKE dashboard_{table} INCLUDING DEFAULTS INCLUDING IDENTITY"
        divided = " PARTITION BY RANGE (at_ms)" if table in DIVIDED else ""
        cursor.execute(f"CREATE TABLE rebuilt_{table} ({like}){divided}")
        if divided:
            cursor.execute(f"CREATE TABLE rebuilt_{table}_other PARTITION OF rebuilt_{table} DEFAULT")
        for found in rows(_CONSTRAINTS, [f"dashboard_{table}"]):
            if found["kind"] != "f":
                name = f'"rebuilt_{found["name"]}"'
                cursor.execute(f"ALTER TABLE rebuilt_{table} ADD CONSTRAINT {name} {found['definition']}")

    def _swap_postgres(self, cursor: CursorWrapper) -> None:
        foreign = [
            f'ALTER TABLE dashboard_{table} ADD CONSTRAINT "{found["name"]}" {found["definition"]}'
            for table in TABLES
            for found in rows(_CONSTRAINTS, [f"dashboard_{table}"])
            if found["kind"] == "f"
        ]
        for table in TABLES:
            cursor.execute(f"DROP TABLE dashboard_{table}")
        for table in TABLES:
            for found in rows(_CONSTRAINTS, [f"rebuilt_{table}"]):
                name = found["name"].removeprefix("rebuilt_")
                cursor.execute(f'ALTER TABLE rebuilt_{table} RENAME CONSTRAINT "{found["name"]}" TO "{name}"')
            for index in rows(_INDEXES, [f"rebuilt_{table}", f"rebuilt_{table}"]):
                cursor.execute(f'ALTER INDEX "{index["name"]}" RENAME TO "{index["name"].removeprefix("rebuilt_")}"')
        for beside_one in rows(_BESIDE):
            name = beside_one["name"]
            cursor.execute(f"ALTER TABLE {name} RENAME TO dashboard_{name.removeprefix('rebuilt_')}")
        for statement in foreign:
            cursor.execute(statement)
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('dashboard_partition', 'id'),"
            " GREATEST((SELECT COALESCE(MAX(id), 1) FROM dashboard_partition), 1))"
        )
