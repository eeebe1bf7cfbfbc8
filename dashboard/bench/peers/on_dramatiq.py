"""Dramatiq on Redis: one process, two threads that run the actors."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

os.environ["dramatiq_queue_prefetch"] = "500"  # noqa: SIM112  # its name, read at import

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from dashboard.bench.peers.program import Data, Handle, Publish, main


def _actor(url: str, handle: Handle) -> tuple[Any, Any]:
    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)
    return broker, dramatiq.actor(handle, actor_name="handle")


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    _, actor = _actor(url, lambda _: None)

    async def publish(data: Data) -> object:
        return actor.send(data)

    yield publish


def work(url: str, handle: Handle) -> None:
    broker, _ = _actor(url, handle)
    dramatiq.Worker(broker, worker_threads=2).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(publishing, work)
