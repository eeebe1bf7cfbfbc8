"""Careful publishers: each event has an id of its own and is published until the server says that it is stored."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Final

from bus.config import Config
from bus.errors import ServerError
from bus.event import Draft
from bus.publisher import Publisher
from tests.faults.handlers import TOPIC

KEYS: Final = 12  # of each publisher
AGAIN_SECONDS: Final = 0.05
BATCHES_A_SECOND: Final = 8


class Source:
    """One publisher in a thread. Of each key it publishes number 1, 2, 3…; without `keyed` nothing has a key."""

    def __init__(self, name: str, config: Config, *, seed: int, rate: float, keyed: bool) -> None:
        self.acknowledged: dict[str, str] = {}  # id → entry
        self.troubles = 0
        self._name = name
        self._publisher = Publisher(config)
        self._dice = random.Random(f"{seed}/{name}")
        self._rate = rate
        self._keyed = keyed
        self._numbers: Counter[str] = Counter()
        self._count = 0
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Publish nothing new; whether all that was begun is acknowledged within `seconds`."""
        self._stopping.set()
        self._thread.join(seconds)
        finished = not self._thread.is_alive()
        self._given_up.set()
        self._thread.join()
        self._publisher.close()
        return finished

    def _run(self) -> None:
        size = max(round(2 * self._rate / BATCHES_A_SECOND), 2)
        while not self._stopping.wait(1 / BATCHES_A_SECOND):
            self._publish([self._draft() for _ in range(self._dice.randrange(1, size))])

    def _draft(self) -> Draft:
        key = f"{self._name}-{self._dice.randrange(KEYS)}" if self._keyed else None
        self._numbers[key or ""] += 1
        self._count += 1
        data = {"number": self._numbers[key or ""]}
        return self._publisher.draft(TOPIC, "order_placed", data, key=key, id=f"{self._name}-{self._count:06d}")

    def _publish(self, drafts: list[Draft]) -> None:
        while not self._given_up.is_set():
            try:
                placed = self._publisher.publish_many(drafts)
                self.acknowledged.update((event.id, event.entry) for event in placed)
                return
            except ServerError:
                self.troubles += 1
                self._given_up.wait(AGAIN_SECONDS)
