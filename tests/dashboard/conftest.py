"""Fixtures of the dashboard: a bus of the test's own on the shared server, and somebody who records it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings

import bus
from bus import tail
from bus.config import Config
from bus.streams import Client, connect
from bus.tail import Position
from dashboard.queries.lag import partitions
from dashboard.recorder import Recorder

Record = Callable[[], bool]


@pytest.fixture
def config(server_url: str, tmp_path: Path) -> Iterator[Config]:
    """A bus of its own, which this process then uses by default."""
    prefix = f"t{uuid4().hex[:8]}"
    yield bus.configure(url=server_url, data_folder=tmp_path, prefix=prefix, source="tests", lease_seconds=1)
    bus.configure(**settings.BUS)


@pytest.fixture
def bus_client(config: Config) -> Iterator[Client]:
    made = connect(config)
    yield made
    made.close()


@pytest.fixture
def record(bus_client: Client, transactional_db: None) -> Record:
    """`record()` brings the rows up to date with the bus."""
    recorder = Recorder(bus_client)

    def run() -> bool:
        for _ in range(200):
            if is_recorded(bus_client):
                return True
            recorder.turn()
        pytest.fail("the recorder did not catch up")

    return run


def is_recorded(client: Client) -> bool:
    """Whether the rows are up to date with every topic in the catalogue."""
    prefix, places = client.config.prefix, partitions()
    catalogue = client.run(tail.partitions(prefix))
    newest = client.run(tail.newest(prefix, catalogue)) if catalogue else {}
    cursors = {key: Position(place.events_cursor, place.journal_cursor) for key, place in places.items()}
    return all(cursors.get(partition) == position for partition, position in newest.items())
