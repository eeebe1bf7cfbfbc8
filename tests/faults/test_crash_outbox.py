"""Where a transaction's event can be when something dies: the rows of the crash table, with real processes.

In every row: no event without its commit, no commit without its event, and no second effect.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User as Effect  # any table will do
from django.db import connections, transaction

from bus import outbox, tail
from bus.config import Config
from bus.event import Event
from bus.keys import Keys
from bus.models import OutboxEntry
from bus.relay import Relay
from bus.server import EmbeddedServer, find_binary
from bus.streams import connect
from bus.subscription import Subscription
from bus.tail import Position
from bus.wire import Operation
from dashboard.recorder import Recorder
from tests.acceptance.processes import ROOT, Running, manage
from tests.bus.swallower import Swallower
from tests.conftest import RunWorker, WaitUntil
from tests.servers import Server

OUTBOX = {"DJANGO_SETTINGS_MODULE": "tests.faults.outbox_settings", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder) as started:
        assert manage(folder, "migrate", "--verbosity", "0", extra=OUTBOX).code == 0
        yield started


def till(folder: Path, moment: str, number: int) -> Running:
    command = [sys.executable, str(ROOT / "tests/faults/till.py"), moment, str(number)]
    return Running(command, folder=folder, cwd=ROOT, extra=OUTBOX)


def relay(folder: Path, **extra: str) -> Running:
    return Running([sys.executable, "manage.py", "relay"], folder=folder, cwd=ROOT, extra={**OUTBOX, **extra})


def events(folder: Path) -> list[Event]:
    config = Config(data_folder=folder)
    client = connect(config)
    chunks = client.run(tail.read(config.prefix, {("payments", 0): Position()}, block_ms=None))
    client.close()
    return [event for chunk in chunks for event in chunk.events]


def numbers(folder: Path) -> list[Any]:
    return [event.data for event in events(folder)]


def rows(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(folder / "fanlight.sqlite3", timeout=20) as database:
        return [row[0] for row in database.execute(query)]


def states(folder: Path) -> list[str]:
    return rows(folder, "SELECT state FROM bus_outboxentry ORDER BY id")


def payments(folder: Path) -> list[str]:
    return rows(folder, "SELECT username FROM auth_user ORDER BY id")


def commit(folder: Path, number: int) -> None:
    """A transaction that commits, of a program that dies at once."""
    with till(folder, "after", number) as program:
        program.wait_for_line("committed")
        program.kill()


def test_the_app_dies_before_the_commit_and_there_is_no_row_and_no_event(
    server: EmbeddedServer, folder: Path, wait_until: WaitUntil
) -> None:
    with relay(folder) as running, till(folder, "before", 1) as program:
        program.wait_for_line("not committed")
        program.kill()
        commit(folder, 2)
        wait_until(lambda: 2 in numbers(folder), seconds=30)
        assert running.stop() == 0
    assert (payments(folder), numbers(folder), states(folder)) == (["payment 2"], [2], ["sent"])


def test_the_app_dies_after_the_commit_before_the_relay_and_the_relay_sends(
    server: EmbeddedServer, folder: Path, wait_until: WaitUntil
) -> None:
    commit(folder, 1)
    assert (payments(folder), numbers(folder), states(folder)) == (["payment 1"], [], ["new"])
    with relay(folder):
        wait_until(lambda: states(folder) == ["sent"], seconds=30)
    assert numbers(folder) == [1]


def test_the_relays_reply_is_lost_and_there_is_one_entry(
    server: EmbeddedServer, folder: Path, wait_until: WaitUntil
) -> None:
    between = Swallower(server.url)
    with relay(folder, BUS_URL=between.url) as running:
        commit(folder, 1)
        wait_until(lambda: states(folder) == ["sent"], seconds=30, what="a relay that is connected")
        between.swallow.set()
        commit(folder, 2)
        wait_until(lambda: numbers(folder) == [1, 2], seconds=30)
        running.wait_for_line("the outbox waits")
        assert states(folder) == ["sent", "new"]
        between.swallow.clear()
        wait_until(lambda: states(folder) == ["sent", "sent"], seconds=30)
        running.wait_for_line("publishing again")
    between.close()
    assert numbers(folder) == [1, 2]
    assert rows(folder, "SELECT entry FROM bus_outboxentry ORDER BY id") == [event.entry for event in events(folder)]


def test_the_relay_is_dead_before_marking_and_there_is_one_entry(
    server: EmbeddedServer, folder: Path, wait_until: WaitUntil
) -> None:
    between = Swallower(server.url)
    with relay(folder, BUS_URL=between.url) as running:
        commit(folder, 1)
        wait_until(lambda: states(folder) == ["sent"], seconds=30, what="a relay that is connected")
        between.swallow.set()  # it never hears of its success, so it is killed before it can mark it
        commit(folder, 2)
        wait_until(lambda: numbers(folder) == [1, 2], seconds=30)
        running.kill()
    between.close()
    assert states(folder) == ["sent", "new"]
    with relay(folder):
        wait_until(lambda: states(folder) == ["sent", "sent"], seconds=30)
    assert numbers(folder) == [1, 2]


def test_a_killed_server_is_outlived_by_the_relay(server: EmbeddedServer, folder: Path, wait_until: WaitUntil) -> None:
    with relay(folder) as running:
        running.wait_for_line("publishes what transactions leave")
        commit(folder, 1)
        wait_until(lambda: states(folder) == ["sent"], seconds=30)
        server._process.kill()  # type: ignore[union-attr]
        wait_until(server.has_crashed)
        commit(folder, 2)
        running.wait_for_line("the outbox waits")
        server.start()
        wait_until(lambda: states(folder) == ["sent", "sent"], seconds=30)
        assert running.stop() == 0
        running.wait_for_line("has stopped")
    assert numbers(folder) == [1, 2]


@pytest.fixture
def config(server_url: str, tmp_path: Path) -> Config:
    prefix = f"f{uuid4().hex[:8]}"
    return Config(url=server_url, data_folder=tmp_path, prefix=prefix, source="tests", outbox=True, lease_seconds=1)


def write(config: Config, number: int) -> str:
    """Publish a number in a transaction. Result: the event's id."""
    publisher = outbox.publisher_of(config)
    with transaction.atomic():
        event = publisher.publish(publisher.draft("payments", "paid", number, key="o-1"))
    publisher.close()
    return event.id


