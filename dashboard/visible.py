"""Which topics whoever asks may see: said once for a request, heeded by every query that is asked within it.

Nothing said means all: the recorder, the live tail and the command line ask for everybody. Knows no users and no roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

Patterns = Sequence[str] | None  # None: every topic


class Visible(NamedTuple):
    """Patterns of the topics that are seen at all, and of those whose payloads are."""

    topics: Patterns = None
    payloads: Patterns = None

    def sees(self, topic: str) -> bool:
        """Whether the topic; "": what is about all topics."""
        return _fits(topic, self.topics)


_visible: Final[ContextVar[Visible]] = ContextVar("visible", default=Visible())  # noqa: B039  it can't be changed


@contextmanager
def only(visible: Visible) -> Iterator[None]:
    """Show no more than this to what is asked within."""
    token = _visible.set(visible)
    try:
        yield
    finally:
        _visible.reset(token)


def sees_all() -> bool:
    """Whether every topic."""
    return _visible.get().topics is None


def sees(topic: str) -> bool:
    """Whether the topic; "": what is about all topics."""
    return _visible.get().sees(topic)


def sees_payloads(topic: str) -> bool:
    """Whether what events of the topic hold."""
    return sees(topic) and _fits(topic, _visible.get().payloads)


def of(topics: Iterable[str]) -> list[str]:
    """Those of the topics that are seen."""
    return [topic for topic in topics if sees(topic)]


def _fits(topic: str, patterns: Patterns) -> bool:
    return patterns is None or (topic != "" and any(fnmatchcase(topic, pattern) for pattern in patterns))
