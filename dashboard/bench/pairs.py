"""How two things are compared on a machine that other programs use too: in alternating pairs, never in two series.

A rate says what a machine did while it was measured; the ratio of two runs that follow each other says which of the
two is faster. The median of several pairs is reported with the least and the greatest, which say how much to trust it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What one run took: seconds on the wall, and seconds of this process's processor time."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each event."""
        return self.cpu_seconds / self.events * 1e6


@dataclass(frozen=True)
class Spread:
    """The middle of several figures, with the least and the greatest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}–{self.high:.2f})"


@dataclass
class Pairs:
    """Runs of a baseline and of what is compared with it, in the order in which they alternated."""

    baseline: list[Run] = field(default_factory=list)
    ours: list[Run] = field(default_factory=list)

    @property
    def ratio(self) -> Spread:
        """How many times as fast as the baseline, by the clock on the wall."""
        return spread([own.per_second / base.per_second for base, own in zip(self.baseline, self.ours, strict=True)])

    @property
    def cpu_ratio(self) -> Spread:
        """The same by the processor time that this process needed, which other programs disturb less."""
        return spread([base.cpu_us / own.cpu_us for base, own in zip(self.baseline, self.ours, strict=True)])

    def as_json(self) -> dict[str, Any]:
        """Every run, for whoever wants to reckon for himself."""
        both = {"baseline": self.baseline, "ours": self.ours}
        return {name: [[run.events, run.seconds, run.cpu_seconds] for run in runs] for name, runs in both.items()}


class Stopwatch:
    """Measures from the first tick to the last of `events`: what is set up before and cleaned up after stays out."""

    def __init__(self, events: int, done: Callable[[], None] = lambda: None) -> None:
        self.events = events
        self._seen = 0
        self._mark = 1
        self._done = done
        self._marks: list[tuple[float, float]] = []

    def tick(self) -> None:
        self._seen += 1
        if self._seen == self._mark:
            self._marks.append((time.perf_counter(), time.process_time()))
            self._mark = self.events
            if self._seen == self.events:
                self._done()

    @property
    def run(self) -> Run:
        (began, cpu_began), (ended, cpu_ended) = self._marks
        return Run(self.events, ended - began, cpu_ended - cpu_began)


def alternate(pairs: int, baseline: Callable[[], Run], ours: Callable[[], Run]) -> Pairs:
    """Runs of both in turn."""
    both = turns(pairs, baseline, ours)
    return Pairs([base for base, _ in both], [own for _, own in both])


def turns(pairs: int, baseline: Callable[[], T], ours: Callable[[], T]) -> list[tuple[T, T]]:
    """What both give in turn; who begins changes with every pair, and a first pair warms up and does not count."""
    found = []
    for number in range(-1, pairs):
        gc.collect()
        first, second = (baseline, ours) if number % 2 else (ours, baseline)
        one = first()
        gc.collect()
        other = second()
        found.append((one, other) if number % 2 else (other, one))
    return found[1:]


def timed(events: int, work: Callable[[], object]) -> Run:
    """One run of `work`, which handles so many events."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return Run(events, time.perf_counter() - began, time.process_time() - cpu_began)


def spread(figures: Sequence[float]) -> Spread:
    """The figures' median, least and greatest."""
    return Spread(median(figures), min(figures), max(figures))
