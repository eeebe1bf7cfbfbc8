"""Which subscription governs an event: a group's history, and the rule that reads it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from bus.operations import entry_order

DEFAULT_ATTEMPTS: Final = 5
_types = msgspec.json.Decoder(list[str]).decode


class Subscribed(msgspec.Struct, frozen=True):
    """What a group subscribed to, for events after the entry `start` (as a sort key)."""

    start: tuple[int, int]
    types: frozenset[str] | None = None
    attempts: int = DEFAULT_ATTEMPTS

    def admits(self, event_type: str) -> bool:
        return self.types is None or event_type in self.types


def subscribed(start: str, types: str, attempts: int) -> Subscribed:
    """One row of the history; `types` as stored: a JSON list, or nothing for all."""
    return Subscribed(order_of(start), frozenset(_types(types)) if types else None, attempts)


def governing(history: Sequence[Subscribed], entry: tuple[int, int]) -> Subscribed | None:
    """The subscription that an event falls under: the group's newest one that starts before it."""
    for said in reversed(history):
        if said.start < entry:
            return said
    return None


def order_of(entry: str) -> tuple[int, int]:
    """The sort key of an entry id; of what is none, the beginning."""
    try:
        return entry_order(entry)
    except ValueError:
        return 0, 0
