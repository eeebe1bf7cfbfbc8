"""What the bus says of itself right now, asked at most twice a second by all pages and sockets of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

import bus
from bus import inspect, tail
from bus.config import Config
from bus.errors import ServerError
from bus.inspect import GroupState, ServerState, StreamState, WorkerState
from bus.streams import Client, connect
from bus.wire import Operation
from dashboard import visible

T = TypeVar("T")
FRESH_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 2.0  # between two looks for a server that is away
PATIENCE_SECONDS: Final = 1.0  # for a reply: a page has better to do than to wait
MEASURED: Final = 10  # streams whose memory is asked for


class BusState(msgspec.Struct, frozen=True):
    """Groups by (topic, partition, group), and workers. `available` False: nobody answers, nothing is known.

    `answered_ms`: when somebody last did, by our clock; 0 when nobody has yet.
    """

    available: bool = False
    groups: dict[tuple[str, int, str], GroupState] = {}
    workers: list[WorkerState] = []
    trouble: str = ""
    server: ServerState | None = None
    answered_ms: int = 0

    def workers_alive(self, group: str) -> int:
        """Workers of the group whose heartbeat holds."""
        return sum(worker.alive for worker in self.workers if group in worker.groups)


class BusStreams(msgspec.Struct, frozen=True):
    """The streams of every partition, and the memory of the longest ones, by partition."""

    streams: list[StreamState] = []
    memory: dict[tuple[str, int], int | None] = {}


class _Asker:
    """Asks the server, keeps the answer for a moment, and survives that it is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._config: Config | None = None
        self._answer = BusState()
        self._fresh_until = 0.0

    def ask(self) -> BusState:
        if not self._answer.available and self._config is bus.config() and self._lock.locked():
            return self._answer  # somebody is looking for a server that is away: no need for two to wait
        with self._lock:
            if time.monotonic() >= self._fresh_until or self._config is not bus.config():
                self._answer = self._read(bus.config())
                fresh_seconds = FRESH_SECONDS if self._answer.available else AGAIN_SECONDS
                self._fresh_until = time.monotonic() + fresh_seconds
            return self._answer

    def run(self, operation: Callable[[str], Operation[T]]) -> T | None:
        """What the server answers to an operation, made from the prefix; None when it is away."""
        with self._lock:
            try:
                return self._connected(bus.config()).run(operation(bus.config().prefix))
            except ServerError:
                self._disconnect()
                return None

    def _read(self, config: Config) -> BusState:
        self._config = config
        try:
            return _read(self._connected(config))
        except ServerError as error:
            self._disconnect()
            return BusState(trouble=str(error), answered_ms=self._answer.answered_ms)

    def _connected(self, config: Config) -> Client:
        if self._client is not None and self._client.config is not config:
            self._disconnect()
        if self._client is None:
            self._client = connect(config, reply_seconds=PATIENCE_SECONDS)
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None  # its address may have changed


def _read(client: Client) -> BusState:
    prefix = client.config.prefix
    partitions = client.run(tail.partitions(prefix))
    found = client.run(inspect.groups(prefix, partitions))
    states = client.run(inspect.details(prefix, found))
    workers = client.run(inspect.workers(prefix))
    return BusState(
        available=True,
        groups={(state.topic, state.partition, state.group): state for state in states},
        workers=workers,
        server=client.run(inspect.server()),
        answered_ms=int(time.time() * 1000),
    )


_asker: Final = _Asker()


def bus_state() -> BusState:
    """The state of groups and workers, at most half a second old, as far as they are seen."""
    state = _asker.ask()
    return state if visible.sees_all() else _seen(state)


def _seen(state: BusState) -> BusState:
    groups = {key: one for key, one in state.groups.items() if visible.sees(one.topic)}
    names = {one.group for one in groups.values()}
    workers = [
        msgspec.structs.replace(worker, groups=[group for group in worker.groups if group in names])
        for worker in state.workers
        if names.intersection(worker.groups)
    ]
    return msgspec.structs.replace(state, groups=groups, workers=workers)


def ask(operation: Callable[[str], Operation[T]]) -> T | None:
    """What the server answers right now; None when it is away. `operation`: made from the bus' prefix."""
    return _asker.run(operation)


def bus_streams() -> BusStreams:
    """The streams as they are now, for a page that few look at; nothing while the server is away."""
    partitions = ask(tail.partitions) if bus_state().available else None
    streams = ask(lambda prefix: inspect.streams(prefix, partitions)) if partitions else None
    if not streams:
        return BusStreams()
    streams = [stream for stream in streams if visible.sees(stream.topic)]
    longest = sorted(streams, key=lambda stream: -stream.events)[:MEASURED]
    names = [(stream.topic, stream.partition) for stream in longest]
    sizes = ask(lambda prefix: inspect.memory(prefix, names)) or [None] * len(names)
    return BusStreams(streams, dict(zip(names, sizes, strict=True)))
