"""Several handlers at once: sync ones in threads, async ones in an event loop of their own.

Knows outcomes; must not know how deliveries are taken or settled. Used by one thread, that of the cycle.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from bus.delivery import Outcome
from bus.event import Event


class Crew:
    """Runs up to `limit` handlers at once. `close` waits for those that run."""

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit = limit
        self._name = name
        self._running: set[Future[Outcome]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def free(self) -> int:
        """How many more may be started."""
        return self._limit - len(self._running)

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    def start(self, run: Callable[[Event], Outcome], event: Event) -> None:
        """Run a sync handler in a thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix=self._name)
        self._running.add(self._pool.submit(run, event))

    def start_async(self, run: Callable[[Event], Coroutine[Any, Any, Outcome]], event: Event) -> None:
        """Run an async handler in the crew's event loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
            self._thread.start()
        self._running.add(asyncio.run_coroutine_threadsafe(run(event), self._loop))

    def ended(self, *, seconds: float) -> list[Outcome]:
        """Outcomes of what has ended; waits up to `seconds` for the first."""
        if not self._running:
            return []
        done, self._running = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
        return [future.result() for future in done]

    def finish(self) -> list[Outcome]:
        """Outcomes of all that runs, once all has ended."""
        done, self._running = wait(self._running)
        return [future.result() for future in done]

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
        if self._loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
