"""How much happens per second: counts in buckets of time. Pure.

Both the recorder (as rows) and the live hub (in memory) count into buckets. Each may miss some: the recorder while
it is behind, the hub what came before it started. So the larger count of a bucket is the truer one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from bus.event import Cause
from bus.journal import Step

BUCKET_MS: Final = 2_000
SPARK_BUCKETS: Final = 30
RATE_BUCKETS: Final = 5  # ten seconds
OTHERS: Final = "(others)"

PUBLISHED: Final = "published"  # who: nobody
SOURCE: Final = "source"  # who: the source that published to the topic from outside
CAUSED: Final = "caused"  # who: `<topic>/<group>` whose handlers published to the topic
SETTLED: Final = "settled"  # who: the group
FAILED: Final = "failed"  # who: the group; attempts, whether or not another one followed
COUNTED: Final[dict[int, tuple[str, ...]]] = {  # what a step of the journal counts as
    Step.SUCCEEDED: (SETTLED,),
    Step.DEAD_LETTERED: (SETTLED, FAILED),
    Step.RETRY_SCHEDULED: (FAILED,),
    Step.RECLAIMED: (FAILED,),
}


class Series(NamedTuple):
    """What is counted: one edge of the map."""

    kind: str
    who: str
    topic: str


def edge_of(source: str, cause: Cause | None) -> tuple[str, str]:
    """Kind and `who` of the edge on which an event came: from a group's handler, or from outside."""
    return (CAUSED, f"{cause.topic}/{cause.group}") if cause and cause.group else (SOURCE, source)


def bucket_of(at_ms: int) -> int:
    """The bucket that a moment falls into."""
    return at_ms // BUCKET_MS


class Rates:
    """Counts by series and bucket, for the last minute."""

    def __init__(self, counts: Iterable[tuple[Series, int, int]] = ()) -> None:
        self._counts: dict[Series, dict[int, int]] = defaultdict(dict)
        for series, bucket, count in counts:
            self.add(series, bucket, count)

    def add(self, series: Series, bucket: int, count: int = 1) -> None:
        """Count `count` more of `series` in `bucket`."""
        buckets = self._counts[series]
        buckets[bucket] = buckets.get(bucket, 0) + count

    def drop_before(self, bucket: int) -> None:
        """Forget older buckets, and series that have no other."""
        for series in list(self._counts):
            kept = {b: n for b, n in self._counts[series].items() if b >= bucket}
            if kept:
                self._counts[series] = kept
            else:
                del self._counts[series]

    def merged(self, other: Rates) -> Rates:
        """The larger count of each bucket."""
        result = Rates()
        for counts in (self._counts, other._counts):
            for series, buckets in counts.items():
                target = result._counts[series]
                for bucket, count in buckets.items():
                    target[bucket] = max(target.get(bucket, 0), count)
        return result

    def rate(self, series: Series, now_ms: int) -> float:
        """Per second, over the last ten seconds."""
        buckets = self._counts.get(series)
        if not buckets:
            return 0.0
        now = bucket_of(now_ms)
        count = sum(buckets.get(bucket, 0) for bucket in range(now - RATE_BUCKETS, now + 1))
        seconds = (RATE_BUCKETS * BUCKET_MS + now_ms % BUCKET_MS) / 1000
        return round(count / seconds, 3)

    def spark(self, series: Series, now_ms: int) -> list[int]:
        """Counts of the last thirty whole buckets, newest last."""
        buckets = self._counts.get(series, {})
        now = bucket_of(now_ms)
        return [buckets.get(bucket, 0) for bucket in range(now - SPARK_BUCKETS, now)]
