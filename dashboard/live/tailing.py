"""The live tail itself: reads every partition from now on, tells what came, and outlives that the server is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import bus
from bus import tail
from bus.errors import ServerError
from bus.operations import entry_order
from bus.streams import AsyncClient, aconnect
from bus.tail import START, Chunk, Partition, Position

READ_COUNT: Final = 500
BLOCK_MS: Final = 500
LOOK_SECONDS: Final = 0.5  # how soon a new topic is seen
RECENT_MS: Final = 10_000  # a topic that is new to us begins with what is younger than this
TROUBLE_SECONDS: Final = (0.1, 2.0)

log = logging.getLogger("dashboard.live")


class Tailing:
    """`on_chunk` gets what is new, `on_server` "" or the trouble there is; both at once, from the event loop."""

    def __init__(self, on_chunk: Callable[[Chunk], None], on_server: Callable[[str], None]) -> None:
        self.positions: dict[Partition, Position] = {}
        self.client: AsyncClient | None = None
        self.ready = asyncio.Event()  # positions are known
        self._on_chunk = on_chunk
        self._on_server = on_server
        self._fresh: set[Partition] = set()

    async def run(self) -> None:
        """Tail until cancelled."""
        pause = TROUBLE_SECONDS[0]
        while True:
            try:
                self.client = aconnect(bus.config())
                await self._begin(self.client)
                pause = TROUBLE_SECONDS[0]
                await self._tail(self.client)
            except ServerError as error:
                self._on_server(str(error))
            except Exception as error:
                log.exception("the live tail stumbled; it begins again")
                self._on_server(f"unexpected: {type(error).__name__}; see the log of the web process")
            finally:
                await self._close()
            await asyncio.sleep(pause)
            pause = min(pause * 2, TROUBLE_SECONDS[1])

    async def _begin(self, client: AsyncClient) -> None:
        """From now on; where we were before, from there on, unless the server has forgotten that."""
        prefix = client.config.prefix
        partitions = await client.run(tail.partitions(prefix))
        for partition, newest in (await _newest(client, partitions)).items():
            known = self.positions.get(partition)
            if known is None or _is_rewound(newest, known):
                self.positions[partition] = newest
        self.ready.set()
        self._on_server("")

    async def _tail(self, client: AsyncClient) -> None:
        next_look = 0.0
        while True:
            if time.monotonic() >= next_look:
                await self._look(client)
                next_look = time.monotonic() + LOOK_SECONDS
            if not self.positions:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            operation = tail.read(client.config.prefix, self.positions, count=READ_COUNT, block_ms=BLOCK_MS)
            for chunk in await client.run(operation):
                await self._take(client, chunk)

    async def _look(self, client: AsyncClient) -> None:
        for partition in await client.run(tail.partitions(client.config.prefix)):
            if partition not in self.positions:
                self.positions[partition] = Position()
                self._fresh.add(partition)

    async def _take(self, client: AsyncClient, chunk: Chunk) -> None:
        partition = (chunk.topic, chunk.partition)
        if partition in self._fresh and not _is_recent(chunk):  # new to us, but old: not everything in it is news
            self.positions.update(await _newest(client, [partition]))
        else:
            self.positions[partition] = chunk.position
            self._on_chunk(chunk)
        self._fresh.discard(partition)

    async def _close(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            await client.aclose()


async def _newest(client: AsyncClient, partitions: list[Partition]) -> dict[Partition, Position]:
    return await client.run(tail.newest(client.config.prefix, partitions)) if partitions else {}


def _is_rewound(newest: Position, known: Position) -> bool:
    return newest.events != START and entry_order(newest.events) < entry_order(known.events)


def _is_recent(chunk: Chunk) -> bool:
    oldest_ms = min((entry_order(event.entry)[0] for event in chunk.events), default=0)
    return not chunk.events or oldest_ms > time.time() * 1000 - RECENT_MS
