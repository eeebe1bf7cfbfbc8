"""Sockets that look at the overview: one snapshot a second for all of them, made only while somebody looks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from channels.db import database_sync_to_async

from dashboard.live.frames import Frame
from dashboard.live.traces import Watcher

EVERY_SECONDS: Final = 1.0

log = logging.getLogger("dashboard.live")


class Overviews:
    """Who watches the overview."""

    def __init__(self, ask: Callable[[], dict[str, Any]]) -> None:
        self._ask = ask
        self._watchers: set[Watcher] = set()
        self._wake = asyncio.Event()
        self._latest: tuple[float, Frame] | None = None

    def watch(self, watcher: Watcher) -> None:
        """Tell the watcher the overview, now and every second."""
        self._watchers.add(watcher)
        self._wake.set()
        if self._latest and time.monotonic() - self._latest[0] < EVERY_SECONDS:
            watcher.offer(self._latest[1])

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    async def run(self) -> None:
        """Take snapshots until cancelled."""
        while True:
            if not self._watchers:
                self._wake.clear()
                await self._wake.wait()
            began = time.monotonic()
            await self._tell()
            await asyncio.sleep(max(began + EVERY_SECONDS - time.monotonic(), EVERY_SECONDS / 10))

    async def _tell(self) -> None:
        try:
            frame = Frame("overview", await database_sync_to_async(self._ask)())
        except Exception:
            log.exception("could not take a snapshot of the overview")
            return
        self._latest = (time.monotonic(), frame)
        for watcher in self._watchers:
            watcher.offer(frame)
