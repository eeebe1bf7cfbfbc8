"""Events as lists show them: a few queries for any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard.queries.facts import EVENT_COLUMNS, Surroundings, happened, preview
from dashboard.record.rows import MAX_PAYLOAD
from dashboard.sql import rows_in

_FOUND: Final = "SELECT {columns} FROM dashboard_event WHERE id IN (…)"


def listed(ids: Sequence[int], around: Surroundings, *, with_data: bool) -> list[dict[str, Any]]:
    """The events in the order of `ids`. `with_data`: with all of their data that was kept."""
    columns = EVENT_COLUMNS + (", payload" if with_data else "")
    stored = {row["id"]: row for row in rows_in(_FOUND.replace("{columns}", columns), ids)}
    recorded = happened(ids, with_attempts=False)
    return [_row(stored[pk], around, around.lanes_of(stored[pk], recorded.get(pk, {}))) for pk in ids if pk in stored]


def _row(event: Mapping[str, Any], around: Surroundings, lanes: list[dict[str, Any]]) -> dict[str, Any]:
    place = around.partitions[event["partition_id"]]
    shown = {
        "topic": place.topic,
        "partition": place.number,
        "entry": event["entry"],
        "id": event["event_id"],
        "type": event["type"],
        "key": event["key"] or None,
        "source": event["source"],
        "correlation_id": event["correlation_id"],
        "at_ms": event["at_ms"],
        "size": event["size"],
        "ghost": bool(event["ghost"]),
        "preview": preview(event["head"]),
        "forgotten_ms": around.forgotten_ms(event),
        "lanes": [{name: lane[name] for name in ("group", "state", "label")} for lane in lanes],
    }
    if "payload" in event:
        payload = bytes(event["payload"])
        shown["data_text"] = payload.decode("utf-8", "backslashreplace")
        shown["data_truncated"] = event["size"] > MAX_PAYLOAD
    return shown
