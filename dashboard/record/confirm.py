"""Tells the outbox which of its events are recorded: those whose row says the same id at the same place.

The place counts, since a server may have lost the event after we recorded it, and stored it anew elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bus import outbox
from bus.outbox import Sent
from dashboard.sql import rows_in

ROUNDS: Final = 10  # of 500 entries each: a recorder has more to do
_STORED: Final = (
    "SELECT e.event_id, p.topic, p.number, e.entry FROM dashboard_event e"
    " JOIN dashboard_partition p ON p.id = e.partition_id WHERE e.event_id IN (…)"
)


def confirm() -> None:
    """Confirm what is recorded. Costs one indexed query where no entry waits for it."""
    for _ in range(ROUNDS):
        waiting = outbox.sent()
        stored = _stored(waiting) if waiting else []
        if stored:
            outbox.confirm(stored)
        if len(stored) < outbox.BATCH:
            return


def _stored(waiting: Sequence[Sent]) -> list[Sent]:
    found = rows_in(_STORED, [entry.event_id for entry in waiting])
    places = {(row["event_id"], row["topic"], row["number"], row["entry"]) for row in found}
    return [entry for entry in waiting if entry[1:] in places]
