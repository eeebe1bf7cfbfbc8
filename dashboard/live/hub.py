"""The hub: one per web process (and event loop). Starts with the first socket, stops with the last.

Reads the bus once, whoever and however many look. It never waits for a socket: it offers frames, and each socket's
window decides what becomes of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from django.template.loader import get_template

from bus.errors import ServerError
from bus.tail import Chunk, Partition, Position
from dashboard import queries
from dashboard.live.catch_up import CatchUp, Caught
from dashboard.live.feed import Feed, Filter, Render, steps_of
from dashboard.live.frames import Frame, TailFrame
from dashboard.live.known_groups import REFRESH_SECONDS, KnownGroups
from dashboard.live.measures import Measures
from dashboard.live.overviews import Overviews
from dashboard.live.tailing import Tailing
from dashboard.live.traces import Traces, Watcher
from dashboard.record.subscriptions import order_of

TICK_SECONDS: Final = 0.05
SECONDS_A_SOCKET: Final = 0.0003  # more of a tick for each of many sockets: frames take a process' time, not events
PATIENCE_SECONDS: Final = 1.0  # for the tail to reach what a page was rendered from
RETRY_SECONDS: Final = 0.2

log = logging.getLogger("dashboard.live")


def render_row(row: dict[str, Any]) -> str:
    """A row as the topic page draws it."""
    html = get_template("topics/_event_row.html").render({"row": row})
    return html + ""  # plain text: JSON encoders take no subclass of it


class Hub:
    """Everything that the sockets of this process look at."""

    frames_sent: ClassVar[int] = 0  # by all hubs of this process
    _hubs: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]] = WeakKeyDictionary()

    def __init__(self, *, render: Render = render_row) -> None:
        self._render = render
        self._tailing = Tailing(self._take, self._server_changed)
        self._groups = KnownGroups()
        self._measures = Measures()
        self._traces = Traces(queries.trace)
        self._overviews = Overviews(self._overview)
        self._feeds: dict[Filter, Feed] = {}
        self._watchers: dict[Filter, set[Watcher]] = {}
        self._sockets: set[Watcher] = set()
        self._running: list[asyncio.Task[None]] = []
        self._tick: asyncio.TimerHandle | None = None
        self._ticked_at = 0.0
        self._trouble = ""

    @classmethod
    def current(cls) -> Hub:
        """The hub of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._hubs:
            cls._hubs[loop] = cls()
        return cls._hubs[loop]

    @classmethod
    def figures(cls) -> dict[str, Any]:
        """Sockets and frames of this process, and how late events get here; from any thread."""
        hubs = list(cls._hubs.values())
        delays = [delay for hub in hubs if (delay := hub._measures.delay())]
        return {
            "sockets": sum(len(hub._sockets) for hub in hubs),
            "frames": cls.frames_sent,
            "delay": delays[0] if delays else None,
        }

    def join(self, socket: Watcher) -> None:
        """A socket came; the first one starts the hub."""
        self._sockets.add(socket)
        if not self._running:
            loops = (self._tailing.run(), self._groups_loop(), self._overviews.run(), self._traces.run())
            self._running = [self._start(loop) for loop in loops]
            self._running.append(self._start(self._traces.listen(lambda: self._tailing.client)))
        if self._trouble:
            socket.offer(_server_frame(self._trouble))

    def leave(self, socket: Watcher) -> None:
        """A socket went; the last one stops the hub."""
        self.unwatch_topic(socket)
        self._traces.unwatch(socket)
        self._overviews.unwatch(socket)
        self._sockets.discard(socket)
        if not self._sockets:
            self._stop()

    def _stop(self) -> None:
        for task in self._running:
            task.cancel()
        if self._tick is not None:
            self._tick.cancel()
        loop = asyncio.get_running_loop()
        if self._hubs.get(loop) is self:
            del self._hubs[loop]

    def watch_overview(self, socket: Watcher) -> None:
        """Tell the socket the overview from now on."""
        self._overviews.watch(socket)

    def watch_trace(self, socket: Watcher, trace_id: str) -> None:
        """Tell the socket this trace from now on, and no other."""
        self._traces.unwatch(socket)
        self._traces.watch(trace_id, socket)

    def unwatch_topic(self, socket: Watcher) -> None:
        for wanted in [wanted for wanted, watchers in self._watchers.items() if socket in watchers]:
            self._watchers[wanted].discard(socket)
            if not self._watchers[wanted]:
                del self._watchers[wanted], self._feeds[wanted]

    async def watch_topic(self, socket: Watcher, wanted: Filter, begin: Mapping[int, Position] | None) -> Caught | None:
        """Tell the socket what happens on a topic from now on. Result: what it missed since `begin`, if it gave that.

        Frames that come before this returns follow what was missed: the caller keeps them back till then.
        """
        self.unwatch_topic(socket)
        await self._tailing.ready.wait()
        if begin is not None:
            await self._reach(wanted.topic, begin)
        feed = self._feeds.setdefault(wanted, Feed(wanted))
        self._tick_feed(wanted, feed)  # what came before belongs to those that were here
        self._watchers.setdefault(wanted, set()).add(socket)
        if begin is None:
            return None
        end = self._positions(wanted.topic)
        start = {partition: begin.get(partition[1], Position()) for partition in end}
        while True:
            try:
                if (client := self._tailing.client) is not None:
                    groups = {partition: self._groups.of(partition) for partition in end}
                    return await CatchUp(wanted, start, end, groups).run(client, self._rendered)
            except ServerError as error:
                log.debug("not caught up yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _reach(self, topic: str, begin: Mapping[int, Position]) -> None:
        """Wait a moment when the page knows more than this tail: its rows would come twice."""
        for _ in range(int(PATIENCE_SECONDS / TICK_SECONDS)):
            here = {number: at for (_, number), at in self._positions(topic).items() if number in begin}
            if all(order_of(at.events) >= order_of(begin[number].events) for number, at in here.items()):
                return
            await asyncio.sleep(TICK_SECONDS)

    def _start(self, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(loop)

    async def _groups_loop(self) -> None:
        while True:
            try:
                await self._groups.refresh()
            except Exception:
                log.exception("could not read subscriptions")
            self._measures.forget_old()
            await asyncio.sleep(REFRESH_SECONDS)

    def _overview(self) -> dict[str, Any]:
        return queries.overview(self._measures.rates, self._measures.delay())

    def _server_changed(self, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble):
            for socket in self._sockets:
                socket.offer(_server_frame(trouble))
        self._trouble = trouble

    def _take(self, chunk: Chunk) -> None:
        """Take in a chunk; the next tick tells of it."""
        self._groups.add(chunk)
        self._measures.add(chunk)
        feeds = [feed for wanted, feed in self._feeds.items() if wanted.topic == chunk.topic]
        if not feeds:
            return
        groups = self._groups.of((chunk.topic, chunk.partition))
        steps = steps_of(chunk, groups)
        for feed in feeds:
            feed.add(chunk, groups, steps)
        if self._tick is None:
            loop = asyncio.get_running_loop()
            tick = max(TICK_SECONDS, len(self._sockets) * SECONDS_A_SOCKET)
            self._tick = loop.call_at(max(loop.time(), self._ticked_at + tick), self._tick_all)

    def _tick_all(self) -> None:
        self._tick = None
        self._ticked_at = asyncio.get_running_loop().time()
        for wanted, feed in list(self._feeds.items()):
            self._tick_feed(wanted, feed)

    def _tick_feed(self, wanted: Filter, feed: Feed) -> None:
        positions = {number: at for (_, number), at in self._positions(wanted.topic).items()}
        frame: TailFrame | None = feed.tick(positions, self._rendered, int(time.time() * 1000))
        if frame is not None:
            for socket in self._watchers.get(wanted, ()):
                socket.offer(frame)

    def _positions(self, topic: str) -> dict[Partition, Position]:
        return {partition: at for partition, at in self._tailing.positions.items() if partition[0] == topic}

    def _rendered(self, row: dict[str, Any]) -> str:
        try:
            return self._render(row)
        except Exception:
            log.exception("could not draw the row of %s", row["id"])
            return ""


def _server_frame(trouble: str) -> Frame:
    return Frame("server", {"state": "away" if trouble else "live", "text": trouble})
