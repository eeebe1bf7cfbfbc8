"""The WebSocket of a page: checks who it is, understands what it asks for, and sends what its window lets through.

What a client sends is never trusted: bad input gets an error frame, too much of it ends the socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import msgspec
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from msgspec import structs

from dashboard.actions.sight import Sight
from dashboard.live.catch_up import Caught
from dashboard.live.frames import Frame
from dashboard.live.hub import Hub
from dashboard.live.requests import Ack, BadRequest, Watch, WatchOverview, WatchTopic, WatchTrace, parse
from dashboard.live.seen import seen
from dashboard.live.window import Window

LOGGED_OUT: Final = 4401
STALLED: Final = 4408
STUMBLED: Final = 1011
CHANGED: Final = 4403
TOO_MUCH: Final = 4429
SESSION_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 5.0
BUDGET_SECONDS: Final = 10.0
MAX_REQUESTS: Final = 400  # within the budget's time: an answer to each of twenty frames a second is half of it
MAX_WATCHES: Final = 20
MAX_ERRORS: Final = 20

log = logging.getLogger("dashboard.live")


class LiveSocket(AsyncWebsocketConsumer):
    """One page's socket."""

    # A layer drops what doesn't fit, silently: events never go through one.
    channel_layer_alias = None  # type: ignore[assignment]  # Channels has no types, only a default

    async def connect(self) -> None:
        self._hub: Hub | None = None
        if not _is_welcome(self.scope.get("user")):
            await self._end(LOGGED_OUT)
            return
        self._sight = await database_sync_to_async(Sight)(self.scope["user"])
        self._window = Window()
        self._wake = asyncio.Event()
        self._budget = _Budget()
        self._watching: asyncio.Task[None] | None = None
        await self.accept()  # type: ignore[no-untyped-call]  # as above
        self._hub = Hub.current()
        self._hub.join(self)
        self._look_again()
        self._sending = asyncio.create_task(self._run())

    async def disconnect(self, code: int) -> None:  # noqa: ARG002  Channels passes it
        if self._hub is not None:
            self._hub.leave(self)
            self._look.cancel()
            self._sending.cancel()
            if self._watching:
                self._watching.cancel()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """What a page says is answered without the database, so without the thread that Channels would ask first."""
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)  # type: ignore[no-untyped-call]  # as above
        else:
            await super().dispatch(message)  # type: ignore[no-untyped-call]  # as above

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._hub is None:
            return
        try:
            request = parse(text_data if text_data is not None else bytes_data or b"")
            if not self._budget.allows(request):
                await self._end(TOO_MUCH)
                return
            self._obey(self._hub, request)
        except BadRequest as error:
            self.offer(Frame("error", {"text": str(error)}))
            if not self._budget.forgives():
                await self._end(TOO_MUCH)

    def offer(self, frame: Frame) -> None:
        """Take a frame, to send it when the browser has room."""
        self._window.put(frame)
        self._wake.set()

    async def _end(self, code: int) -> None:
        await self.close(code)  # type: ignore[no-untyped-call]  # as above

    def _obey(self, hub: Hub, request: Ack | Watch) -> None:
        if isinstance(request, Ack):
            if not self._window.acknowledge(request.seq):
                raise BadRequest(f"expected the number of a frame that was sent, got {request.seq}")
            self._wake.set()
        elif isinstance(request, WatchOverview):
            hub.watch_overview(self)
        elif isinstance(request, WatchTrace):
            hub.watch_trace(self, request.id)
        else:
            self._watch_topic(hub, request)

    def _watch_topic(self, hub: Hub, request: WatchTopic) -> None:
        if not self._sight.visible.sees(request.topic):
            raise BadRequest(f"expected a topic that is there, got {request.topic[:80]!r}")
        if self._watching:
            self._watching.cancel()
        self._window.drop_tail()
        self._window.hold_tail()
        self._watching = asyncio.create_task(self._catch_up(hub, request))

    async def _catch_up(self, hub: Hub, request: WatchTopic) -> None:
        caught: Caught | None = None
        wanted = structs.replace(request.filter, with_data=self._sight.sees(request.topic))
        try:
            caught = await hub.watch_topic(self, wanted, request.begin)
        except Exception:
            log.exception("could not catch up on %s", request.topic)
            self.offer(Frame("error", {"text": "could not read what you missed; reload the page"}))
        self._window.release_tail(*(caught or (None, None)))
        self._wake.set()

    async def _run(self) -> None:
        try:
            await self._send()
        except Exception:
            log.exception("a socket stumbled; the page connects again")
            await self._end(STUMBLED)

    def _look_again(self) -> None:
        """Wake now and then, though nothing came: cheaper than a timeout around each wait."""
        self._wake.set()
        self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    async def _send(self) -> None:
        """Send what the window lets through, until the socket ends or must be cut."""
        next_check = time.monotonic() + SESSION_SECONDS
        while True:
            while (text := self._window.take()) is not None:
                if (shown := seen(text, self._sight)) is not None:
                    await self.send(text_data=shown)  # type: ignore[no-untyped-call]  # as above
                    Hub.frames_sent += 1
                else:
                    self._window.acknowledge(msgspec.json.decode(text)["seq"])
            if self._window.is_stalled():
                await self._end(STALLED)
                return
            if time.monotonic() >= next_check:
                next_check = time.monotonic() + SESSION_SECONDS
                if (code := await self._ending()) is not None:
                    await self._end(code)
                    return
            self._wake.clear()
            await self._wake.wait()

    async def _ending(self) -> int | None:
        """The code to end with: the session has ended meanwhile, here or in another tab, or the user's role changed."""
        session = self.scope.get("session")
        if session is None:
            return LOGGED_OUT
        fresh = type(session._wrapped if hasattr(session, "_wrapped") else session)(session.session_key)
        user = await get_user({"session": fresh})
        if not _is_welcome(user):
            return LOGGED_OUT
        sight = await database_sync_to_async(Sight)(user)
        return None if sight == self._sight else CHANGED  # the page connects again, and sees what it may see now


class _Budget:
    """How much a client may ask for in a while."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._requests = self._watches = self._errors = 0

    def allows(self, request: Ack | Watch) -> bool:
        if time.monotonic() - self._began > BUDGET_SECONDS:
            self._began = time.monotonic()
            self._requests = self._watches = 0
        self._requests += 1
        self._watches += not isinstance(request, Ack)
        return self._requests <= MAX_REQUESTS and self._watches <= MAX_WATCHES

    def forgives(self) -> bool:
        self._errors += 1
        return self._errors <= MAX_ERRORS


def _is_welcome(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active)
