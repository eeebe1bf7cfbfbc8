"""What masking costs: the same events recorded with it and without, in alternating pairs.

A program of its own, since Django has one database a process: `python -m dashboard.bench.masked PAIRS EVENTS FILE` with
BUS_URL, BUS_DATA and DATABASE_URL saying where. Every run goes to FILE as JSON. Only here can masking be left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import django

from bus.event import Event
from dashboard.bench.pairs import Run, alternate, timed


def main(pairs: int, events: int, target: Path) -> None:
    """Measure; progress on standard output."""
    django.setup()
    from django.core.management import call_command

    from dashboard.bench.made_up import History

    call_command("migrate", verbosity=0)
    reads = list(History(events, int(time.time() * 1000) - 60_000).reads())

    def masked() -> Run:
        return _recorded(reads, events)

    def unmasked() -> Run:
        with _without_masking():
            return _recorded(reads, events)

    found = alternate(pairs, unmasked, masked)
    print(f"  masked, {found.cpu_ratio} times as fast as without, by processor time", flush=True)
    target.write_text(json.dumps(found.as_json()))


def _recorded(reads: Sequence[Any], events: int) -> Run:
    from dashboard.bench.made_up import TOPICS
    from dashboard.record.projection import Projection

    _clear()
    projection = Projection()
    projection.load()
    projection.add([(topic, 0) for topic in TOPICS])

    def store() -> None:
        for chunks in reads:
            projection.store(chunks)

    return timed(events, store)


@contextmanager
def _without_masking() -> Iterator[None]:
    def cut(events: Sequence[Event], limit: int) -> list[bytes]:
        return [event.raw[:limit] for event in events]

    with patch("dashboard.record.projection.shown_all", cut), patch("dashboard.record.rows.masker", _Nothing):
        yield


class _Nothing:
    """Masks nothing."""

    def text(self, text: str, _name: str = "") -> str:
        return text


def _clear() -> None:
    from django.db import connection

    from dashboard.record.shadow import TABLES

    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM dashboard_{table}")  # noqa: S608  constants


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
