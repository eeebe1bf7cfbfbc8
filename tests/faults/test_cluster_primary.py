"""A primary of a cluster is killed in the middle of the traffic: the others go on, and nothing is lost by it."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from bus import tail
from bus.cluster import SLOTS, slot_of
from bus.config import Config
from bus.event import Event
from bus.journal import JournalEntry
from bus.keys import Keys, global_key
from bus.publisher import Publisher
from bus.streams import Client, connect
from tests.acceptance.processes import ROOT, Running, manage, running
from tests.conftest import WaitUntil
from tests.faults.evidence import SETTLED
from tests.servers import Cluster, programs

TOPIC = "counted"
GROUPS = {"steady", "flaky"}
PARTITIONS = 9
Start = Callable[..., Running]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(programs()["valkey-9"], tmp_path / "cluster") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(folder: Path, cluster: Cluster) -> Iterator[Start]:
    """Starts a program of this folder on the cluster; all of them are stopped in the end."""
    with ExitStack() as stack:

        def started(program: str, *words: str, line: str) -> Running:
            extra = {"BUS_URL": cluster.url, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, f"tests/faults/{program}.py", str(folder), *words]
            process = stack.enter_context(Running(command, folder=folder, cwd=ROOT, extra=extra))
            process.wait_for_line(line)
            return process

        yield started


@pytest.fixture
def client(cluster: Cluster, folder: Path) -> Iterator[Client]:
    publisher = Publisher(Config(url=cluster.url, data_folder=folder))
    publisher.declare(TOPIC, PARTITIONS)
    publisher.close()
    made = connect(publisher.config)
    yield made
    made.close()


def node_of(key: bytes) -> int:
    return next(number for number in range(3) if slot_of(key) < SLOTS * (number + 1) // 3)


class Tally:
    """What events and journal of some partitions say, read on and on."""

    def __init__(self, client: Client, partitions: list[int]) -> None:
        self._client = client
        self._positions = {(TOPIC, number): tail.Position() for number in partitions}
        self.events: list[Event] = []
        self.journal: list[tuple[int, JournalEntry]] = []

    def settled(self) -> Counter[tuple[str, int, str]]:
        """(group, partition, entry) → how often the journal says that this delivery was settled."""
        while chunks := self._client.run(tail.read("bus", self._positions, block_ms=None)):
            for chunk in chunks:
                self.events += chunk.events
                self.journal += [(chunk.partition, entry) for entry in chunk.journal]
                self._positions[chunk.topic, chunk.partition] = chunk.position
        return Counter(
            (entry.group, partition, record.entry)
            for partition, entry in self.journal
            for record in entry.records
            if record.step in SETTLED
        )

    def expected(self) -> set[tuple[str, int, str]]:
        return {(group, event.partition, event.entry) for group in GROUPS for event in self.events}


def recorded(folder: Path) -> set[tuple[str, ...]]:
    """(group, event id) of what the recorder has stored as settled."""
    with closing(sqlite3.connect(folder / "fanlight.sqlite3", timeout=20)) as connection:
        found = connection.execute(
            "SELECT d.[group], e.event_id FROM dashboard_delivery d JOIN dashboard_event e ON e.id = d.event_id"
            " WHERE d.state IN ('succeeded', 'dead')"
        )
        return set(found.fetchall())


def test_a_killed_primary_loses_nothing_and_holds_up_no_other(
    cluster: Cluster, client: Client, folder: Path, start: Start, wait_until: WaitUntil
) -> None:
    victim = node_of(global_key("bus", "workers"))  # the hardest one: heartbeats and catalogue are there
    homes = {number: node_of(Keys("bus", TOPIC, number).events) for number in range(PARTITIONS)}
    assert set(homes.values()) == {0, 1, 2}
    lost = Tally(client, [number for number, home in homes.items() if home == victim])
    kept = Tally(client, [number for number, home in homes.items() if home != victim])
    assert manage(folder, "migrate", "--verbosity", "0").code == 0
    producers = [start("producer", name, line="publishing") for name in ("ann", "bob")]
    for _ in range(2):
        start("tally", line="working")
    with running(folder, "recorder", extra={"BUS_URL": cluster.url}) as recorder:
        recorder.wait_for_line("recording")
        wait_until(lambda: min(len(lost.settled()), len(kept.settled())) > 100, seconds=30, what="traffic everywhere")
        cluster.nodes[victim].kill()
        before = len(kept.settled())
        wait_until(lambda: len(kept.settled()) > before + 200, seconds=30, what="traffic on the other nodes")
        cluster.nodes[victim].start()
        cluster.wait_until_well()
        before = len(lost.settled())
        wait_until(lambda: len(lost.settled()) > before + 100, seconds=60, what="traffic on all nodes again")
        for producer in producers:
            assert producer.stop() == 0
        counts = [int(producer.wait_for_line("published").split()[1]) for producer in producers]
        for tally in (lost, kept):
            wait_until(lambda: tally.settled().keys() >= tally.expected(), seconds=60, what="all settled")  # noqa: B023
            assert tally.settled() == Counter(tally.expected())
        ids = [event.id for tally in (lost, kept) for event in tally.events]
        names = zip(("ann", "bob"), counts, strict=True)
        assert Counter(ids) == Counter(f"{name}-{n}" for name, count in names for n in range(count))
        everything = {(group, event) for group in GROUPS for event in ids}
        wait_until(lambda: recorded(folder) == everything, seconds=60, what="every delivery stored")
