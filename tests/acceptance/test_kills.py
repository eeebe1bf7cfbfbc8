"""kill -9 in the middle of the traffic: of a worker, of the server, of the recorder. Nothing is lost, and each
event is settled once by each group; what the recorder stored equals the journal."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bus import streams, tail
from bus.config import Config
from bus.errors import ServerError
from bus.event import Event, new_id
from bus.journal import JournalEntry, Step
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.tail import Position
from tests.acceptance.processes import ROOT, Running, manage, running

WaitUntil = Callable[..., Any]
TOPIC = "counted"
GROUPS = {"steady", "flaky"}
EVENTS = 600
SETTLED = {Step.SUCCEEDED, Step.DEAD_LETTERED}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder) as started:  # strict: what was acknowledged survives
        yield started


@pytest.fixture
def worker(server: EmbeddedServer, folder: Path) -> Iterator[Callable[[], Running]]:
    """Starts a worker; every one of them is stopped in the end."""
    started: list[Running] = []

    def start() -> Running:
        command = [sys.executable, "tests/acceptance/tally.py", str(folder)]
        started.append(Running(command, folder=folder, cwd=ROOT, extra={"PYTHONPATH": str(ROOT)}))
        started[-1].wait_for_line("working")
        return started[-1]

    yield start
    for process in started:
        process.__exit__()


def publish(folder: Path, first: int, count: int) -> list[Event]:
    """Publish in small batches, again with the same ids while the server is away: as a careful producer does."""
    publisher = Publisher(Config(data_folder=folder))
    placed: list[Event] = []
    for start in range(first, first + count, 20):
        drafts = [publisher.draft(TOPIC, "number", {"number": n}, id=new_id()) for n in range(start, start + 20)]
        while True:
            try:
                placed += publisher.publish_many(drafts)
                break
            except ServerError:
                threading.Event().wait(0.05)
    publisher.close()
    return placed


def read_all(folder: Path) -> tuple[list[Event], list[JournalEntry]]:
    """Every event and every journal entry of the topic."""
    config = Config(data_folder=folder)
    events: list[Event] = []
    journal: list[JournalEntry] = []
    position = {(TOPIC, 0): Position()}
    client = streams.connect(config)
    while chunks := client.run(tail.read(config.prefix, position, block_ms=None)):
        events += chunks[0].events
        journal += chunks[0].journal
        position = {(TOPIC, 0): chunks[0].position}
    client.close()
    return events, journal


def settlements(folder: Path) -> Counter[tuple[str, str]]:
    """(group, entry) → how often the journal says that this delivery was settled."""
    _, journal = read_all(folder)
    return Counter(
        (entry.group, record.entry) for entry in journal for record in entry.records if record.step in SETTLED
    )


def wait_until_settled(folder: Path, wait_until: WaitUntil) -> None:
    """Until every event that is on the bus is settled by every group."""
    events, _ = read_all(folder)
    expected = {(group, event.entry) for group in GROUPS for event in events}
    wait_until(lambda: expected <= settlements(folder).keys(), seconds=60, what=f"{len(expected)} settled deliveries")


def assert_each_settled_once(folder: Path, published: list[Event]) -> None:
    events, _ = read_all(folder)
    assert sorted(event.id for event in events) == sorted(event.id for event in published)
    expected = {(group, event.entry) for group in GROUPS for event in events}
    counts = settlements(folder)
    assert counts.keys() == expected
    assert set(counts.values()) == {1}


def test_a_killed_worker_loses_nothing(folder: Path, worker: Callable[[], Running], wait_until: WaitUntil) -> None:
    published = publish(folder, 0, EVENTS)
    for _ in range(2):
        before = len(settlements(folder))
        process = worker()
        wait_until(lambda: len(settlements(folder)) > before + 100, what="work in progress")  # noqa: B023
        process.kill()
    assert len(settlements(folder)) < EVENTS * len(GROUPS), "killed too late to prove anything"
    worker()
    wait_until_settled(folder, wait_until)
    assert_each_settled_once(folder, published)


def test_a_killed_server_loses_nothing(
    folder: Path, server: EmbeddedServer, worker: Callable[[], Running], wait_until: WaitUntil
) -> None:
    worker()
    published: list[Event] = []
    producer = threading.Thread(target=lambda: published.extend(publish(folder, 0, EVENTS)))
    producer.start()
    for target in (100, 400):
        wait_until(lambda: len(settlements(folder)) > target, seconds=30, what="traffic")  # noqa: B023
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        wait_until(server.has_crashed)
        server.start()
    producer.join(60)
    assert len(published) == EVENTS
    wait_until_settled(folder, wait_until)
    assert_each_settled_once(folder, published)


def rows(folder: Path, query: str) -> set[tuple[Any, ...]]:
    with sqlite3.connect(folder / "fanlight.sqlite3") as database:
        return set(database.execute(query).fetchall())


def recorded_settlements(folder: Path) -> set[tuple[Any, ...]]:
    return rows(
        folder,
        "SELECT d.[group], e.entry, d.state FROM dashboard_delivery d JOIN dashboard_event e ON e.id = d.event_id"
        " WHERE d.state IN ('succeeded', 'dead')",
    )


def test_a_killed_recorder_stores_what_the_journal_says(
    folder: Path, worker: Callable[[], Running], wait_until: WaitUntil
) -> None:
    assert manage(folder, "migrate", "--verbosity", "0").code == 0
    worker()
    producer = threading.Thread(target=publish, args=(folder, 0, EVENTS))
    producer.start()
    for _ in range(3):
        before = len(recorded_settlements(folder))
        with running(folder, "recorder") as recorder:
            wait_until(lambda: len(recorded_settlements(folder)) > before, seconds=30, what="rows")  # noqa: B023
            recorder.kill()
    producer.join(60)
    with running(folder, "recorder"):
        everything = EVENTS * len(GROUPS)
        wait_until(lambda: len(recorded_settlements(folder)) == everything, seconds=60, what="every delivery stored")
    assert_rows_equal_journal(folder)


def assert_rows_equal_journal(folder: Path) -> None:
    events, journal = read_all(folder)
    assert rows(folder, "SELECT event_id, entry FROM dashboard_event") == {(e.id, e.entry) for e in events}
    words = {Step.SUCCEEDED: "succeeded", Step.DEAD_LETTERED: "dead"}
    settled = {
        (entry.group, record.entry, words[Step(record.step)])
        for entry in journal
        for record in entry.records
        if record.step in SETTLED
    }
    assert recorded_settlements(folder) == settled
    failures = Counter(
        (entry.group, record.entry)
        for entry in journal
        for record in entry.records
        if record.step in (Step.RETRY_SCHEDULED, Step.DEAD_LETTERED, Step.RECLAIMED)
    )
    stored = rows(
        folder,
        "SELECT a.[group], e.entry, count(*) FROM dashboard_attempt a JOIN dashboard_event e ON e.id = a.event_id"
        " WHERE a.step IN (3, 4, 5) GROUP BY a.[group], e.entry",
    )
    assert stored == {(group, entry, count) for (group, entry), count in failures.items()}
