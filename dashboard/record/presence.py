"""A recorder says that it lives: one row, written every few seconds, whatever else is in trouble."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Final

from django.db import connection

BEAT_SECONDS: Final = 2.0
LEASE: Final = "recorder"  # of which the owner records; the others wait
_KEPT_MS: Final = 86_400_000
_BEAT: Final = (
    "INSERT INTO dashboard_recording (name, started_ms, beat_ms, stored_ms, trouble) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (name) DO UPDATE SET beat_ms = excluded.beat_ms, stored_ms = excluded.stored_ms,"
    " trouble = excluded.trouble"
)
_FORGET: Final = "DELETE FROM dashboard_recording WHERE beat_ms < %s"
_LEAVE: Final = "DELETE FROM dashboard_recording WHERE name = %s"


class Presence:
    """One recorder's row."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()[:100]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._started_ms = _now_ms()
        self._stored_ms = 0
        self._next_beat = 0.0

    def stored(self) -> None:
        """Something was stored just now."""
        self._stored_ms = _now_ms()

    def beat(self, trouble: str = "") -> None:
        """Say that it lives, and what troubles it, unless that was said a moment ago. Raises a database error."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + BEAT_SECONDS
        now_ms = _now_ms()
        with connection.cursor() as cursor:
            cursor.execute(_BEAT, [self.name, self._started_ms, now_ms, self._stored_ms, trouble[:300]])
            cursor.execute(_FORGET, [now_ms - _KEPT_MS])

    def leave(self) -> None:
        """It stops in good order: nobody will miss it. Raises a database error."""
        with connection.cursor() as cursor:
            cursor.execute(_LEAVE, [self.name])


def _now_ms() -> int:
    return int(time.time() * 1000)
