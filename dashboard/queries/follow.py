"""New matches of a query, each told once, as the recorder stores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.language import Query
from dashboard.queries.search import MAX_PER_PAGE, search
from dashboard.queries.spans import mark_of

MAX_SEEN: Final = 10_000

Rows = Sequence[dict[str, Any]]


class Follower:
    """Remembers what it has told. Begins with nothing told: the newest matches that are there are the first.

    A query that asks about lanes tells an event when it comes to match, as long as it is among the newest 500 that
    do; any other tells each event that was stored, however many.
    """

    def __init__(self, query: Query, *, topic: str | None = None) -> None:
        self.query, self.topic = query, topic
        self._mark = ""
        self._cursors: tuple[Any, ...] = ()
        self._told: dict[str, None] = {}

    def begin(self, limit: int) -> Rows:
        """The newest matches so far, oldest first."""
        places = list(partitions().values())
        self._mark, self._cursors = mark_of({place.id: place.newest_number for place in places}), _cursors(places)
        page = search(self.query, topic=self.topic, limit=MAX_PER_PAGE if self.query.lane_terms else limit)
        self._remember(page["rows"])
        return list(reversed(page["rows"][:limit]))

    def fresh(self) -> Iterator[Rows]:
        """What has come to match since, oldest first."""
        cursors = _cursors(partitions().values())
        if cursors == self._cursors:
            return
        self._cursors = cursors
        if self.query.lane_terms:
            yield self._newly_matching()
        else:
            yield from self._newly_stored()

    def _newly_matching(self) -> Rows:
        page = search(self.query, topic=self.topic, limit=MAX_PER_PAGE)
        found = [row for row in reversed(page["rows"]) if _name(row) not in self._told]
        self._remember(page["rows"])
        return found

    def _newly_stored(self) -> Iterator[Rows]:
        is_over = False
        while not is_over:
            page = search(self.query, topic=self.topic, mark=self._mark, limit=MAX_PER_PAGE, oldest_first=True)
            self._mark, is_over = page["reached"], page["next"] is None
            yield [row for row in page["rows"] if _name(row) not in self._told]

    def _remember(self, rows: Rows) -> None:
        self._told.update((_name(row), None) for row in rows)
        for name in list(self._told)[: max(len(self._told) - MAX_SEEN, 0)]:
            del self._told[name]


def _name(row: dict[str, Any]) -> str:
    return f"{row['topic']}/{row['partition']}/{row['entry']}"


def _cursors(places: Iterable[PartitionRow]) -> tuple[Any, ...]:
    return tuple((place.id, place.events_cursor, place.journal_cursor) for place in places)
