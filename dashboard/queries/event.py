"""One event in full: data, headers, and each lane with its attempts, tracebacks and log lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dashboard.queries.facts import EVENT_COLUMNS, Surroundings, happened, printable
from dashboard.queries.lanes import Happened
from dashboard.queries.trace import describe
from dashboard.queries.versions import with_versions
from dashboard.record.rows import MAX_PAYLOAD, clean
from dashboard.sql import rows

MAX_DATA_TEXT: Final = 262_144
MAX_ATTEMPTS: Final = 500
_ONE: Final = (
    "SELECT {columns}, payload, headers, time_text, traceparent FROM dashboard_event"
    " WHERE event_id = %s ORDER BY id DESC LIMIT 2"
)
_ATTEMPTS: Final = (
    'SELECT "group", place, number, step, worker, started_ms, ended_ms, duration_us, error_class, message, traceback,'
    ' frame, log FROM dashboard_attempt WHERE event_id = %s ORDER BY "group", place LIMIT %s'
)
_HANDLERS: Final = (
    "SELECT s.handlers FROM dashboard_subscription s JOIN dashboard_partition p ON p.id = s.partition_id"
    ' WHERE p.topic = %s AND s."group" = %s ORDER BY s.id DESC LIMIT 1'
)


def event(event_id: str) -> dict[str, Any] | None:
    """The newest event of this id in full, or None.

    `data` is None when the data isn't JSON or wasn't kept whole; `data_text` then shows the bytes there are.
    `is_repeated`: other events have the same id.
    """
    found = rows(_ONE.replace("{columns}", EVENT_COLUMNS), [clean(event_id)])
    around = Surroundings({row["partition_id"] for row in found})
    found = [row for row in found if row["partition_id"] in around.partitions]
    if not found:
        return None
    row = found[0]
    recorded = happened([row["id"]], with_attempts=False).get(row["id"], {})
    lanes = around.lanes_of(row, _with_attempts(row["id"], recorded))
    with_versions([attempt for lane in lanes for attempt in lane["attempts"]])
    payload = bytes(row["payload"])
    is_whole = row["size"] <= MAX_PAYLOAD
    data, data_text = readable(payload, is_whole=is_whole)
    return {
        **describe(row, around.partitions[row["partition_id"]], lanes),
        "correlation_id": row["correlation_id"],
        "data": data,
        "data_text": data_text,
        "data_truncated": not is_whole,
        "headers": msgspec.json.decode(row["headers"]) if row["headers"] else {},
        "time_text": row["time_text"],
        "traceparent": row["traceparent"],
        "is_repeated": len(found) > 1,
    }


def handlers_of(topic: str, group: str) -> list[str]:
    """The functions that handle the topic for the group, as `module.function`, as its newest subscription says."""
    found = rows(_HANDLERS, [topic, group])
    return [str(name) for name in msgspec.json.decode(found[0]["handlers"] or "[]")] if found else []


def readable(payload: bytes, *, is_whole: bool) -> tuple[Any, str]:
    """Data as a value (None unless it is JSON) and as text to read: indented JSON, or the bytes written out."""
    data: Any = None
    text = payload.decode("utf-8", "backslashreplace")
    if is_whole:
        try:
            data = msgspec.json.decode(payload)
            text = msgspec.json.format(payload, indent=2).decode()
        except (msgspec.DecodeError, RecursionError, ValueError):
            data = None
    if len(text) > MAX_DATA_TEXT:
        text = text[:MAX_DATA_TEXT] + "…"
    return data, printable(text, keep="\n")


def _with_attempts(pk: int, recorded: dict[str, Happened]) -> dict[str, Happened]:
    attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(_ATTEMPTS, [pk, MAX_ATTEMPTS]):
        attempts[row["group"]].append({**row, "log": msgspec.json.decode(row["log"]) if row["log"] else []})
    return {group: Happened(known.delivery, _rows(attempts, group)) for group, known in recorded.items()}


def _rows(attempts: dict[str, list[dict[str, Any]]], group: str) -> Sequence[dict[str, Any]]:
    return attempts.get(group, ())
