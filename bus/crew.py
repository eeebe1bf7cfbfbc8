"""Several handlers at once: sync ones in threads, async ones in an event loop of their own.

Knows outcomes; must not know how deliveries are taken or settled. Used by one thread, that of the cycle.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bus.delivery import Outcome
from bus.event import Event


class Crew:
    """Runs up to `limit` handlers at once; more may be given to it, and wait. `close` waits for those that run."""

    def __init__(self, limit: int, *, name: str) -> None:
        self.limit = limit
        self._name = name
        self._given = 0  # handlers that were given to it, and whose outcome was not fetched yet
        self._ended: deque[Outcome | BaseException] = deque()  # filled by other threads
        self._news = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Of the loop's thread alone:
        self._waiting: deque[Event] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        """How many run or wait."""
        return self._given

    def start(self, run: Callable[[Event], Outcome], events: Sequence[Event]) -> None:
        """Run a sync handler for each, in threads."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.limit, thread_name_prefix=self._name)
        self._given += len(events)
        for event in events:
            self._pool.submit(self._run, run, event)

    def start_async(self, run: Callable[[Event], Coroutine[Any, Any, Outcome]], events: Sequence[Event]) -> None:
        """Run an async handler for each, in the crew's event loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
            self._thread.start()
        if events:
            self._given += len(events)
            self._loop.call_soon_threadsafe(self._begin, run, list(events))

    def ended(self, *, seconds: float) -> list[Outcome]:
        """Outcomes of what has ended; waits up to `seconds` for the first."""
        if not self._given:
            return []
        if not self._ended and seconds:
            self._news.wait(seconds)
        self._news.clear()
        found = []
        while self._ended:
            self._given -= 1
            outcome = self._ended.popleft()
            if isinstance(outcome, BaseException):
                raise outcome
            found.append(outcome)
        return found

    def finish(self) -> list[Outcome]:
        """Outcomes of all that runs, once all has ended."""
        found = []
        while self._given:
            found += self.ended(seconds=1)
        return found

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()
        if self._loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._loop.shutdown_default_executor(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, run: Callable[[Event], Outcome], event: Event) -> None:
        try:
            self._tell(run(event))
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever waits for the outcome
            self._tell(error)

    def _begin(self, run: Callable[[Event], Coroutine[Any, Any, Outcome]], events: list[Event]) -> None:
        self._waiting.extend(events)
        for _ in range(min(len(events), self.limit - len(self._tasks))):
            self._tasks.add(asyncio.ensure_future(self._arun(run)))

    async def _arun(self, run: Callable[[Event], Coroutine[Any, Any, Outcome]]) -> None:
        """Run what waits, one after another: a task for each event would cost more than a fast handler does."""
        task = asyncio.current_task()
        assert task
        try:
            while self._waiting and not task.cancelling():
                self._tell(await run(self._waiting.popleft()))
        except BaseException as error:  # noqa: BLE001  # as above
            self._tell(error)
        finally:
            self._tasks.discard(task)
            if self._waiting and len(self._tasks) < self.limit:  # a handler cancelled this task: another one goes on
                self._tasks.add(asyncio.ensure_future(self._arun(run)))

    def _tell(self, outcome: Outcome | BaseException) -> None:
        self._ended.append(outcome)
        if not self._news.is_set():
            self._news.set()
