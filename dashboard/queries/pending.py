"""What a group has in hand right now: its pending entries, as the bus lists them, with the events they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bus import inspect
from bus.inspect import PendingEntry
from dashboard.queries.bus_state import ask
from dashboard.queries.lag import partitions
from dashboard.record.rows import clean
from dashboard.record.subscriptions import order_of
from dashboard.sql import rows_in

MAX_ENTRIES: Final = 500
_EVENTS: Final = (
    "SELECT entry, event_id, type, key, at_ms, correlation_id FROM dashboard_event"
    " WHERE partition_id = %s AND entry IN (…)"
)


def pending(topic: str, group: str, *, limit: int = 50) -> dict[str, Any]:
    """A group's oldest pending entries: worker, how long idle, which attempt, and the event.

    `entries` is None when the server is away. `worker` is None for an entry that waits for its turn.
    """
    places = {place.number: place.id for place in partitions(topic).values()}
    most = max(1, min(limit, MAX_ENTRIES))
    found = ask(lambda prefix: inspect.pending(prefix, topic, list(places), clean(group), most))
    if found is None:
        return {"topic": topic, "group": group, "entries": None}
    oldest = sorted(found, key=lambda entry: (order_of(entry.entry), entry.partition))[:most]
    events = {
        number: _events(pid, [e.entry for e in oldest if e.partition == number]) for number, pid in places.items()
    }
    entries = [_told(entry, events[entry.partition].get(entry.entry)) for entry in oldest]
    return {"topic": topic, "group": group, "entries": entries}


def _events(partition_id: int, entries: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {row["entry"]: row for row in rows_in(_EVENTS, entries, before=[partition_id])}


def _told(entry: PendingEntry, event: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "partition": entry.partition,
        "entry": entry.entry,
        "worker": clean(entry.worker, 200) or None,
        "idle_ms": entry.idle_ms,
        "attempt": entry.attempt,
        "held": entry.held,
        "event": _event(event),
    }


def _event(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "id": row["event_id"],
        "type": row["type"],
        "key": row["key"] or None,
        "at_ms": row["at_ms"],
        "correlation_id": row["correlation_id"],
    }
