"""FastStream on a Redis stream with a group, one event a call of the handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from dashboard.bench.load import TOPIC
from dashboard.bench.peers.program import Data, Handle, Publish, main

GROUP = "bench"


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    async with RedisBroker(url, logger=None) as broker:
        client = await broker.connect()
        await client.xgroup_create(TOPIC, GROUP, id="0", mkstream=True)  # its own begins with what comes later

        async def publish(data: Data) -> object:
            return await broker.publish(data, stream=TOPIC)

        yield publish


def work(url: str, handle: Handle) -> None:
    async def one(data: dict[str, Any]) -> None:
        handle(data)

    run(url, one, StreamSub(TOPIC, group=GROUP, consumer="one", max_records=100))


def run(url: str, handler: Any, stream: Any) -> None:
    """Until it is ended."""
    broker = RedisBroker(url, logger=None)
    broker.subscriber(stream=stream)(handler)
    asyncio.run(FastStream(broker, logger=None).run(log_level=logging.ERROR))


if __name__ == "__main__":
    main(publishing, work)
