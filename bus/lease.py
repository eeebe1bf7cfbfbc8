"""A lease in the database: of several relays one may publish. One of the bus' few files that need Django.

A row moves by compare-and-set, on any database (SQLite has no SKIP LOCKED, and Django ignores it there silently). No
clocks are compared: the owner counts `beat` up, and who sees it stand still for a whole lease takes over. An owner
that was only asleep does no harm when it wakes: ids are deduplicated, and entries are read in order.
"""

from __future__ import annotations

import time

from bus.models import OutboxLease


class Lease:
    """One relay's view of the lease. `seconds`: how long its owner may be silent."""

    def __init__(self, owner: str, seconds: float, *, name: str = "relay") -> None:
        self.holder = ""  # who has it, as far as we know
        self._owner = owner
        self._seconds = seconds
        self._name = name
        self._beat = -1
        self._seen = 0.0  # when the beat was first seen as it is
        self._next = 0.0

    def hold(self) -> bool:
        """Whether it is ours; takes it where it is free, and keeps it from time to time."""
        now = time.monotonic()
        if self.holder == self._owner and now < self._next:
            return True
        row, _ = OutboxLease.objects.get_or_create(name=self._name)
        if (row.owner, row.beat) != (self.holder, self._beat):
            self.holder, self._beat, self._seen = row.owner, row.beat, now
        if row.owner not in ("", self._owner) and now - self._seen < self._seconds:
            return False
        if not self._move(row, self._owner):
            return False
        self.holder, self._beat, self._seen = self._owner, row.beat + 1, now
        self._next = now + self._seconds / 3
        return True

    def seize(self) -> None:
        """Take it from whoever has it, who finds out within a third of its own lease."""
        row, _ = OutboxLease.objects.get_or_create(name=self._name)
        while not self._move(row, self._owner):
            row = OutboxLease.objects.get(name=self._name)
        self.holder, self._beat, self._seen = self._owner, row.beat + 1, time.monotonic()

    def release(self) -> None:
        """Let the next one have it at once."""
        row = OutboxLease.objects.filter(name=self._name, owner=self._owner).first()
        if row is not None:
            self._move(row, "")
        self.holder = ""

    def _move(self, seen: OutboxLease, owner: str) -> bool:
        unchanged = OutboxLease.objects.filter(name=self._name, owner=seen.owner, beat=seen.beat)
        return unchanged.update(owner=owner, beat=seen.beat + 1) == 1
