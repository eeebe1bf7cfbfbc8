"""What this thread or task is handling now: whatever is published meanwhile is caused by it."""

from __future__ import annotations

from contextvars import ContextVar

import msgspec

from bus.event import Cause, Event


class Attempt(msgspec.Struct):
    """One run of a handler. `log` collects the lines that it logs."""

    event: Event
    group: str
    log: list[str] = msgspec.field(default_factory=list)

    @property
    def cause(self) -> Cause:
        return Cause(self.event.id, self.group, self.event.attempt, self.event.topic)


current: ContextVar[Attempt | None] = ContextVar("fanlight_attempt", default=None)
