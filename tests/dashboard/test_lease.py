"""Several recorders on one database: one records, the others wait, and what comes of it is as if there were one."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client as Browser
from django.urls import reverse

from bus.config import from_options
from bus.models import OutboxLease
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client, connect
from dashboard.models import Event, Recording
from dashboard.queries.system import system
from dashboard.recorder import Recorder
from tests.acceptance.processes import manage, running
from tests.conftest import WaitUntil

TABLES = ("event", "delivery", "attempt", "partition", "subscription", "total")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder with a server and a database."""
    done = manage(tmp_path, "migrate")
    assert done.code == 0, done.err
    with EmbeddedServer(tmp_path, durability="relaxed"):
        yield tmp_path


def everything(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(folder / "fanlight.sqlite3")) as database:
        return {
            table: sorted(database.execute(f"SELECT * FROM dashboard_{table}"), key=repr)  # noqa: S608
            for table in TABLES
        }


def stored(folder: Path) -> int:
    return len(everything(folder)["event"])


def test_the_other_recorder_takes_over_within_seconds_of_a_kill(folder: Path, wait_until: WaitUntil) -> None:
    publisher = Publisher(from_options({"data_folder": str(folder)}))

    def publish(count: int) -> None:
        publisher.publish_many([publisher.draft("orders", "order_placed", n, key=str(n)) for n in range(count)])

    with running(folder, "recorder") as first:
        publish(300)
        wait_until(lambda: stored(folder) == 300, seconds=30)
        with running(folder, "recorder") as second:
            second.wait_for_line("waits to take over")
            publish(300)
            first.kill()
            publish(300)
            second.wait_for_line("goes on where another one ended", seconds=30)
            wait_until(lambda: stored(folder) == 900, seconds=30)
            stands_still = everything(folder)
            assert second.stop() == 0
    publisher.close()
    done = manage(folder, "recorder", "--rebuild")
    assert done.code == 0, done.err
    assert everything(folder) == stands_still


def test_a_recorder_that_was_frozen_finds_another_in_its_place_and_waits(folder: Path, wait_until: WaitUntil) -> None:
    publisher = Publisher(from_options({"data_folder": str(folder)}))
    with running(folder, "recorder") as first:
        publisher.publish(publisher.draft("orders", "t", 1))
        wait_until(lambda: stored(folder) == 1, seconds=30)
        with running(folder, "recorder") as second:
            second.wait_for_line("waits to take over")
            first.process.send_signal(signal.SIGSTOP)
            publisher.publish(publisher.draft("orders", "t", 2))
            wait_until(lambda: stored(folder) == 2, seconds=30)
            first.process.send_signal(signal.SIGCONT)
            first.wait_for_line("waits to take over", seconds=30)
            publisher.publish(publisher.draft("orders", "t", 3))
            wait_until(lambda: stored(folder) == 3, seconds=30)
    publisher.close()


@contextmanager
def recording(client: Client) -> Iterator[Recorder]:
    """A recorder in a thread."""
    recorder = Recorder(connect(client.config))

    def run() -> None:
        recorder.run()
        connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_system_says_who_records_and_who_waits(
    bus_client: Client, transactional_db: None, wait_until: WaitUntil
) -> None:
    reader = Browser()
    reader.force_login(User.objects.create_user("ann"))
    with recording(bus_client):
        wait_until(lambda: OutboxLease.objects.exclude(owner="").filter(name="recorder").exists())
        with recording(bus_client):
            wait_until(lambda: Recording.objects.count() == 2)
            told = system()["recorders"]
            assert [bool(row["records"]) for row in told] == [True, False]
            assert told[0]["name"] == OutboxLease.objects.get(name="recorder").owner
            text = reader.get(reverse("system")).content.decode()
            assert text.index("<dt>Records</dt>") < text.index("<dt>Waits</dt>")


def test_a_recorder_that_stops_lets_the_next_one_begin_at_once(
    bus_client: Client, transactional_db: None, publisher: Publisher, wait_until: WaitUntil
) -> None:
    with recording(bus_client) as first:
        wait_until(lambda: OutboxLease.objects.exclude(owner="").filter(name="recorder").exists())
        with recording(bus_client):
            wait_until(lambda: Recording.objects.count() == 2)
            first.stop()
            publisher.publish(publisher.draft("orders", "t", 1))
            wait_until(lambda: Event.objects.count() == 1)
            assert OutboxLease.objects.exclude(owner="").filter(name="recorder").exists()
