"""One group on one topic in full: its figures, where it stands on each partition, and what it subscribed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bus.event import entry_ms
from bus.inspect import GroupState
from dashboard.queries.bus_state import bus_state
from dashboard.queries.groups import groups
from dashboard.queries.lag import Lag, PartitionRow, lags, partitions
from dashboard.sql import rows_in

MAX_ROWS: Final = 50
_SUBSCRIPTIONS: Final = (
    "SELECT since_ms, start, types, ordered, attempts, handlers, version FROM dashboard_subscription"
    ' WHERE "group" = %s AND partition_id IN (…) ORDER BY id DESC LIMIT 500'
)
_texts: Final = msgspec.json.Decoder(list[str]).decode


def group(topic: str, name: str) -> dict[str, Any] | None:
    """The group as `groups` tells it, with its `partitions` and `subscriptions`; None when there is none.

    `subscriptions`: newest first, those of several partitions that say the same told once.
    """
    answer = groups(topic)
    told = next((row for row in answer["groups"] if row["group"] == name), None)
    if told is None:
        return None
    places = partitions(topic)
    return {
        **told,
        "now_ms": answer["now_ms"],
        "available": answer["available"],
        **_partitions(topic, name, places),
        "subscriptions": _subscriptions(name, places),
    }


def _partitions(topic: str, name: str, places: Mapping[tuple[str, int], PartitionRow]) -> dict[str, Any]:
    """Where the group stands on each partition, those furthest behind first."""
    own = [state for state in bus_state().groups.values() if (state.topic, state.group) == (topic, name)]
    found = lags(own, places)
    told = [_partition(state, found.get((topic, state.partition, name))) for state in own]
    told.sort(key=lambda row: (-row["lag"] if row["lag"] is not None else -(10**18), row["partition"]))
    return {"partitions": told[:MAX_ROWS], "of_partitions": len(told)}


def _partition(state: GroupState, lag: Lag | None) -> dict[str, Any]:
    waiting = lag.waiting if lag else None
    at_ms = entry_ms(state.last_delivered)
    return {
        "partition": state.partition,
        "position": state.last_delivered,
        "position_ms": at_ms if 0 < at_ms < 2**42 else None,
        "waiting": waiting,
        "pending": state.pending,
        "lag": None if waiting is None else waiting + state.pending,
        "oldest_ms": lag.oldest_ms if lag else None,
        "retrying": state.due,
        "dead": state.dead,
        "held": [{"worker": worker, "count": count} for worker, count in state.held],
        "paused_by": state.paused_by or None,
    }


def _subscriptions(name: str, places: Mapping[tuple[str, int], PartitionRow]) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows_in(_SUBSCRIPTIONS, [place.id for place in places.values()], before=[name]):
        said = {
            "since_ms": row["since_ms"],
            "types": _texts(row["types"]) if row["types"] else None,
            "ordered": bool(row["ordered"]),
            "attempts": row["attempts"],
            "handlers": _texts(row["handlers"]) if row["handlers"] else [],
            "version": row["version"],
        }
        same = (
            row["since_ms"] // 1000,
            row["types"],
            said["ordered"],
            said["attempts"],
            row["handlers"],
            row["version"],
        )
        one = found.setdefault(same, {**said, "partitions": 0})
        one["partitions"] += 1
    return sorted(found.values(), key=lambda one: -one["since_ms"])[:MAX_ROWS]
