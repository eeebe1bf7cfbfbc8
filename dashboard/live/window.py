"""The credit window: how much may be on its way to one browser. Pure.

Daphne accepts whatever we give it and keeps it in memory, so the limit has to be ours: at most four frames that the
browser has not acknowledged. What comes meanwhile is put together into the next frame.
"""

from __future__ import annotations

import time
from typing import Final

from dashboard.live.frames import Frame, TailFrame

MAX_UNACKNOWLEDGED: Final = 4
STALLED_SECONDS: Final = 30.0


class Window:
    """Frames that wait for one socket, and those that it has yet to acknowledge."""

    def __init__(self) -> None:
        self._pending: dict[str, Frame] = {}
        self._held: set[str] = set()
        self._seq = self._acknowledged = 0
        self._waiting_since = time.monotonic()

    def put(self, frame: Frame) -> None:
        """Add a frame, to what waits of its kind."""
        waiting = self._pending.pop(frame.kind, None)
        self._pending[frame.kind] = waiting.merged(frame) if waiting else frame

    def take(self) -> str | None:
        """The next frame to send, as text; None when there is none or the browser has enough."""
        if self._seq - self._acknowledged >= MAX_UNACKNOWLEDGED:
            return None
        for kind in self._pending:
            if kind not in self._held:
                frame = self._pending.pop(kind)
                if self._seq == self._acknowledged:
                    self._waiting_since = time.monotonic()
                self._seq += 1
                return frame.text(self._seq)
        return None

    def acknowledge(self, seq: int) -> bool:
        """The browser has painted up to frame `seq`. False: there was no such frame."""
        if not 0 <= seq <= self._seq:
            return False
        if seq > self._acknowledged:
            self._acknowledged = seq
            self._waiting_since = time.monotonic()
        return True

    def is_stalled(self) -> bool:
        """Whether the browser owes an answer for too long."""
        owes = self._seq > self._acknowledged
        return owes and time.monotonic() - self._waiting_since > STALLED_SECONDS

    def hold_tail(self) -> None:
        """Keep tail frames back: what the browser missed goes first."""
        self._held.add("tail")

    def drop_tail(self) -> None:
        """Forget what waits of another topic."""
        self._pending.pop("tail", None)
        self._held.discard("tail")

    def release_tail(self, resumed: Frame | None, missed: TailFrame | None) -> None:
        """Let tail frames go, after what was missed."""
        self._held.discard("tail")
        since = self._pending.pop("tail", None)
        for frame in (resumed, missed, since):
            if frame is not None:
                self.put(frame)
