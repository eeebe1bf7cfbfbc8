"""The relay: publishes what transactions have left in the outbox, in order, until it is told to stop.

Publish → mark. Dead in between, it publishes again under the same ids, and the server stores nothing twice. Several
relays do no harm: one has the lease, the others wait. One of the bus' few files that need Django.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from django.db import Error as DatabaseError
from django.db import connection

from bus import health, outbox
from bus.config import Config
from bus.errors import EventInvalid, ServerError, ServerRefused, one_line
from bus.lease import Lease
from bus.models import OutboxEntry
from bus.publisher import Publisher
from bus.streams import connect

IDLE_SECONDS: Final = 0.1  # between two looks at an empty outbox
STANDBY_SECONDS: Final = 0.5  # between two looks at a lease that another relay has
RESEND_SECONDS: Final = 60.0  # sent and not confirmed for so long: sent again
LOOK_SECONDS: Final = 1.0  # between two looks for such entries
PURGE_SECONDS: Final = 10.0
LASTING_SECONDS: Final = 3_600.0  # what the server still has after so long needs no recorder's word
MAX_BATCH_BYTES: Final = 4_000_000
TROUBLE_SECONDS: Final = (0.1, 5.0)  # first and longest pause while server or database refuses

log = logging.getLogger("bus.relay")


class _Pause(NamedTuple):
    until: float  # monotonic
    seconds: float


class Relay:
    """Publishes until `stop` is called (from a signal handler or any thread)."""

    def __init__(self, config: Config, *, resend_seconds: float = RESEND_SECONDS) -> None:
        self.id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._config = config
        self._resend_seconds = resend_seconds
        self._lease = Lease(self.id, config.lease_seconds)
        self._publisher = Publisher(config)
        self._stopping = threading.Event()
        self._paused: dict[str, _Pause] = {}
        self._next_look = self._next_purge = 0.0
        self._active: bool | None = None
        self._in_trouble = False

    def stop(self) -> None:
        """End `run` once the batch at hand is published and marked."""
        self._stopping.set()

    def run(self) -> None:
        """Publish. Trouble with server or database is said once, and outlived."""
        self._check_server()
        pause = TROUBLE_SECONDS[0]
        while not self._stopping.is_set():
            try:
                worked = self.turn()
                self._well_again()
                pause = TROUBLE_SECONDS[0]
                if not worked:
                    self._stopping.wait(IDLE_SECONDS if self._active else self._standby_seconds())
            except (ServerError, DatabaseError) as error:
                self._trouble(error)
                self._stopping.wait(pause)
                pause = min(pause * 2, TROUBLE_SECONDS[1])
        self._end()

    def turn(self) -> bool:
        """Publish one batch, if the lease is ours. Result: whether there may be more to do at once.

        Raises `ServerError` or a database error: what was not marked is published again, under the same ids.
        """
        if not self._is_active():
            return False
        now = time.monotonic()
        paused = [topic for topic, pause in self._paused.items() if now < pause.until]
        entries = outbox.new(without=paused)
        if now >= self._next_look:
            self._next_look = now + min(self._resend_seconds / 10, LOOK_SECONDS)
            entries += outbox.unconfirmed(for_seconds=self._resend_seconds, without=paused)
        for some in _batches(entries):
            self._publish_topic(some)
        if now >= self._next_purge and not outbox.purge():
            self._next_purge = now + PURGE_SECONDS
        return bool(entries)

    def _check_server(self) -> None:
        try:
            client = connect(self._config)
        except ServerError as error:
            log.warning("the server could not be checked: %s", error)
            return
        health.report(client, log)
        client.close()

    def _publish_topic(self, entries: list[OutboxEntry]) -> None:
        """Publish entries of one topic. What its partitions refuse (out of memory, say) must not hold up others."""
        topic = entries[0].topic
        try:
            self._publish(entries)
        except ServerRefused as error:
            if topic not in self._paused:
                log.warning("%s: %s; its entries wait in the outbox", topic, error)
            before = self._paused.get(topic)
            seconds = min(before.seconds * 2, TROUBLE_SECONDS[1]) if before else TROUBLE_SECONDS[0]
            self._paused[topic] = _Pause(time.monotonic() + seconds, seconds)
        else:
            if self._paused.pop(topic, None):
                log.info("%s: publishing again", topic)

    def _publish(self, entries: Sequence[OutboxEntry]) -> None:
        """Publish and mark. Where one can't be published, halve until it stands alone: it alone is refused."""
        try:
            events = self._publisher.publish_many([outbox.draft_of(entry) for entry in entries])
        except EventInvalid as error:
            if len(entries) > 1:
                middle = len(entries) // 2
                self._publish(entries[:middle])
                self._publish(entries[middle:])
                return
            log.error("outbox entry %d (%s) is refused and stays: %s", entries[0].pk, entries[0].event_id, error)
            outbox.mark_refused(entries[0], str(error))
        else:
            outbox.mark_sent(entries, events, confirm_after_ms=int(LASTING_SECONDS * 1000))

    def _is_active(self) -> bool:
        active = self._lease.hold()
        if active != self._active:
            said = "publishes what transactions leave in the outbox" if active else "waits"
            log.info("relay %s %s%s", self.id, said, "" if active else f": {self._lease.holder} has the lease")
        self._active = active
        return active

    def _standby_seconds(self) -> float:
        return min(STANDBY_SECONDS, self._config.lease_seconds / 3)

    def _trouble(self, error: Exception) -> None:
        """Say it once, and connect anew: the embedded server may come back at another address."""
        self._publisher.close()
        if isinstance(error, DatabaseError):
            connection.close()
        if not self._in_trouble:
            log.warning("%s; the outbox waits", one_line(error, 300))
        self._in_trouble = True

    def _well_again(self) -> None:
        if self._in_trouble:
            log.info("publishing again; nothing was lost meanwhile")
        self._in_trouble = False

    def _end(self) -> None:
        try:
            self._lease.release()
        except DatabaseError as error:
            log.warning("the lease could not be given back, it ends by itself: %s", error)
        self._publisher.close()
        connection.close()
        log.info("relay %s has stopped; what is new waits in the outbox", self.id)


def _batches(entries: Sequence[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
    """The entries by topic, in order, in portions that a server takes without a pause that others notice."""
    for _, some in groupby(sorted(entries, key=lambda entry: entry.topic), key=lambda entry: entry.topic):
        batch: list[OutboxEntry] = []
        size = 0
        for entry in some:
            if batch and size + len(entry.draft) > MAX_BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += len(entry.draft)
        yield batch
