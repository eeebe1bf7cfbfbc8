"""What comes and goes right now, by type: for a group that takes only some types, the sums of a topic say nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from dashboard.queries.lag import PartitionRow
from dashboard.record.rollups import NOBODY, OTHERS, SPAN_MS
from dashboard.sql import rows

_CELLS: Final = (
    'SELECT partition_id, "group", type, SUM(published) AS published, SUM(succeeded + dead) AS settled,'
    " SUM(skipped) AS skipped FROM dashboard_rollup WHERE span_ms = %s AND start_ms >= %s AND start_ms <= %s"
    ' GROUP BY partition_id, "group", type'
)


class Flow(NamedTuple):
    """Events a second. `coming`: of the types that the group takes; None when too many types came to tell them apart.

    `trend`: by how much its lag grows; it shrinks also by what the group passes over.
    """

    coming: float | None
    trend: float


class Flows:
    """The last ten to twenty seconds of every topic and group."""

    def __init__(self, places: Mapping[tuple[str, int], PartitionRow], now_ms: int) -> None:
        topics = {place.id: place.topic for place in places.values()}
        self._seconds = (SPAN_MS + now_ms % SPAN_MS) / 1000
        self._published: dict[str, Counter[str]] = defaultdict(Counter)
        self._gone: Counter[tuple[str, str]] = Counter()
        newest_ms = now_ms - now_ms % SPAN_MS
        for row in rows(_CELLS, [SPAN_MS, newest_ms - SPAN_MS, newest_ms]):
            topic = topics.get(row["partition_id"], "")
            if row["group"] == NOBODY:
                self._published[topic][row["type"]] += int(row["published"])
            else:
                self._gone[topic, row["group"]] += int(row["settled"] + row["skipped"])

    def of(self, topic: str, group: str, types: Collection[str]) -> Flow:
        """What comes to a group that takes these types, and how its lag changes."""
        published = self._published[topic]
        own = None if published[OTHERS] else sum(published[name] for name in types) / self._seconds
        return Flow(own, (published.total() - self._gone[topic, group]) / self._seconds)
