"""NATS JetStream, pushed to one durable consumer, each acknowledged by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats
from nats.js.api import ConsumerConfig, StorageType
from nats.js.errors import NotFoundError

from dashboard.bench.load import TOPIC
from dashboard.bench.peers.program import Data, Handle, Publish, main


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    client = await nats.connect(url)
    stream = client.jetstream()
    with suppress(NotFoundError):  # the first run
        await stream.delete_stream(TOPIC)
    await stream.add_stream(name=TOPIC, subjects=[TOPIC], storage=StorageType.FILE)

    async def publish(data: Data) -> object:
        return await stream.publish(TOPIC, json.dumps(data).encode())

    yield publish
    await client.close()


def work(url: str, handle: Handle) -> None:
    asyncio.run(_work(url, handle))


async def _work(url: str, handle: Handle) -> None:
    client = await nats.connect(url)

    async def one(received: Any) -> None:
        handle(json.loads(received.data))
        await received.ack()

    wanted = ConsumerConfig(max_ack_pending=1_000)
    await client.jetstream().subscribe(TOPIC, durable="bench", cb=one, manual_ack=True, config=wanted)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(publishing, work)
