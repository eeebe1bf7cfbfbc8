"""Many live sockets that watch one topic, in one process: what each was told, how soon, and what it missed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from bus.errors import BusError, ConfigError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MEASURED: Final = 20  # sockets whose rows are timed; timing those of all would be most of the machine's work
PATIENCE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 0.1
QUIET_SECONDS: Final = 1.0
_AT: Final = re.compile(r'data-ms="(\d+)"')


class _Told(msgspec.Struct):
    """What matters here of a frame."""

    seq: int
    kind: str
    published: int = 0
    rows: list[str] = []


_decode = msgspec.json.Decoder(_Told).decode


class Watching:
    """One socket: counts the events that it was told of, and answers each frame as a page does."""

    def __init__(self, socket: ClientConnection, *, is_timed: bool) -> None:
        self._socket = socket
        self._is_timed = is_timed
        self._answered = 0.0
        self.forget()

    def forget(self) -> None:
        """Count from nothing again."""
        self.events = 0
        self.delays_ms: list[float] = []

    async def run(self) -> None:
        """Until the socket ends."""
        async for text in self._socket:
            told = _decode(text)
            await self._acknowledge(told.seq)
            self.events += told.published
            if self._is_timed:
                now = time.time() * 1000
                self.delays_ms += [now - int(found[1]) for row in told.rows if (found := _AT.search(row))]

    async def _acknowledge(self, seq: int) -> None:
        """As a page does: once for all that came in a while."""
        if time.monotonic() - self._answered >= ANSWER_SECONDS:
            self._answered = time.monotonic()
            await self._socket.send(f'{{"type":"ack","seq":{seq}}}')


class Audience:
    """Sockets of one visitor on one topic; `deaf` of them never read what they are told."""

    def __init__(self, host: str, headers: Mapping[str, str], topic: str) -> None:
        self._address = f"ws://{host}/live/"
        self._headers = dict(headers)
        self._topic = topic

    @asynccontextmanager
    async def gathered(self, count: int, deaf: int, publish: Callable[[int], object]) -> AsyncIterator[list[Watching]]:
        """All of them, once each has been told of an event; `publish(1)` publishes one."""
        async with AsyncExitStack() as stack:
            for _ in range(deaf):
                unread = await stack.enter_async_context(self._watch())
                stack.callback(unread.transport.abort)  # what it never read would be in the way of a farewell
            watching = [
                Watching(
                    await stack.enter_async_context(self._watch()), is_timed=number % max(count // MEASURED, 1) == 0
                )
                for number in range(count)
            ]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one.run()) for one in watching]
                await _first_told(watching, publish)
                yield watching
                for task in tasks:
                    task.cancel()

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[ClientConnection]:
        try:
            from websockets.asyncio.client import connect
        except ImportError:
            raise ConfigError(
                "expected websockets, which opens the sockets, got no such module; install it with"
                " 'python -m pip install websockets'"
            ) from None
        async with connect(
            self._address, additional_headers=self._headers, compression=None, max_queue=1
        ) as socket:  # a queue of one: who does not read is not read for
            await socket.send(
                msgspec.json.encode({"type": "watch", "watch": {"kind": "topic", "topic": self._topic}}).decode()
            )
            yield socket


async def reached(watching: list[Watching], events: int) -> None:
    """Wait till everybody was told of so many; as long as more may come, and no longer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while min(one.events for one in watching) < events and time.monotonic() < deadline:  # noqa: ASYNC110  of many
        await asyncio.sleep(0.05)


async def _first_told(watching: list[Watching], publish: Callable[[int], object]) -> None:
    """Publish one now and then till everybody hears, let that be over, and begin to count."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(one.events for one in watching):
        if time.monotonic() > deadline:
            raise BusError(f"expected {len(watching)} sockets that are told of events, some were told of none")
        await asyncio.to_thread(publish, 1)
        await asyncio.sleep(0.2)
    await asyncio.sleep(QUIET_SECONDS)
    for one in watching:
        one.forget()
