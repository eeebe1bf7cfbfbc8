"""What the bus says of itself right now, asked at most twice a second by all pages and sockets of a process."""

from __future__ import annotations

import threading
import time
from typing import Final

import msgspec

import bus
from bus import inspect, tail
from bus.config import Config
from bus.errors import ServerError
from bus.inspect import GroupState, WorkerState
from bus.streams import Client, connect

FRESH_SECONDS: Final = 0.5


class BusState(msgspec.Struct, frozen=True):
    """Groups by (topic, partition, group), and workers. `available` False: nobody answers, nothing is known."""

    available: bool = False
    groups: dict[tuple[str, int, str], GroupState] = {}
    workers: list[WorkerState] = []
    trouble: str = ""

    def workers_alive(self, group: str) -> int:
        """Workers of the group whose heartbeat holds."""
        return sum(worker.alive for worker in self.workers if group in worker.groups)


class _Asker:
    """Asks the server, keeps the answer for a moment, and survives that it is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._config: Config | None = None
        self._answer = BusState()
        self._fresh_until = 0.0

    def ask(self) -> BusState:
        with self._lock:
            if time.monotonic() >= self._fresh_until or self._config is not bus.config():
                self._answer = self._read(bus.config())
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            return self._answer

    def _read(self, config: Config) -> BusState:
        self._config = config
        try:
            if self._client is not None and self._client.config is not config:
                self._client.close()
                self._client = None
            if self._client is None:
                self._client = connect(config)
            return _read(self._client)
        except ServerError as error:
            if self._client is not None:
                self._client.close()
            self._client = None  # its address may have changed
            return BusState(trouble=str(error))


def _read(client: Client) -> BusState:
    prefix = client.config.prefix
    partitions = client.run(tail.partitions(prefix))
    found = client.run(inspect.groups(prefix, partitions))
    states = client.run(inspect.details(prefix, found))
    workers = client.run(inspect.workers(prefix))
    return BusState(
        available=True, groups={(state.topic, state.partition, state.group): state for state in states}, workers=workers
    )


_asker: Final = _Asker()


def bus_state() -> BusState:
    """The state of groups and workers, at most half a second old."""
    return _asker.ask()
