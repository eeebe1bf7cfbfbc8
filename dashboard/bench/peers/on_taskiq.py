"""Taskiq on a Redis stream: one process, async tasks, acknowledged after they ran."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from dashboard.bench.peers.program import Data, Handle, Publish, main


def _task(url: str, handle: Handle) -> tuple[Any, Any]:
    broker = RedisStreamBroker(url, consumer_id="0")

    async def run(data: dict[str, Any]) -> None:
        handle(data)

    return broker, broker.register_task(run, task_name="handle")


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    broker, task = _task(url, lambda _: None)
    await broker.startup()

    async def publish(data: Data) -> object:
        return await task.kiq(data)

    yield publish
    await broker.shutdown()


def work(url: str, handle: Handle) -> None:
    broker, _ = _task(url, handle)
    broker.is_worker_process = True
    asyncio.run(run_receiver_task(broker, validate_params=False, max_prefetch=100, run_startup=True))


if __name__ == "__main__":
    main(publishing, work)
