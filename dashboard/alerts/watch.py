"""The loop that looks at the rules, and one for each sink beside it: a sink that hangs holds up nothing else.

Of several processes one looks, by a lease; what two would do at once is done once all the same.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from bus.errors import ServerError, one_line
from bus.lease import Lease
from dashboard.alerts import evaluate
from dashboard.alerts.notices import Sink, sinks
from dashboard.alerts.sending import send_due

TURN_SECONDS: Final = 2.0
SEND_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 10.0
SWEEP_SECONDS: Final = 60.0
TROUBLE_SECONDS: Final = (0.5, 10.0)

log = logging.getLogger("dashboard.alerts")


class Watch:
    """Works until `stop` is called (from a signal handler or any thread)."""

    def __init__(self, *, turn_seconds: float = TURN_SECONDS, lease_seconds: float = LEASE_SECONDS) -> None:
        name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._lease = Lease(name, lease_seconds, name="alerts")
        self._turn_seconds = turn_seconds
        self._stopping = threading.Event()
        self._next_sweep = 0.0

    def stop(self) -> None:
        """End `run` after the look at hand."""
        self._stopping.set()

    def run(self) -> None:
        """Look and send. Trouble with server or database is said once, and outlived."""
        senders = [threading.Thread(target=self._send, args=(sink,), daemon=True) for sink in sinks()]
        for sender in senders:
            sender.start()
        self._outlive(self._look, self._turn_seconds, "alerts are not looked at")
        with suppress(DatabaseError):
            self._lease.release()
        connection.close()

    def _look(self) -> None:
        if not self._lease.hold():
            return
        evaluate.turn()
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
            evaluate.sweep(int(time.time() * 1000))

    def _send(self, sink: Sink) -> None:
        self._outlive(lambda: send_due(sink), SEND_SECONDS, f"{sink.name} is not told")
        connection.close()

    def _outlive(self, work: Callable[[], object], seconds: float, trouble: str) -> None:
        """Do it again and again, whatever server and database are up to."""
        pause, is_well = TROUBLE_SECONDS[0], True
        while not self._stopping.is_set():
            try:
                work()
            except (ServerError, DatabaseError) as error:
                if is_well:
                    log.warning("%s: %s; trying again", trouble, one_line(error, 300))
                is_well = False
                close_old_connections()
                self._stopping.wait(pause)
                pause = min(pause * 2, TROUBLE_SECONDS[1])
            else:
                pause, is_well = TROUBLE_SECONDS[0], True
                self._stopping.wait(seconds)
