"""Celery on Redis: one process that runs the tasks itself, tasks acknowledged after they ran."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery

from dashboard.bench.peers.program import Data, Handle, Publish, main

PREFETCH = 128


def _app(url: str) -> Any:
    app = Celery("bench", broker=url.replace("unix://", "redis+socket://"), set_as_current=True)  # its name of these
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=PREFETCH,
        worker_redirect_stdouts=False,  # where the program says what it found
    )
    return app


def _task(app: Any, handle: Handle) -> Any:
    def run(data: Data) -> None:
        handle(data)

    return app.task(name="bench.handle")(run)


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    task = _task(_app(url), lambda _: None)

    async def publish(data: Data) -> object:
        return task.delay(data)

    yield publish


def work(url: str, handle: Handle) -> None:
    app = _app(url)
    _task(app, handle)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"]
    app.worker_main(["worker", "--pool", "solo", "--concurrency", "1", *quiet])


if __name__ == "__main__":
    main(publishing, work)
