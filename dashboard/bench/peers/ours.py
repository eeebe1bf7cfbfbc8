"""The bus as its peers are measured: `bus.publish`, and a worker with a handler that looks at the data."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bus
from bus.garbage import collect_rarely
from dashboard.bench.load import TOPIC, TYPE
from dashboard.bench.peers.program import Data, Handle, Publish, main


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    bus.configure(url=url)

    async def publish(data: Data) -> object:
        return bus.publish(TOPIC, TYPE, data, key=data["order_id"])

    yield publish


def work(url: str, handle: Handle) -> None:
    logging.getLogger("bus").setLevel(logging.ERROR)
    bus.configure(url=url)
    bus.subscribe(TOPIC, group="bench", start="earliest")(lambda event: handle(event.data))
    collect_rarely()
    bus.Worker().run()


if __name__ == "__main__":
    main(publishing, work)
