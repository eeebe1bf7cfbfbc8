"""Two that look at the rules, one of them killed: all is found, each once, and raised once. Real processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bus.config import from_options
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from tests.acceptance.processes import manage, running
from tests.conftest import WaitUntil

RULE = {
    "name": "unpaid", "kind": "consequence", "topic": "orders", "group": "*", "threshold": 1, "window_s": 300,
    "least": 20, "hold_s": 0, "severity": "critical", "type": "order_placed", "then_topic": "payments",
    "then_type": "payment_received", "same": "key", "within_s": 1, "enabled": True, "since_ms": 0, "made_by": "",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder with a server, a database and one rule."""
    done = manage(tmp_path, "migrate")
    assert done.code == 0, done.err
    marks = ", ".join("?" * len(RULE))
    columns = ", ".join(f'"{name}"' for name in RULE)
    with closing(sqlite3.connect(tmp_path / "fanlight.sqlite3")) as database, database:
        database.execute("DELETE FROM dashboard_alertrule")
        database.execute(f"INSERT INTO dashboard_alertrule ({columns}) VALUES ({marks})", list(RULE.values()))  # noqa: S608
    with EmbeddedServer(tmp_path, durability="relaxed"):
        yield tmp_path


def asked(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "fanlight.sqlite3", timeout=30)) as database:
        return database.execute(statement).fetchall()


def test_the_other_goes_on_where_a_killed_one_was_and_nothing_is_found_twice(
    folder: Path, wait_until: WaitUntil
) -> None:
    publisher = Publisher(from_options({"data_folder": str(folder)}))

    def publish(first: int, last: int) -> None:
        numbers = range(first, last)
        publisher.publish_many([publisher.draft("orders", "order_placed", n, key=f"o-{n}") for n in numbers])
        paid = [publisher.draft("payments", "payment_received", n, key=f"o-{n}") for n in numbers if n % 3]
        publisher.publish_many(paid)

    def found() -> list[str]:
        return sorted(key for (key,) in asked(folder, "SELECT key FROM dashboard_missing"))

    def expected(last: int) -> list[str]:
        return sorted(f"o-{n}" for n in range(last) if not n % 3)

    with running(folder, "recorder"), running(folder, "alerts") as first:
        publish(0, 300)
        wait_until(lambda: found() == expected(300), seconds=90)
        with running(folder, "alerts"):
            publish(300, 450)
            first.kill()
            publish(450, 600)
            wait_until(lambda: found() == expected(600), seconds=90)
            wait_until(lambda: asked(folder, "SELECT value FROM dashboard_alert") == [(200.0,)], seconds=30)
    assert asked(folder, "SELECT step FROM dashboard_alertstep") == [("raised",)]
    publisher.close()