@contextmanager
def relayed(config: Config, *, recorded: bool = False) -> Iterator[None]:
    """A relay, and perhaps a recorder, until the block ends."""
    programs: list[Relay | Recorder] = [Relay(config, resend_seconds=0.1)]
    if recorded:
        programs.append(Recorder(connect(config)))
    threads = [threading.Thread(target=_run, args=(program,), daemon=True) for program in programs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for program, thread in zip(programs, threads, strict=True):
            program.stop()
            thread.join(10)
            assert not thread.is_alive()


def _run(program: Relay | Recorder) -> None:
    program.run()
    connections.close_all()  # of this thread


def on_server(config: Config) -> list[Any]:
    client = connect(config)
    chunks = client.run(tail.read(config.prefix, {("payments", 0): Position()}, block_ms=None))
    client.close()
    return [event.data for chunk in chunks for event in chunk.events]


def count(state: str) -> int:
    return OutboxEntry.objects.filter(state=state).count()


@pytest.mark.django_db(transaction=True)
def test_the_dedupe_window_has_passed_and_the_second_entry_is_stopped_by_the_inbox(
    config: Config, run_worker: RunWorker, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bus.inbox")

    def book(event: Event) -> None:
        Effect.objects.create(username=f"booked {event.data}")

    with run_worker(Subscription("payments", "ledger", book, inbox=True)), relayed(config):
        event_id = write(config, 1)
        wait_until(lambda: Effect.objects.count() == 1 and count("sent") == 1)
        forget(config, event_id)  # as time does
        wait_until(lambda: on_server(config) == [1, 1])
        wait_until(lambda: any("its effects are not repeated" in text for text in caplog.messages))
        write(config, 2)
        wait_until(lambda: Effect.objects.count() == 2)
    assert sorted(effect.username for effect in Effect.objects.all()) == ["booked 1", "booked 2"]


def forget(config: Config, event_id: str) -> None:
    client = connect(config)
    client.run(Operation([(b"DEL", Keys(config.prefix, "payments", 0).seen(event_id))], lambda _: None))
    client.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("recorded", [False, True], ids=["before it is recorded", "after it was recorded"])
def test_the_server_dies_after_its_reply_under_relaxed_and_the_confirm_loop_sends_again(
    tmp_path: Path, wait_until: WaitUntil, recorded: bool
) -> None:
    """Its log is older than what it acknowledged, as after a power cut."""
    server = Server(find_binary(), tmp_path / "s", appendfsync="everysec").start()
    config = Config(url=server.url, data_folder=tmp_path, prefix="f", outbox=True, lease_seconds=1)
    log, older = tmp_path / "s" / "appendonlydir", tmp_path / "older"
    write(config, 1)
    with relayed(config, recorded=True):
        wait_until(lambda: count("confirmed") == 1)
        shutil.copytree(log, older)
    write(config, 2)
    with relayed(config, recorded=recorded):
        wait_until(lambda: count("confirmed" if recorded else "sent") == (2 if recorded else 1))
    server.kill()
    shutil.rmtree(log)
    shutil.copytree(older, log)
    with server:
        assert on_server(config) == [1]
        with relayed(config, recorded=True):
            wait_until(lambda: on_server(config) == [1, 2])
            wait_until(lambda: count("confirmed") == 2)
        assert on_server(config) == [1, 2]
