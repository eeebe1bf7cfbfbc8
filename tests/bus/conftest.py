"""Fixtures of the bus: a namespace of its own on the shared server for every test, and workers in threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bus import tail
from bus.config import Config
from bus.journal import JournalEntry, Record, Step
from bus.streams import Client, connect
from bus.subscription import Registry
from tests.bus.swallower import Swallower


@pytest.fixture
def config(server_url: str, tmp_path: Path) -> Config:
    return Config(url=server_url, data_folder=tmp_path, prefix=f"t{uuid4().hex[:8]}", source="tests", lease_seconds=1)


@pytest.fixture
def client(config: Config) -> Iterator[Client]:
    made = connect(config)
    yield made
    made.close()


@pytest.fixture
def registry() -> Registry:
    return Registry()


def journal_of(client: Client, topic: str, partition: int = 0) -> list[JournalEntry]:
    """The whole journal of one partition."""
    positions = {(topic, partition): tail.Position("9" * 13 + "-0", "0-0")}
    chunks = client.run(tail.read(client.config.prefix, positions, count=10_000, block_ms=None))
    return chunks[0].journal if chunks else []


def records_of(client: Client, topic: str, partition: int = 0) -> list[Record]:
    return [record for entry in journal_of(client, topic, partition) for record in entry.records]


def steps_of(client: Client, topic: str, partition: int = 0) -> list[str]:
    """The steps of one partition's journal, in order."""
    return [Step(record.step).word for record in records_of(client, topic, partition)]


@pytest.fixture
def swallower(server_url: str) -> Iterator[Swallower]:
    made = Swallower(server_url)
    yield made
    made.close()
