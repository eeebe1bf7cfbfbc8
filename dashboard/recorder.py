"""The recorder: reads the bus and stores what it reads as rows, for as long as it runs.

Read → store in one transaction with the cursors → announce. Any number of times: what was stored is never read
again, and two recorders do no harm. Of several, one has the lease and records; the others wait to take over.
Knows neither SQL nor what a record means; that is `dashboard.record`.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections

from bus import health, tail
from bus.errors import ServerError, one_line
from bus.lease import Lease
from bus.streams import Client, connect
from dashboard.record.batch import NOTHING, Stored
from dashboard.record.chores import Chores
from dashboard.record.presence import LEASE, Presence
from dashboard.record.projection import CursorMoved, Projection

READ_COUNT: Final = 500  # entries of each stream in one read, and so in one transaction
BLOCK_MS: Final = 400  # longest wait for news: also how soon a new topic or `stop` is seen
TURN_SECONDS: Final = 0.02  # fifty commits a second at most: more would cost, and nobody sees that fast
ANNOUNCED: Final = 1_000  # traces in one announcement
LEASE_SECONDS: Final = 3.0  # a recorder that was silent for so long is replaced
STANDBY_SECONDS: Final = 0.25  # how often one that waits looks
TROUBLE_SECONDS: Final = (0.1, 2.0)  # first and longest pause while server or database is away

log = logging.getLogger("dashboard.recorder")


class Recorder:
    """Records until `stop` is called (from a signal handler or any thread)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._projection = Projection()
        self._chores = Chores(client, self._projection)
        self._presence = Presence()
        self._stopping = threading.Event()
        self._loaded = False
        self._in_trouble = False
        self._lease = Lease(self._presence.name, LEASE_SECONDS, name=LEASE)
        self._records: bool | None = None

    def stop(self) -> None:
        """End `run` once the transaction at hand is stored."""
        self._stopping.set()

    def run(self) -> None:
        """Record. Trouble with server or database is said once, and outlived."""
        log.info("recording what happens on the bus into %s", _shown_database())
        health.report(self._client, log)
        pause = TROUBLE_SECONDS[0]
        while not self._stopping.is_set():
            try:
                if self._in_trouble:
                    close_old_connections()
                if not self._may_record():
                    self._stopping.wait(STANDBY_SECONDS)
                elif self.turn() != NOTHING:
                    self._presence.stored()
                self._presence.beat()
                self._well_again()
                pause = TROUBLE_SECONDS[0]
            except CursorMoved:  # another one has taken over, while this one was frozen
                self._loaded = False
            except (ServerError, DatabaseError) as error:
                self._trouble(_one_line(error))
                self._stopping.wait(pause)
                pause = min(pause * 2, TROUBLE_SECONDS[1])
        with suppress(DatabaseError):
            self._lease.release()
            self._presence.leave()
        log.info("the recorder has stopped; everything that was read is stored")

    def turn(self) -> Stored:
        """Read once and store what came. Raises `ServerError`, a database error or `CursorMoved`: nothing is stored."""
        began = time.monotonic()
        if not self._loaded:
            self._begin()
        self._chores.run_due()
        positions = {partition: place.position for partition, place in self._projection.places.items()}
        if not positions:
            self._stopping.wait(BLOCK_MS / 1000)
            return NOTHING
        prefix = self._client.config.prefix
        chunks = self._client.run(tail.read(prefix, positions, count=READ_COUNT, block_ms=BLOCK_MS))
        # Proved before it is stored: what follows the cursor follows what was recorded, on the same history.
        if chunks and self._chores.check_rewound([(chunk.topic, chunk.partition) for chunk in chunks]):
            return NOTHING
        stored = self._projection.store(chunks) if chunks else NOTHING
        self._chores.count(stored)
        for first in range(0, len(stored.traces), ANNOUNCED):
            tail.announce(self._client, stored.traces[first : first + ANNOUNCED])
        self._stopping.wait(max(began + TURN_SECONDS - time.monotonic(), 0))
        return stored

    def _may_record(self) -> bool:
        """Whether this one has the lease. Who gets it begins from what the one before has stored."""
        had, self._records = self._records, self._lease.hold()
        if self._records and not had:
            self._loaded = False
            if had is not None:
                log.warning("this recorder goes on where another one ended")
        if not self._records and had is not False:
            log.info("%s records; this one waits to take over", self._lease.holder)
        return self._records

    def _begin(self) -> None:
        """Bring memory, database and server together, at the start and after each trouble."""
        if self._in_trouble:
            self._reconnect()
        self._projection.load()
        self._chores.check_rewound(self._projection.places)
        self._loaded = True

    def _reconnect(self) -> None:
        """The embedded server may have come back at another address."""
        fresh = connect(self._client.config)
        self._client.close()
        self._client = fresh
        self._chores = Chores(fresh, self._projection)

    def _trouble(self, text: str) -> None:
        self._loaded = False
        if not self._in_trouble:
            log.warning("%s; trying again", text)
        self._in_trouble = True
        with suppress(DatabaseError):  # it may be the very trouble
            self._presence.beat(text)

    def _well_again(self) -> None:
        if self._in_trouble:
            log.info("recording again; nothing was lost meanwhile")
        self._in_trouble = False


def _shown_database() -> str:
    database = settings.DATABASES["default"]
    return f"{database['ENGINE'].rpartition('.')[2]} {database['NAME']}"


def _one_line(error: Exception) -> str:
    return one_line(error, 300)
