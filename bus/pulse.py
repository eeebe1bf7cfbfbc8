"""A worker's pulse: says three times a lease that it lives, and looks after what others left behind.

Of each group and partition it moves retries back with a clock that fell, reclaims what dead workers held, and removes
names that nobody uses. Knows no handler; what runs is the business of `cycle`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from bus import hold, inspect, operations
from bus.errors import ServerError
from bus.keys import Keys
from bus.streams import Client

MAX_CRASHES: Final = 3  # a delivery whose workers died this often is dead-lettered
JUMP_MS: Final = 1_000
REAP_SECONDS: Final = 600

log = logging.getLogger("bus.worker")


class Place(NamedTuple):
    """A group on a partition. `halts`: its dead letters block their keys."""

    keys: Keys
    group: str
    halts: bool = False


class Pulse:
    """Beats for worker `name`, in a thread of its own."""

    def __init__(self, client: Client, name: str, places: Sequence[Place]) -> None:
        self._client = client
        self._name = name
        self._places = places
        self._lease_seconds = client.config.lease_seconds
        self._started_ms = int(time.time() * 1000)
        self._offset_ms: float | None = None  # of the server's clock to our steady one
        self._healthy_since = time.monotonic()
        self._next_reap = 0.0

    def run(self, gone: threading.Event) -> None:
        """Beat until `gone` is set."""
        while not gone.wait(self._lease_seconds / 3):
            try:
                self.turn()
            except ServerError as error:
                self._healthy_since = time.monotonic()
                log.debug("no heartbeat: %s", error)
            except Exception:  # without a heartbeat this worker would be taken for dead
                log.exception("unexpected; the heartbeat goes on")

    def turn(self) -> None:
        """Beat once; having beaten for a whole lease, reclaim what dead workers held.

        After trouble with the server, or a jump of its clock, everybody's heartbeat is old: to reclaim at once would
        take from the living. Raises `ServerError` when the beat was not heard.
        """
        now = time.monotonic()
        if self._has_jumped(self.beat()):
            self._healthy_since = now
        alive = self._alive() if now - self._healthy_since >= self._lease_seconds else None
        reaps = now >= self._next_reap
        self._next_reap = now + REAP_SECONDS if reaps else self._next_reap
        for place in self._places:
            try:
                self._tend(place, alive, reaps=reaps)
            except ServerError as error:  # a node of a cluster: the others go on
                log.debug("%s on %s: not tended: %s", place.group, place.keys.topic, error)

    def beat(self) -> int:
        """Say that we live. Result: the server's clock in ms."""
        info = inspect.WorkerInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            groups=sorted({place.group for place in self._places}),
            started_ms=self._started_ms,
            lease_ms=int(self._lease_seconds * 1000),
            version=self._client.config.version,
        )
        prefix = self._client.config.prefix
        return self._client.run(operations.heartbeat(prefix, self._name, msgspec.json.encode(info)))

    def _has_jumped(self, now_ms: int) -> bool:
        """Whether the server's clock has jumped since the last time, or this is the first: then nobody knows."""
        before, self._offset_ms = self._offset_ms, now_ms - time.monotonic() * 1000
        return before is None or abs(self._offset_ms - before) > JUMP_MS

    def _alive(self) -> dict[str, bool]:
        return {worker.id: worker.alive for worker in self._client.run(inspect.workers(self._client.config.prefix))}

    def _tend(self, place: Place, alive: Mapping[str, bool] | None, *, reaps: bool) -> None:
        fell = self._client.run(operations.rebase(place.keys, place.group, self._name))
        if fell:
            log.warning(
                "%s on %s: the server's clock fell by %.1f s; retries were moved back with it",
                place.group, place.keys.topic, fell / 1000,
            )  # fmt: skip
        let_go = self._client.run(hold.expire(place.keys, place.group, self._name))
        if let_go is not None:
            log.info("%s on %s: the breakpoint expired, %d go on", place.group, place.keys.topic, let_go)
        if alive is not None:
            self._reclaim(place, alive)
        if reaps:
            self._client.run(operations.reap(place.keys, place.group))

    def _reclaim(self, place: Place, alive: Mapping[str, bool]) -> None:
        dead = self._dead_owners(self._client.run(operations.owners(place.keys, place.group)), alive)
        if not dead:
            return
        operation = operations.reclaim(
            place.keys, place.group, self._name, dead, max_crashes=MAX_CRASHES, halts=place.halts
        )
        if count := self._client.run(operation):
            log.warning("%s on %s: reclaimed %d of dead workers", place.group, place.keys.topic, count)

    def _dead_owners(self, owners: list[str], alive: Mapping[str, bool]) -> dict[str, int]:
        """Owner → least idle ms: 0 where a worker is known to be dead, a lease where nobody knows the name."""
        dead = {}
        for owner in owners:
            lives = alive.get(owner.partition("#")[0])
            if not lives:
                dead[owner] = 0 if lives is False else int(self._lease_seconds * 1000)
        return dead
