"""A feed: what the sockets that look at one topic through the same filter get. Pure.

Takes in every chunk of the topic, counts all of it, keeps the newest few events to draw; a tick turns that into one
frame for all sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bus.event import Event, entry_ms
from bus.journal import JournalEntry, Step
from bus.tail import Chunk, Position
from dashboard import cursors
from dashboard.live.frames import MAX_ROWS, StepKey, TailFrame, limited
from dashboard.live.frames import Step as ShownStep
from dashboard.queries.facts import preview
from dashboard.queries.lanes import Place, label, lanes
from dashboard.record.data import shown_data
from dashboard.record.progress import Moment, Progress, advance
from dashboard.record.rows import clean
from dashboard.record.subscriptions import DEFAULT_ATTEMPTS, Subscribed, governing, order_of

HIDDEN: Final = "hidden: needs the role payload viewer"
MAX_DRAWN: Final = 1_000  # rows that a browser may still show, whose steps it must get

Histories = Mapping[str, Sequence[Subscribed]]  # subscriptions by group
Render = Callable[[dict[str, Any]], str]


class Filter(msgspec.Struct, frozen=True):
    """What a socket wants to see."""

    topic: str
    type: str | None = None
    key: str | None = None
    with_data: bool = True  # False: for whoever may not see payloads; rows are drawn once for all that look so

    @property
    def is_whole(self) -> bool:
        """Whether it admits every event of the topic."""
        return self.type is None and self.key is None

    def admits(self, event: Event) -> bool:
        return self.type in (None, event.type) and self.key in (None, event.key or "")


class Feed:
    """Gathers what happens on a topic until the next tick."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self._published = 0
        self._newest: deque[tuple[Event, Histories]] = deque(maxlen=MAX_ROWS)
        self._steps: dict[StepKey, ShownStep] = {}
        self._drawn: dict[str, None] = {}
        self._has_news = False

    def add(self, chunk: Chunk, histories: Histories, steps: Mapping[StepKey, ShownStep]) -> None:
        """Take in a chunk of the topic. `steps`: what `steps_of` says of it, worked out once for all feeds."""
        self._has_news = True
        for event in chunk.events:
            if self.wanted.admits(event):
                self._published += 1
                self._newest.append((event, histories))
        self._steps.update(steps)

    def tick(self, positions: Mapping[int, Position], render: Render, now_ms: int) -> TailFrame | None:
        """What was taken in since the last tick, or None."""
        if not self._has_news:
            return None
        rows = {row_key(event): (event, histories) for event, histories in self._newest}
        self._remember(rows)
        frame = TailFrame(
            self.wanted.topic,
            cursors.encode(positions),
            published=self._published,
            rows={key: render(self._row(event, histories)) for key, (event, histories) in rows.items()},
            steps=limited(self._steps, self._drawn),
            delays_ms=[max(now_ms - entry_ms(event.entry), 0) for event, _ in self._newest],
        )
        self._published, self._steps, self._has_news = 0, {}, False
        self._newest.clear()
        return frame if frame.published or frame.steps else None

    def _row(self, event: Event, histories: Histories) -> dict[str, Any]:
        return row_of(event, histories, self._steps, with_data=self.wanted.with_data)

    def _remember(self, keys: Iterable[str]) -> None:
        self._drawn.update(dict.fromkeys(keys))
        for key in list(self._drawn)[: max(len(self._drawn) - MAX_DRAWN, 0)]:
            del self._drawn[key]


def row_key(event: Event) -> str:
    """What a row is called on the page."""
    return f"{event.topic}:{event.partition}:{event.entry}"


def row_of(
    event: Event, histories: Histories, steps: Mapping[StepKey, ShownStep], *, with_data: bool
) -> dict[str, Any]:
    """The event as the row template takes it, with the lanes' states as far as they are known."""
    key = row_key(event)
    place = Place(order_of(event.entry), 0, entry_ms(event.entry), event.type)
    shown = []
    for lane in lanes(place, histories, {}, {}):
        state, words = steps.get((key, lane["group"]), (str(lane["state"]), lane["label"]))
        shown.append({"group": lane["group"], "state": state, "label": words})
    return {
        "topic": event.topic,
        "partition": event.partition,
        "entry": event.entry,
        "id": clean(event.id),
        "type": clean(event.type),
        "key": clean(event.key) if event.key else None,
        "source": clean(event.source),
        "correlation_id": clean(event.correlation_id),
        "at_ms": place.at_ms,
        "size": len(event.raw),
        "preview": preview(shown_data(event, 480)) if with_data else HIDDEN,
        "lanes": shown,
    }


def steps_of(chunk: Chunk, histories: Histories) -> dict[StepKey, ShownStep]:
    """The states that a chunk's records lead to, by row and group."""
    found: dict[StepKey, ShownStep] = {}
    for entry in chunk.journal:
        found.update(_steps_of(chunk, entry, histories))
    return found


def _steps_of(chunk: Chunk, entry: JournalEntry, histories: Histories) -> dict[StepKey, ShownStep]:
    moment = Moment(entry.at_ms, entry.worker)
    found = {}
    for record in entry.records:
        if record.step == Step.SKIPPED:  # groups that don't take the type have no lane
            continue
        delivery = Progress()
        advance(delivery, record, moment)
        said = governing(histories.get(entry.group, ()), order_of(record.entry))
        words = label(delivery.state, delivery.attempt, said.attempts if said else DEFAULT_ATTEMPTS)
        found[f"{chunk.topic}:{chunk.partition}:{record.entry}", entry.group] = (str(delivery.state), words)
    return found
