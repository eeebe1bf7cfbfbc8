"""What a socket missed while it was away: read again from where it was to where the live tail is now.

The live tail goes on meanwhile, and its frames wait in the socket's window; both ends meet exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from channels.db import database_sync_to_async

from bus import tail
from bus.event import Event
from bus.streams import AsyncClient
from bus.tail import Chunk, Partition, Position
from dashboard import cursors
from dashboard.live.feed import Filter, Histories, Render, row_key, row_of, steps_of
from dashboard.live.frames import MAX_ROWS, MAX_STEPS, Frame, Step, StepKey, TailFrame
from dashboard.queries.lag import number_between
from dashboard.record.subscriptions import order_of

MAX_MISSED: Final = 10_000  # events that are read again; beyond, they are only counted
READ_COUNT: Final = 500
MAX_READS: Final = 2 * MAX_MISSED // READ_COUNT  # of events and journal together


class Caught(NamedTuple):
    """What was missed: the frames that tell it."""

    resumed: Frame
    missed: TailFrame


class CatchUp:
    """Reads a topic from `begin` up to `end`, both by partition."""

    def __init__(
        self,
        wanted: Filter,
        begin: Mapping[Partition, Position],
        end: Mapping[Partition, Position],
        histories: Mapping[Partition, Histories],
    ) -> None:
        self._wanted = wanted
        self._at = {partition: begin.get(partition, Position()) for partition in end}
        self._end = dict(end)
        self._histories = histories
        self._looked_at = self._published = 0
        self._newest: deque[tuple[Event, Histories]] = deque(maxlen=MAX_ROWS)
        self._steps: dict[StepKey, Step] = {}

    async def run(self, client: AsyncClient, render: Render) -> Caught:
        """Read, and tell what was missed. Raises `ServerError`."""
        for _ in range(MAX_READS):
            behind = {partition: at for partition, at in self._at.items() if _is_before(at, self._end[partition])}
            if not behind or self._looked_at >= MAX_MISSED:
                break
            operation = tail.read(client.config.prefix, behind, count=READ_COUNT, block_ms=None)
            for chunk in (chunks := await client.run(operation)):
                self._add(chunk)
            if not chunks:
                break
        beyond = await self._count_beyond()
        exact = None if beyond is None else self._published + beyond
        text = "" if exact is not None else f"more than {self._published:,}"
        resumed = Frame("resumed", {"topic": self._wanted.topic, "missed": exact, "text": text})
        return Caught(resumed, self._frame(render, exact or self._published))

    def _add(self, chunk: Chunk) -> None:
        partition = (chunk.topic, chunk.partition)
        end, histories = self._end[partition], self._histories.get(partition, {})
        self._looked_at += len(chunk.events)
        for event in chunk.events:
            if order_of(event.entry) <= order_of(end.events) and self._wanted.admits(event):
                self._published += 1
                self._newest.append((event, histories))
        for key, step in steps_of(chunk, histories).items():
            self._steps.pop(key, None)  # the newest last
            self._steps[key] = step
        self._steps = dict(list(self._steps.items())[-MAX_STEPS:])
        self._at[partition] = chunk.position

    async def _count_beyond(self) -> int | None:
        """Events between where reading stopped and the end; None when nobody can tell."""
        total = 0
        for (topic, number), at in self._at.items():
            end = self._end[topic, number]
            if order_of(at.events) < order_of(end.events):
                count = await database_sync_to_async(number_between)(topic, number, at.events, end.events)
                if count is None or not self._wanted.is_whole:
                    return None
                total += count
        return total

    def _frame(self, render: Render, published: int) -> TailFrame:
        draw, steps = partial(row_of, with_data=self._wanted.with_data), self._steps
        rows = {row_key(event): render(draw(event, histories, steps)) for event, histories in self._newest}
        return TailFrame(
            self._wanted.topic,
            cursors.encode({number: position for (_, number), position in self._end.items()}),
            published=published,
            rows=rows,
            steps=self._steps,
        )


def _is_before(at: Position, end: Position) -> bool:
    return order_of(at.events) < order_of(end.events) or order_of(at.journal) < order_of(end.journal)
