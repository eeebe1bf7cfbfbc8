"""Sockets that look at a trace: told anew when the recorder has stored something of it, or time has changed it.

A trace is asked of the database once for all of its sockets, in a thread, and not more often than it takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from channels.db import database_sync_to_async

from bus import tail
from bus.errors import ServerError
from bus.streams import AsyncClient
from dashboard.live.frames import Frame

PAUSE_SECONDS: Final = 0.05
REFRESH_SECONDS: Final = 2.0  # an open trace also changes silently: who waits moves up, workers die
LISTEN_AGAIN_SECONDS: Final = 1.0
_NOW: Final = "now_ms"

log = logging.getLogger("dashboard.live")

Ask = Callable[[str], dict[str, Any] | None]


class Watcher(Protocol):
    """Whoever takes frames: a socket, without waiting."""

    def offer(self, frame: Frame) -> None: ...


class Traces:
    """Who watches which trace, and which of them have changed."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._watchers: dict[str, set[Watcher]] = defaultdict(set)
        self._told: dict[str, bytes] = {}
        self._open: dict[str, float] = {}  # when an unfinished trace is asked for again
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    def watch(self, trace_id: str, watcher: Watcher) -> None:
        """Tell the watcher the trace as it is, and whenever it changes."""
        self._watchers[trace_id].add(watcher)
        self._told.pop(trace_id, None)
        self._mark([trace_id])

    def unwatch(self, watcher: Watcher) -> None:
        for trace_id in [trace_id for trace_id, watchers in self._watchers.items() if watcher in watchers]:
            self._watchers[trace_id].discard(watcher)
            if not self._watchers[trace_id]:
                for known in (self._watchers, self._told, self._open, self._changed):
                    known.pop(trace_id, None)

    async def run(self) -> None:
        """Tell changes until cancelled."""
        while True:
            await self._wait()
            changed, self._changed = list(self._changed), {}
            began = time.monotonic()
            for trace_id in changed:
                await self._tell(trace_id)
            await asyncio.sleep(max(PAUSE_SECONDS, time.monotonic() - began))

    async def listen(self, connected: Callable[[], AsyncClient | None]) -> None:
        """Hear what the recorder announces, until cancelled."""
        while True:
            client = connected()
            if client is not None:
                self._mark(list(self._watchers))  # nobody told us what changed meanwhile
                try:
                    async for trace_ids in tail.announcements(client):
                        self._mark(trace_ids)
                except ServerError as error:
                    log.debug("not listening: %s", error)
                except Exception:
                    log.exception("stopped listening to the recorder; listening again")
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _mark(self, trace_ids: list[str]) -> None:
        watched = [trace_id for trace_id in trace_ids if trace_id in self._watchers]
        if watched:
            self._changed.update(dict.fromkeys(watched))
            self._wake.set()

    async def _wait(self) -> None:
        """Until a watched trace has changed, or an open one is due."""
        due = min(self._open.values(), default=time.monotonic() + REFRESH_SECONDS)
        try:
            async with asyncio.timeout(max(due - time.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            now = time.monotonic()
            self._changed.update({trace_id: None for trace_id, when in self._open.items() if when <= now})
        self._wake.clear()

    async def _tell(self, trace_id: str) -> None:
        try:
            found = await database_sync_to_async(self._ask)(trace_id)
        except Exception:
            log.exception("could not ask for trace %s", trace_id)
            found = None
        if trace_id not in self._watchers:
            return
        self._open[trace_id] = time.monotonic() + REFRESH_SECONDS
        if found is None:
            return
        if found["complete"]:
            del self._open[trace_id]
        picture = msgspec.json.encode({name: value for name, value in found.items() if name != _NOW})
        if self._told.get(trace_id) != picture:
            self._told[trace_id] = picture
            frame = Frame("trace", {"trace": found})
            for watcher in self._watchers[trace_id]:
                watcher.offer(frame)
