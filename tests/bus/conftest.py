"""Fixtures of the bus: a namespace of its own on the shared server for every test, and workers in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from bus import tail
from bus.config import Config
from bus.journal import JournalEntry, Record, Step
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.subscription import Registry, Subscription
from bus.worker import Worker
from tests.bus.swallower import Swallower

RunWorker = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def config(server_url: str, tmp_path: Path) -> Config:
    return Config(url=server_url, data_folder=tmp_path, prefix=f"t{uuid4().hex[:8]}", source="tests", lease_seconds=1)


@pytest.fixture
def client(config: Config) -> Iterator[Client]:
    made = connect(config)
    yield made
    made.close()


@pytest.fixture
def publisher(config: Config) -> Iterator[Publisher]:
    made = Publisher(config)
    yield made
    made.close()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def run_worker(config: Config, registry: Registry) -> RunWorker:
    """`with run_worker(subscription, …) as worker:` handles deliveries in threads until the block ends."""

    @contextmanager
    def run(*subscriptions: Subscription, **changes: object) -> Iterator[Worker]:
        for subscription in subscriptions:
            registry.add(subscription)
        worker = Worker(replace(config, **changes), registry=registry)  # type: ignore[arg-type]  # by name
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        assert worker.ready.wait(10), "the worker did not start"
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(10)
            assert not thread.is_alive(), "the worker did not stop"

    return run


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
