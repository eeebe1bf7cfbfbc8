"""Breakpoints: which groups have one, for a line on every page, and what one group's holds, for its page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from bus import hold
from bus.hold import Breakpoint, Holding
from bus.keys import Keys
from bus.wire import together
from dashboard.queries.bus_state import ask, bus_state
from dashboard.queries.event import readable
from dashboard.queries.lag import partitions
from dashboard.record.rows import MAX_PAYLOAD, clean
from dashboard.record.subscriptions import order_of
from dashboard.sql import rows_in

MAX_HOLDS: Final = 100
MAX_HELD: Final = 100
MAX_SHOWN: Final = 1_000  # characters of data
_EVENTS: Final = (
    "SELECT entry, event_id, type, key, at_ms, correlation_id, size, payload FROM dashboard_event"
    " WHERE partition_id = %s AND entry IN (…)"
)


def holds() -> list[dict[str, Any]]:
    """Each group with a breakpoint: whose, what for, since when, until when, and how many deliveries it holds now."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for state in bus_state().groups.values():
        if state.breakpoint is not None:
            one = found.setdefault((state.topic, state.group), _told(state.topic, state.group, state.breakpoint))
            one["held"] += state.stopped
    return sorted(found.values(), key=lambda one: (-one["held"], one["since_ms"]))[:MAX_HOLDS]


def holding(topic: str, group: str) -> dict[str, Any] | None:
    """The breakpoint of a group and its oldest held deliveries with their events; None when there is none."""
    found = _states(topic, group, [number for of, number, name in bus_state().groups if (of, name) == (topic, group)])
    if not found:
        return None
    places = {place.number: place.id for place in partitions(topic).values()}
    told = _told(topic, group, min((one.breakpoint for one in found.values()), key=lambda one: one.since_ms))
    held = [(number, one) for number, state in found.items() for one in state.held]
    held.sort(key=lambda each: (order_of(each[1].entry), each[0]))
    events = {
        number: _events(places.get(number), [one.entry for of, one in held[:MAX_HELD] if of == number])
        for number in found
    }
    return {
        **told,
        "held": len(held),
        "stopped": sum(one.stopped for one in found.values()),
        "limit": sum(one.breakpoint.limit for one in found.values()),
        "entries": [
            {
                "partition": number,
                "entry": one.entry,
                "attempt": one.attempt,
                "held_ms": one.idle_ms,
                "event": events[number].get(one.entry),
            }
            for number, one in held[:MAX_HELD]
        ],
    }


def _states(topic: str, group: str, numbers: list[int]) -> Mapping[int, Holding]:
    if not numbers:
        return {}
    found = ask(lambda prefix: together(*(hold.state(Keys(prefix, topic, number), group) for number in numbers)))
    return {number: one for number, one in zip(numbers, found or [None] * len(numbers), strict=True) if one}


def _told(topic: str, group: str, point: Breakpoint) -> dict[str, Any]:
    return {
        "topic": topic,
        "group": group,
        "who": clean(point.who, 150),
        "when": clean(point.text, hold.MAX_TEXT),
        "since_ms": point.since_ms,
        "expires_ms": point.expires_ms,
        "left_ms": max(point.expires_ms - int(time.time() * 1000), 0),
        "limit": point.limit,
        "held": 0,
    }


def _events(partition_id: int | None, entries: list[str]) -> dict[str, dict[str, Any]]:
    if partition_id is None:  # not recorded yet
        return {}
    return {row["entry"]: _event(row) for row in rows_in(_EVENTS, entries, before=[partition_id])}


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    data, text = readable(bytes(row["payload"]), is_whole=row["size"] <= MAX_PAYLOAD)
    return {
        "id": row["event_id"],
        "type": row["type"],
        "key": row["key"] or None,
        "at_ms": row["at_ms"],
        "correlation_id": row["correlation_id"],
        "data": data,
        "data_text": text[:MAX_SHOWN],
    }
