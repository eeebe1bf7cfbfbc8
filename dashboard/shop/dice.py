"""Chance that repeats: what happens to an event depends on the seed, the event and the attempt, on nothing else."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time

import bus


class Dice:
    """The dice of one attempt of one group at one event."""

    def __init__(self, event: bus.Event, group: str) -> None:
        # The data, not the id: with the same seed it is the same again, in every run.
        subject = f"{os.environ.get('SHOP_SEED', '1')}/{group}/{event.type}/{event.raw!r}"
        self._of_event = random.Random(subject)
        self._of_attempt = random.Random(f"{subject}/{event.attempt}")

    def happens(self, probability: float) -> bool:
        """Whether something with this probability happens, in this attempt."""
        return self._of_attempt.random() < probability

    def is_fated(self, probability: float) -> bool:
        """The same, but decided once for the event: every attempt gets the same answer."""
        return self._of_event.random() < probability

    def number(self, low: int, high: int) -> int:
        return self._of_event.randint(low, high)

    def work(self, typical_ms: float) -> None:
        """Take as long as such work takes: mostly about typical, sometimes far more (log-normal, 5 to 300 ms)."""
        time.sleep(self._seconds(typical_ms))

    async def awork(self, typical_ms: float) -> None:
        """`work`, for a handler that awaits."""
        await asyncio.sleep(self._seconds(typical_ms))

    def _seconds(self, typical_ms: float) -> float:
        drawn = self._of_attempt.lognormvariate(math.log(typical_ms), 0.5)
        return min(max(drawn, 5.0), 300.0) / 1000
