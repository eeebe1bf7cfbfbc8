"""What happened in each ten seconds: counts and histograms by partition, group and type, stored with the rows.

A cell is written whole, from memory or read anew: the cursors' compare-and-set proves that nobody else wrote it. Cells
are keyed by partition, since a cursor guards one partition. With time they are folded into coarser ones
(`rollup_age`). What strangers may invent is bounded: beyond `MAX_TYPES` types of a group, and `MAX_GROUPS` groups of
a partition, in ten seconds the rest is counted as one.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import msgspec
from django.db.backends.utils import CursorWrapper

from bus.journal import Step
from dashboard.record import histogram
from dashboard.record.histogram import Histogram, classes_of
from dashboard.sql import slices, spread

SPAN_MS: Final = 10_000
NOBODY: Final = ""  # the group of what was published
OTHERS: Final = "(others)"
MAX_TYPES: Final = 30
MAX_GROUPS: Final = 100
MAX_KEPT: Final = 500  # buckets in memory
STEADY_MS: Final = 3_600_000  # younger cells are never folded, so memory is as good as the row
COUNTS: Final = ("published", "succeeded", "failed", "retried", "dead", "skipped")

COLUMNS: Final = (*COUNTS, "handled", "settled")
LOAD: Final = (
    f'SELECT start_ms, "group", type, {", ".join(COLUMNS)} FROM dashboard_rollup'  # noqa: S608  constants
    " WHERE partition_id = %s AND span_ms = %s AND start_ms IN (…)"
)
STORE: Final = (
    'INSERT INTO dashboard_rollup (partition_id, "group", span_ms, start_ms, type,'  # noqa: S608  constants
    f" {', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * (5 + len(COLUMNS)))})"
    ' ON CONFLICT (partition_id, "group", span_ms, start_ms, type)'
    f" DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS)}"
)
# What a step counts as.
_MEANS: Final[dict[int, tuple[str, ...]]] = {
    Step.SUCCEEDED: ("succeeded",),
    Step.RETRY_SCHEDULED: ("failed", "retried"),
    Step.RECLAIMED: ("failed", "retried"),
    Step.DEAD_LETTERED: ("failed", "dead"),
    Step.SKIPPED: ("skipped",),
}
COUNTED: Final = frozenset(map(int, _MEANS))
_TIMED: Final = COUNTED - {Step.RECLAIMED, Step.SKIPPED}  # steps at whose end a handler's duration was told


class Cell(msgspec.Struct):
    """What a group did with events of one type in one bucket; of group `NOBODY`: how many were published."""

    published: int = 0
    succeeded: int = 0
    failed: int = 0  # attempts, whether or not another one followed
    retried: int = 0
    dead: int = 0
    skipped: int = 0  # of a type that the group does not take
    handled: Histogram = msgspec.field(default_factory=Counter)  # how long handlers ran
    settled: Histogram = msgspec.field(default_factory=Counter)  # from publish until succeeded or dead

    def add(self, other: Cell) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.handled.update(other.handled)
        self.settled.update(other.settled)

    def values(self) -> tuple[Any, ...]:
        counts = (getattr(self, name) for name in COUNTS)
        return (*counts, histogram.packed(self.handled), histogram.packed(self.settled))


def cell(values: Sequence[Any]) -> Cell:
    """The cell that `Cell.values` tells."""
    return Cell(*values[:-2], histogram.unpacked(values[-2]), histogram.unpacked(values[-1]))


# A step that counts, of an event: step, type, how long the handler ran (µs), and how long after its publish the event
# was settled (ms), if it was. A plain tuple: one is made for each record.
Ended = tuple[int, str, int, int | None]


Place = tuple[int, int]  # partition id, start of the bucket
Name = tuple[str, str]  # group, type


def stored(partition_id: int, start_ms: int, span_ms: int, group: str, event_type: str, found: Cell) -> tuple[Any, ...]:
    """The values of `STORE`."""
    return (partition_id, group, span_ms, start_ms, event_type, *found.values())


class Bucket:
    """The cells of one partition in one span of time."""

    def __init__(self) -> None:
        self.cells: dict[Name, Cell] = {}
        self._types: Counter[str] = Counter()  # by group

    def put(self, group: str, event_type: str, found: Cell) -> None:
        self.cells[group, event_type] = found
        self._types[group] += event_type != OTHERS

    def find(self, group: str, event_type: str) -> tuple[Name, Cell]:
        """The cell, made where it is not, and the name that it goes by."""
        name = (group, event_type)
        found = self.cells.get(name)
        if found is None:
            if group not in self._types and len(self._types) > MAX_GROUPS and group != NOBODY:
                group = OTHERS
            if self._types[group] >= MAX_TYPES:
                event_type = OTHERS
            name = (group, event_type)
            found = self.cells.get(name)
            if found is None:
                found = Cell()
                self.put(*name, found)
        return name, found


class Rollups:
    """Gathers what one transaction counts, and writes the cells that it changed."""

    def __init__(self) -> None:
        self.published: list[tuple[int, int, str]] = []  # partition id, start of the bucket, type
        self.ended: dict[tuple[int, int, str], list[Ended]] = defaultdict(list)  # by partition id, start and group
        self._kept: dict[Place, Bucket] = {}

    def clear(self) -> None:
        """Forget everything: it may not be as stored."""
        self._kept.clear()
        self.published.clear()
        self.ended.clear()

    def write(self, cursor: CursorWrapper) -> None:
        """Store what was gathered since the last time."""
        published = Counter(self.published)
        self._load(cursor, {(pid, start) for pid, start, _ in (*published, *self.ended)})
        changed: dict[tuple[Place, Name], Cell] = {}
        for (pid, start, event_type), count in published.items():
            name, found = self._kept[pid, start].find(NOBODY, event_type)
            found.published += count
            changed[(pid, start), name] = found
        for (pid, start, group), steps in self.ended.items():
            for name, found in _count(self._kept[pid, start], group, steps):
                changed[(pid, start), name] = found
        if changed:
            cursor.executemany(
                STORE, [stored(*place, SPAN_MS, *name, found) for (place, name), found in changed.items()]
            )
        self.published.clear()
        self.ended.clear()
        self._shrink()

    def _load(self, cursor: CursorWrapper, places: Iterable[Place]) -> None:
        """Have these buckets in memory, as they are stored."""
        steady = time.time() * 1000 - STEADY_MS
        missing: dict[int, list[int]] = defaultdict(list)
        for pid, start in places:
            if start < steady or (pid, start) not in self._kept:
                self._kept[pid, start] = Bucket()
                missing[pid].append(start)
        for pid, starts in missing.items():
            for some in slices(starts):
                cursor.execute(spread(LOAD, len(some)), [pid, SPAN_MS, *some])
                for start, group, name, *values in cursor.fetchall():
                    self._kept[pid, start].put(group, name, cell(values))

    def _shrink(self) -> None:
        for place in list(islice(self._kept, max(len(self._kept) - MAX_KEPT, 0))):
            del self._kept[place]


def _count(bucket: Bucket, group: str, steps: Iterable[Ended]) -> Iterable[tuple[Name, Cell]]:
    """Count steps of one group. Result: the cells that changed, by name."""
    by_type: dict[str, list[Ended]] = defaultdict(list)
    for step in steps:
        by_type[step[1]].append(step)
    for event_type, some in by_type.items():
        name, found = bucket.find(group, event_type)
        for number, count in Counter(map(itemgetter(0), some)).items():
            for column in _MEANS[number]:
                setattr(found, column, getattr(found, column) + count)
        found.handled.update(classes_of([us for number, _, us, _ in some if us and number in _TIMED]))
        found.settled.update(
            classes_of([ms * 1000 for number, _, _, ms in some if ms is not None and number in _TIMED])
        )
        yield name, found
