"""A disk that lies: what is synced late is gone with the power.

Under appendfsync everysec a slow disk lets the log run seconds behind. Here the log's size is remembered ten times a
second, and when the power goes (the server is killed) the log is cut back to what it was some seconds before.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

SAMPLE_SECONDS: Final = 0.1


class SlowDisk:
    """Watches the append-only files of a server's folder."""

    def __init__(self, folder: Path, *, sync_seconds: float) -> None:
        self._folder = folder
        self._sync_seconds = sync_seconds
        self._samples: deque[tuple[float, dict[Path, int]]] = deque(maxlen=int(10 * sync_seconds / SAMPLE_SECONDS))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="disk", daemon=True)
        self._thread.start()

    def cut_power(self) -> int:
        """Cut the log back to what had been synced. Result: bytes lost. The server must not run."""
        limit = time.monotonic() - self._sync_seconds
        synced = next((sizes for at, sizes in reversed(self._samples) if at <= limit), {})
        self._samples.clear()
        lost = 0
        for path, size in synced.items():
            lost += path.stat().st_size - size
            os.truncate(path, size)
        return lost

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            files = self._folder.glob("appendonlydir/*.aof")
            self._samples.append((time.monotonic(), {path: path.stat().st_size for path in files}))
