"""What the faults found and was mended: full memory, and events trimmed by hand while a worker held them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bus import fsck, inspect, operations, streams
from bus.config import Config
from bus.event import Event
from bus.journal import Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Registry, Subscription
from bus.wire import Operation
from bus.worker import Worker
from tests.bus.conftest import steps_of
from tests.conftest import RunWorker, WaitUntil
from tests.servers import Server, programs

KEYS = Keys("bus", "orders", 0)
GROUP = "email"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(programs()["valkey-9"], tmp_path / "server") as started:
        yield started


@pytest.fixture
def config(server: Server, tmp_path: Path) -> Config:
    return Config(url=server.url, data_folder=tmp_path, source="tests", lease_seconds=1)


@pytest.fixture
def client(config: Config) -> Iterator[Client]:
    with closing(streams.connect(config)) as made:
        yield made


def fill(client: Client) -> None:
    """From here on the server refuses whatever needs memory."""
    used = client.run(inspect.server()).used_memory
    client.run(Operation([(b"CONFIG", b"SET", b"maxmemory", b"%d" % (used // 2))], len))


def hold(client: Client, publisher: Publisher, count: int, *, ordered: bool = False) -> list[Event]:
    """Events that owner w#0 has taken."""
    client.run(operations.subscribe(KEYS, GROUP, SubscriptionRecord(ordered=ordered), start="0-0", worker="w"))
    publisher.publish_many([publisher.draft("orders", "t", n, key="k" if ordered else None) for n in range(count)])
    if ordered:
        return client.run(operations.take_ordered(KEYS, GROUP, "w#0", count=99)).events
    return client.run(operations.take_new(KEYS, GROUP, "w#0", count=99, block_ms=None)).events


@pytest.mark.parametrize("how", ["reclaim", "release", "retry"])
def test_an_event_trimmed_while_a_worker_held_it_is_marked_lost(client: Client, publisher: Publisher, how: str) -> None:
    [event] = hold(client, publisher, 1)
    client.run(Operation([(b"XTRIM", KEYS.events, b"MAXLEN", b"0")], len))
    give_up(client, how, event)
    client.run(operations.take_due(KEYS, GROUP, "w#1", count=99))
    assert "lost" in steps_of(client, "orders")


@pytest.mark.parametrize("how", ["reclaim", "release", "retry"])
def test_the_key_of_an_event_trimmed_while_a_worker_held_it_goes_on(
    client: Client, publisher: Publisher, how: str
) -> None:
    [event] = hold(client, publisher, 1, ordered=True)
    client.run(Operation([(b"XTRIM", KEYS.events, b"MAXLEN", b"0")], len))
    give_up(client, how, event)
    client.run(operations.take_ordered(KEYS, GROUP, "w#1", count=99))
    publisher.publish(publisher.draft("orders", "t", 7, key="k"))
    taken = client.run(operations.take_ordered(KEYS, GROUP, "w#1", count=99)).events
    assert [event.data for event in taken] == [7]
    assert list(fsck.check(client)) == []


def give_up(client: Client, how: str, event: Event) -> None:
    if how == "reclaim":
        client.run(operations.reclaim(KEYS, GROUP, "w", {"w#0": 0}, max_crashes=3))
    elif how == "release":
        client.run(operations.release(KEYS, GROUP, "w#0"))
    else:
        failed = Settlement(b"r", Record(Step.RETRY_SCHEDULED, event.entry, event.attempt), event.key or "")
        client.run(operations.settle(KEYS, GROUP, "w#0", [failed], holds=1))


def test_a_slow_group_goes_on_while_the_memory_is_full(
    client: Client, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    def slow(_: Event) -> None:
        threading.Event().wait(0.05)

    with run_worker(Subscription("orders", GROUP, slow, start="earliest")):
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(60)])
        wait_until(lambda: steps_of(client, "orders").count("succeeded") > 20, seconds=30)
        fill(client)
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 60, seconds=5)


def test_dead_workers_are_reclaimed_from_while_the_memory_is_full(
    client: Client, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    hold(client, publisher, 3)
    with run_worker(Subscription("orders", GROUP, lambda _: None)):
        fill(client)
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 3, seconds=5)


def test_a_worker_starts_while_the_memory_is_full(
    client: Client, config: Config, publisher: Publisher, wait_until: WaitUntil
) -> None:
    client.run(operations.subscribe(KEYS, GROUP, SubscriptionRecord(), start="0-0", worker="w"))
    publisher.publish(publisher.draft("orders", "t", 1))
    fill(client)
    registry = Registry()
    registry.add(Subscription("orders", GROUP, lambda _: None))
    worker = Worker(config, registry=registry)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        wait_until(worker.ready.is_set, seconds=3)
    finally:
        worker.stop()
        thread.join(10)
