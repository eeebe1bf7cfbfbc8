"""Topics, and one of them: how much there is, and the groups that take it."""

from __future__ import annotations

import time
from typing import Any

from dashboard.queries.bus_state import bus_state
from dashboard.queries.lag import partitions
from dashboard.queries.overview import group_rows, recorded_rates, topic_rows


def topics() -> list[dict[str, Any]]:
    """Every topic: partitions, events ever, events a second, the newest event's moment."""
    now_ms = int(time.time() * 1000)
    return topic_rows(partitions().values(), recorded_rates(now_ms), now_ms)


def topic(name: str) -> dict[str, Any] | None:
    """The topic with its groups, or None when nothing is recorded of it."""
    places = partitions(name)
    if not places:
        return None
    now_ms = int(time.time() * 1000)
    counts = recorded_rates(now_ms)
    groups = group_rows(places, bus_state(), counts, now_ms)
    return {**topic_rows(places.values(), counts, now_ms)[0], "groups": [g for g in groups if g["topic"] == name]}
