"""Effects: rows that handlers write into Django's default database, each to come once; and dying of it."""

from __future__ import annotations

import os
import signal
from typing import Final, NamedTuple

import bus

_CREATE: Final = (
    'CREATE TABLE faults_effect (id {serial}, "group" varchar(100) NOT NULL, event_id varchar(100) NOT NULL,'
    " event_key varchar(100) NOT NULL, number integer NOT NULL)"
)
_SERIAL: Final = {"sqlite": "integer PRIMARY KEY AUTOINCREMENT", "postgresql": "bigserial PRIMARY KEY"}
_INSERT: Final = 'INSERT INTO faults_effect ("group", event_id, event_key, number) VALUES (%s, %s, %s, %s)'
SELECT: Final = 'SELECT "group", event_id, event_key, number FROM faults_effect ORDER BY id'


class Effect(NamedTuple):
    """What a handler wrote."""

    group: str
    event_id: str
    key: str
    number: int


def make_table() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_CREATE.format(serial=_SERIAL[connection.vendor]))


def write(group: str, event: bus.Event, *, dies: bool = False) -> None:
    """Write a row in a transaction. `dies`: the worker is killed by its commit, before it can settle."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_INSERT, [group, event.id, event.key or "", event.data["number"]])
        if dies:
            transaction.on_commit(die)


def written() -> list[Effect]:
    """All of them, in the order of the writing."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(SELECT)
        return [Effect(*row) for row in cursor.fetchall()]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
