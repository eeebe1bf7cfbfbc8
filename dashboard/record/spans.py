"""Numbers of events that a rewound server forgot, as spans that never overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Events `first` to `last` of a partition were forgotten, which was noticed at `at_ms`."""

    first: int
    last: int
    at_ms: int


def forgotten_at(spans: Iterable[Span], number: int) -> int | None:
    """When it was noticed that the server had forgotten event `number`; None: it has not."""
    return next((span.at_ms for span in spans if span.first <= number <= span.last), None)


def count_between(spans: Iterable[Span], after: int, to: int) -> int:
    """How many of the events after number `after`, up to `to`, are forgotten."""
    return sum(max(min(span.last, to) - max(span.first, after + 1) + 1, 0) for span in spans)


def stretches(spans: Sequence[Span], after: int, to: int) -> list[tuple[int, int]]:
    """What lies between the spans: first and last number of each stretch after `after`, up to `to`, newest first."""
    found = []
    for span in sorted(spans, reverse=True):
        if span.last < to:
            found.append((max(span.last, after) + 1, to))
        to = min(to, span.first - 1)
    found.append((after + 1, to))
    return [(first, last) for first, last in found if first <= last]


def step(spans: Iterable[Span], number: int, count: int) -> int:
    """The number that is `count` events after `number`, not counting what is forgotten."""
    for span in sorted(spans):
        if span.last > number and number + count >= span.first:
            count += span.last - max(span.first, number + 1) + 1
    return number + count
