"""Crash table, last row: the server's clock jumps. Ahead, nothing is taken from workers that live; back, retries and
the workers that died are not left waiting until it has caught up.

The server's process believes what libfaketime tells it; where that is not installed there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bus import control, inspect, operations, streams
from bus.config import Config
from bus.event import Event
from bus.journal import Record, Step
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from tests.bus.conftest import steps_of
from tests.conftest import RunWorker, WaitUntil
from tests.servers import Server, programs

CLOCKS = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
KEYS = Keys("bus", "orders", 0)
pytestmark = pytest.mark.parametrize("clock", CLOCKS, ids=["libfaketime"] * len(CLOCKS))


class Clocked:
    """A server whose clock can be set."""

    def __init__(self, clock: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.set("+0")
        self.server = Server(programs()["valkey-9"], folder / "server")
        self.server.environment = {
            "LD_PRELOAD": str(clock),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset: str) -> None:
        """To our own time and so much more, such as "+1h"."""
        self._file.write_text(f"{offset}\n")


@pytest.fixture
def clocked(clock: Path, tmp_path: Path) -> Iterator[Clocked]:
    made = Clocked(clock, tmp_path)
    with made.server:
        yield made


@pytest.fixture
def config(clocked: Clocked, tmp_path: Path) -> Config:
    return Config(url=clocked.server.url, data_folder=tmp_path, source="tests", lease_seconds=1)


@pytest.fixture
def client(config: Config) -> Iterator[Client]:
    with closing(streams.connect(config)) as made:
        yield made


def beats(client: Client) -> int:
    """The newest heartbeat of a real worker, in ms of the server's clock."""
    return max(worker.beat_ms for worker in client.run(inspect.workers("bus")) if worker.id != "lives")


def test_server_clock_jumps_ahead_and_nothing_is_taken_from_workers_that_live(
    clocked: Clocked, client: Client, run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil
) -> None:
    def beat() -> bool:
        return bool(client.run(operations.heartbeat("bus", "lives", b'{"lease_ms": 3000}')))

    with run_worker(Subscription("orders", "email", print, start="earliest"), lease_seconds=3):
        worker_beats = beats(client)
        client.run(control.pause(KEYS, "email", who="test"))  # so that the other one gets the event
        wait_until(lambda: beats(client) > worker_beats + 4_000, what="a worker that may reclaim")
        beat()
        publisher.publish(publisher.draft("orders", "t", 1))
        [event] = client.run(operations.take_new(KEYS, "email", "lives#0", count=1, block_ms=None)).events
        clocked.set("+1h")
        before = beats(client)
        wait_until(lambda: beats(client) > before + 3_000_000, what="a beat after the jump")
        after = beats(client)
        wait_until(lambda: beats(client) > after, what="another one, a third of a lease later")
        beat()
        client.run(control.resume(KEYS, "email", who="test"))
        wait_until(lambda: beat() and beats(client) > before + 3_605_000, what="more than a lease")
        done = Settlement(b"a", Record(Step.SUCCEEDED, event.entry, 1))
        assert not client.run(operations.settle(KEYS, "email", "lives#0", [done], holds=1)), "taken from the living"
    assert steps_of(client, "orders") == ["succeeded"]


def test_server_clock_falls_and_retries_do_not_wait_until_it_has_caught_up(
    clocked: Clocked, client: Client, run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil
) -> None:
    clocked.set("+1h")
    seen: list[Event] = []

    def handler(event: Event) -> None:
        seen.append(event)
        if event.attempt == 1:
            raise TimeoutError("not yet")

    subscription = Subscription("orders", "email", handler, start="earliest", retry=Retry(attempts=2, base_seconds=2))
    with run_worker(subscription):
        before = beats(client)
        wait_until(lambda: beats(client) > before, what="a beat, and with it a look at the clock")
        publisher.publish(publisher.draft("orders", "t", 1))
        wait_until(lambda: "retry_scheduled" in steps_of(client, "orders"))
        clocked.set("+0")
        wait_until(lambda: len(seen) == 2, seconds=30, what="the second attempt")
        wait_until(lambda: "succeeded" in steps_of(client, "orders"))


def test_server_clock_falls_and_a_worker_that_died_is_reclaimed_from(
    clocked: Clocked, client: Client, run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil
) -> None:
    clocked.set("+1h")
    seen: list[Event] = []
    subscription = Subscription("orders", "email", seen.append, start="earliest")
    with run_worker(subscription):
        client.run(operations.heartbeat("bus", "gone", b'{"lease_ms": 1000}'))
        clocked.set("+0")
        client.run(operations.take_new(KEYS, "email", "gone#0", count=1, block_ms=None))
    event = publisher.publish(publisher.draft("orders", "t", 1))
    taken = client.run(operations.take_new(KEYS, "email", "gone#0", count=1, block_ms=None)).events
    assert [one.entry for one in taken] == [event.entry]
    with run_worker(subscription):
        wait_until(lambda: seen, seconds=30, what="what the dead worker held")
    assert seen[0].attempt == 2
