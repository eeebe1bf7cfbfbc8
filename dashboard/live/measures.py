"""What a hub counts of everything that passes: rates for the overview, and how late events reach it."""

from __future__ import annotations

import time
from collections import deque
from statistics import quantiles
from typing import Final

from bus.event import entry_ms
from bus.tail import Chunk
from dashboard.record import rates
from dashboard.record.rates import Rates, Series, bucket_of

DELAYS: Final = 500
SAMPLED: Final = 20  # delays of one chunk


class Measures:
    """Counts and delays of this process's live tail."""

    def __init__(self) -> None:
        self.rates = Rates()
        self._delays: deque[int] = deque(maxlen=DELAYS)

    def add(self, chunk: Chunk) -> None:
        """Count a chunk."""
        now_ms = int(time.time() * 1000)
        self._delays.extend(max(now_ms - entry_ms(event.entry), 0) for event in chunk.events[-SAMPLED:])
        for event in chunk.events:
            bucket = bucket_of(entry_ms(event.entry))
            self.rates.add(Series(rates.PUBLISHED, "", chunk.topic), bucket)
            self.rates.add(Series(*rates.edge_of(event.source, event.cause), chunk.topic), bucket)
        for entry in chunk.journal:
            for record in entry.records:
                for kind in rates.COUNTED.get(record.step, ()):
                    self.rates.add(Series(kind, entry.group, chunk.topic), bucket_of(entry.at_ms))

    def forget_old(self) -> None:
        """Keep the last minute."""
        self.rates.drop_before(bucket_of(int(time.time() * 1000)) - rates.SPARK_BUCKETS - 1)

    def delay(self) -> dict[str, float] | None:
        """How long after its publication an event gets here, in ms."""
        if len(self._delays) < 2:
            return None
        cuts = quantiles(self._delays, n=20)
        return {"p50_ms": round(cuts[9]), "p95_ms": round(cuts[18])}
