"""The cycle of one group on one partition: take → run → settle, for as long as the worker lives.

One thread each. Settling the last batch and taking the next is one round trip; slow handlers are settled
one by one. Knows operations and outcomes; what a handler does is `delivery`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from bus import delivery, hold, operations
from bus.crew import Crew
from bus.deadline import Deadlines
from bus.delivery import Outcome
from bus.errors import ServerError
from bus.event import Event
from bus.journal import Record, Step
from bus.keys import Keys
from bus.operations import Taken
from bus.streams import Client
from bus.subscription import Admission, Subscription, describe
from bus.wire import Operation, together

MAX_COUNT: Final = 100  # entries per take
AHEAD_SECONDS: Final = 0.000_25  # an average event that is handled so fast lets the next batch be taken ahead
BATCH_SECONDS: Final = 0.05  # how much work one take should bring
SLOW_SECONDS: Final = 0.02  # a batch that runs longer is announced as running
SETTLE_ALONE_US: Final = 1_000  # an attempt that took longer is settled at once
SETTLE_AFTER_SECONDS: Final = 0.01
BUSY_SECONDS: Final = 0.02  # longest wait for news while handlers run beside it
FULL_SECONDS: Final = 0.05  # pause of an ordered group when too many entries wait for their keys
PAUSED_SECONDS: Final = 0.2  # how often a paused group is looked at
IDLE_SECONDS: Final = 1.0  # longest wait for news: also how often due retries are looked for
TROUBLE_SECONDS: Final = (0.1, 2.0)  # first and longest pause while the server is away

log = logging.getLogger("bus.worker")


class Cycle:
    """Handles a group's deliveries on one partition until `stopping` is set."""

    def __init__(
        self,
        client: Client,
        keys: Keys,
        subscriptions: Sequence[Subscription],
        *,
        worker: str,
        deadlines: Deadlines,
        stopping: threading.Event,
    ) -> None:
        self.keys = keys
        self.group = subscriptions[0].group
        self._client = client
        self._subscriptions = subscriptions
        self._admission = Admission(subscriptions)
        self._worker = worker
        self._generation = 0
        self._deadlines = deadlines
        self._stopping = stopping
        self._concurrency = subscriptions[0].concurrency
        self._is_async = any(subscription.is_async for subscription in subscriptions)
        self._runner = asyncio.Runner()
        self._crew = Crew(self._concurrency, name=self.group) if self._concurrency > 1 else None
        self._held: set[str] = set()  # entries taken and not settled
        self._outcomes: list[Outcome] = []  # ended and not settled
        self._settling: list[Outcome] = []  # those that the exchange under way settles
        self._ahead: Callable[[], list[Any]] | None = None  # ends that exchange, begun while handlers run
        self._average_seconds = 0.005
        self._next_due = 0.0  # monotonic
        self._ordered = subscriptions[0].ordered
        self.halts = subscriptions[0].on_dead == "halt"
        self._last_read = "$"  # ordered groups: news are entries after this one
        self._idle = False  # the last take brought nothing
        self._alone = ""  # an entry that killed its worker, perhaps: it is settled before the next one begins
        self._paused = False
        self._moves: int | None = None  # how often the group was rewound, as far as we know
        # The journal must not say "running" after it said how that ended: the lock is held while a batch
        # is announced, and taken before outcomes are settled.
        self._lock = threading.Lock()
        self._unannounced: dict[str, tuple[Event, float]] = {}  # by entry: the event, and when it was taken

    @property
    def owner(self) -> str:
        """The name under which entries are held: a new one after each trouble, so that no fence is used twice."""
        return f"{self._worker}#{self._generation}"

    def run(self) -> None:
        """Take, run and settle until told to stop; then settle what ran and give back the rest."""
        pause = TROUBLE_SECONDS[0]
        recovered = True
        while not self._stopping.is_set():
            try:
                # Before anything is taken again: what a lost reply left under our name, nobody else may reclaim.
                recovered = recovered or self._recover()
                self._turn()
                if pause > TROUBLE_SECONDS[0]:
                    log.info("%s on %s: goes on", self.group, self.keys.topic)
                pause = TROUBLE_SECONDS[0]
                continue
            except ServerError as error:
                level = logging.WARNING if recovered else logging.DEBUG  # said once, however long it lasts
                log.log(level, "%s on %s: %s; trying again", self.group, self.keys.topic, error)
            except Exception:  # a cycle that ends silently would be a group that stops silently
                log.exception("%s on %s: unexpected; starting this cycle afresh", self.group, self.keys.topic)
            recovered = False
            self._stopping.wait(pause)
            pause = min(pause * 2, TROUBLE_SECONDS[1])
        self._finish()

    def announce_slow(self) -> None:
        """Tell the journal what runs, once it takes longer than a moment. Called by another thread."""
        with self._lock:
            oldest = next(iter(self._unannounced.values()), None)
        if oldest and time.monotonic() - oldest[1] >= SLOW_SECONDS:
            self._announce()

    def _turn(self) -> None:
        if self._crew:
            self._turn_at_once(self._crew)
            return
        count = self._fitting_count()
        events = self._received(self._end_ahead()) if self._ahead else self._take(count)
        if len(events) >= count == MAX_COUNT and self._may_take_ahead():
            self._take_ahead(count)
        self._handle(events)

    def _turn_at_once(self, crew: Crew) -> None:
        """Take as many as may be started, whatever still runs; settle what has ended."""
        if crew.busy <= crew.limit and crew.busy < self._places(crew):
            events = self._take(min(self._places(crew) - crew.busy, MAX_COUNT))
            if self._is_async:
                crew.start_async(self._arun, events)
            else:
                crew.start(self._run, events)
        ended = crew.ended(seconds=self._wait_for_crew(crew))
        for outcome in ended:
            self._ended(outcome)
        if not ended:
            self._settle()  # nothing follows for now that it could be settled with

    def _wait_for_crew(self, crew: Crew) -> float:
        """How long to wait for an outcome, in seconds: not at all while more may be taken."""
        if crew.busy <= crew.limit and crew.busy < self._places(crew):
            return 0
        return SETTLE_AFTER_SECONDS if self._outcomes else IDLE_SECONDS

    def _places(self, crew: Crew) -> int:
        """How many events a crew may have: as many as run at once, and a batch more while handlers are fast."""
        return crew.limit + (MAX_COUNT if self._average_seconds <= AHEAD_SECONDS else 0)

    def _fitting_count(self) -> int:
        """As many as should take a moment: not so many that other workers wait for work."""
        return max(min(int(BATCH_SECONDS / self._average_seconds), MAX_COUNT), 1)

    def _take(self, count: int) -> list[Event]:
        takes = self._ordered_steps(count) if self._ordered else self._steps(count, self._patience())
        results = self._client.run(together(*self._settlements(), *takes))
        if self._outcomes:
            self._settled(results.pop(0), self._outcomes)
            self._outcomes = []
        return self._received(results)

    def _may_take_ahead(self) -> bool:
        """Whether the next batch may lie here meanwhile: handlers are fast, nothing is to be settled alone, and no
        key is kept busy longer than its handler runs."""
        return self._average_seconds <= AHEAD_SECONDS and not self._alone and not self._ordered

    def _take_ahead(self, count: int) -> None:
        """Ask for the next batch before the one at hand is handled: server and handlers work at the same time."""
        takes = self._steps(count, 0)
        self._ahead = self._client.begin(together(*self._settlements(), *takes))
        self._settling, self._outcomes = self._outcomes, []

    def _end_ahead(self) -> list[Taken]:
        """What was taken ahead, if anything; what the same exchange settled is settled, or to be settled again."""
        if self._ahead is None:
            return []
        ahead, self._ahead = self._ahead, None
        settling, self._settling = self._settling, []
        try:
            results = ahead()
        except BaseException:
            self._outcomes = settling + self._outcomes
            raise
        if settling:
            self._settled(results.pop(0), settling)
        return results

    def _received(self, takes: list[Any]) -> list[Event]:
        events = self._taken(takes)
        now = time.monotonic()
        with self._lock:
            self._held.update([event.entry for event in events])
            self._unannounced.update({event.entry: (event, now) for event in events})
        if self._average_seconds >= SLOW_SECONDS:
            self._announce()
        return events

    def _patience(self) -> float:
        """How long to wait for news, in seconds: not long while handlers run whose end must be settled."""
        longest = BUSY_SECONDS if self._crew and self._crew.busy else IDLE_SECONDS
        return min(self._next_due - time.monotonic(), longest)

    def _steps(self, count: int, patience: float) -> list[Operation[Any]]:
        """Unordered groups read natively, which is twice as fast; due retries are looked for now and then."""
        now = time.monotonic()
        if self._paused:  # only scripts ask about that before they take anything
            return [operations.take_due(self.keys, self.group, self.owner, count=count)]
        if now < self._next_due:
            block_ms = int(patience * 1000) if patience else None
            return [operations.take_new(self.keys, self.group, self.owner, count=count, block_ms=block_ms)]
        self._next_due = now + IDLE_SECONDS
        return [
            operations.take_due(self.keys, self.group, self.owner, count=count),
            operations.take_new(self.keys, self.group, self.owner, count=count, block_ms=None),
        ]

    def _ordered_steps(self, count: int) -> list[Operation[Any]]:
        take = operations.take_ordered(self.keys, self.group, self.owner, count=count)
        wait_ms = int(self._patience() * 1000)
        if not self._idle or self._outcomes or wait_ms <= 0:
            return [take]
        return [operations.await_news(self.keys, self._last_read, block_ms=wait_ms), take]

    def _taken(self, results: list[Any]) -> list[Event]:
        found = [taken for taken in results if taken is not None]  # waiting for news answers None
        if not all(taken.group_exists for taken in found):
            self._restore_group()
            return []
        if self._must_stand_back(found[-1]):
            return []
        now = time.monotonic()
        if self._ordered:
            self._next_due = now + IDLE_SECONDS
            self._last_read = found[-1].last_read or self._last_read
            if found[-1].full and not found[-1].events:
                self._stopping.wait(FULL_SECONDS)  # there is news, but none that may be taken
        self._alone = next((taken.alone for taken in found if taken.alone), "")
        for taken in found:
            if taken.next_due_ms is not None:
                self._next_due = min(self._next_due, now + taken.next_due_ms / 1000)
        events = [event for taken in found for event in taken.events]
        if found[-1].breakpoint and events:
            events = self._passing(events, found[-1].breakpoint)
        self._idle = not events
        return events

    def _passing(self, events: list[Event], packed: bytes) -> list[Event]:
        """What goes on to its handler: what fits the group's breakpoint stops before, and is no longer ours."""
        fits = hold.matcher(packed)
        fitting = [event for event in events if self._admission.of(event) and fits(event)]
        if not fitting:
            return events
        stopped = self._client.run(hold.stop(self.keys, self.group, self.owner, packed, fitting))
        return [event for event in events if event.entry not in stopped]

    def _must_stand_back(self, taken: Taken) -> bool:
        """Whether somebody paused the group, or moved its position; then all that we hold is given back."""
        moved = self._moves not in (None, taken.generation)
        if moved or (taken.paused and not self._paused):
            log.info("%s on %s: %s", self.group, self.keys.topic, "its position was moved" if moved else "paused")
            self._recover()
        elif self._paused and not taken.paused:
            log.info("%s on %s: resumed", self.group, self.keys.topic)
        self._paused, self._moves = taken.paused, taken.generation
        if taken.paused:
            self._stopping.wait(PAUSED_SECONDS)
        return moved or taken.paused

    def _restore_group(self) -> None:
        """Somebody removed the group or its stream: begin again with what is there, and say so."""
        log.error("%s on %s: the group is gone from the server; it begins again", self.group, self.keys.topic)
        record = describe(self._subscriptions)
        self._client.run(operations.subscribe(self.keys, self.group, record, start="0-0", worker=self._worker))

    def _handle(self, events: list[Event]) -> None:
        """Handle events one after another, until told to stop."""
        if self._is_async:
            waiting = deque(events)
            while waiting and not self._stopping.is_set():
                with suppress(asyncio.CancelledError):  # of a handler that cancelled its own task and went on
                    self._runner.run(self._ahandle(waiting))
            return
        run, ended, is_stopping = self._run, self._ended, self._stopping.is_set
        for event in events:
            if is_stopping():
                return
            ended(run(event))

    async def _ahandle(self, waiting: deque[Event]) -> None:
        """Handle events in one task, which costs a tenth of a task for each. A cancelled one is not used again."""
        task = asyncio.current_task()
        while waiting and not self._stopping.is_set() and not (task and task.cancelling()):
            self._ended(await self._arun(waiting.popleft()))

    def _run(self, event: Event) -> Outcome:
        subscription = self._admission.of(event)
        if subscription is None:
            return delivery.skipped(event)
        return delivery.run(subscription, event, self._deadlines)

    async def _arun(self, event: Event) -> Outcome:
        subscription = self._admission.of(event)
        return delivery.skipped(event) if subscription is None else await delivery.arun(subscription, event)

    def _ended(self, outcome: Outcome) -> None:
        outcomes, duration_us = self._outcomes, outcome.duration_us
        outcomes.append(outcome)
        self._average_seconds += ((duration_us / 1e6 if duration_us > 10 else 1e-5) - self._average_seconds) * 0.2
        if (
            duration_us >= SETTLE_ALONE_US
            or outcome.ended - outcomes[0].ended >= SETTLE_AFTER_SECONDS
            or (self._alone and outcome.event.entry == self._alone)
        ):
            self._settle()

    def _settle(self) -> None:
        for operation in self._settlements():
            self._settled(self._client.run(operation), self._outcomes)
            self._outcomes = []

    def _settlements(self) -> list[Operation[frozenset[str]]]:
        """The operation that settles what has ended, if anything has."""
        if not self._outcomes:
            return []
        with self._lock:
            for outcome in self._outcomes:
                self._unannounced.pop(outcome.event.entry, None)
        now = time.monotonic()
        settlements = [delivery.judge(outcome, now=now, ordered=self._ordered) for outcome in self._outcomes]
        for settlement in settlements:
            if settlement.verdict == b"r":
                self._next_due = min(self._next_due, now + settlement.record.due_in_ms / 1000)
        return [operations.settle(self.keys, self.group, self.owner, settlements, holds=len(self._held))]

    def _settled(self, stale: frozenset[str], outcomes: list[Outcome]) -> None:
        for entry in sorted(stale):
            log.warning(
                "%s on %s: %s was settled elsewhere; this attempt changes nothing", self.group, self.keys.topic, entry
            )
        self._held.difference_update([outcome.event.entry for outcome in outcomes])

    def _announce(self) -> None:
        with self._lock:
            ended = {outcome.event.entry for outcome in self._outcomes}
            records = [
                Record(Step.DELIVERED, event.entry, event.attempt)
                for event, _ in self._unannounced.values()
                if event.entry not in ended and self._admission.of(event)
            ]
            self._unannounced.clear()
            if records:
                self._client.run(operations.announce(self.keys, self.group, self.owner, records))

    def _recover(self) -> bool:
        """Bring memory and server together again. Raises `ServerError` while that can't be."""
        self._await_crew()
        self._end_ahead()  # what it took is given back like the rest
        self._settle()
        self._give_back()
        return True

    def _await_crew(self) -> None:
        """What still runs must end first: given back, it would run twice at once."""
        for outcome in self._crew.finish() if self._crew else ():
            self._outcomes.append(outcome)

    def _give_back(self) -> None:
        """Release all that this owner holds, known here or not (a lost reply), and take a new name."""
        with self._lock:
            self._unannounced.clear()
        while self._client.run(operations.release(self.keys, self.group, self.owner)) == operations.MAX_BATCH:
            pass
        self._client.run(operations.leave(self.keys, self.group, self.owner))
        self._held.clear()
        self._generation += 1

    def _finish(self) -> None:
        self._await_crew()
        try:
            self._end_ahead()
            self._settle()
            self._give_back()
        except ServerError as error:
            log.warning("%s on %s: could not give back: %s; others reclaim it", self.group, self.keys.topic, error)
        self._runner.close()
        if self._crew:
            self._crew.close()
