"""A trace: all events of one correlation id with their lanes. `build` is pure, `trace` asks the database."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard.models import number_of
from dashboard.queries.facts import EVENT_COLUMNS, Surroundings, happened, preview
from dashboard.queries.lag import PartitionRow
from dashboard.queries.lanes import is_open
from dashboard.record.progress import State
from dashboard.record.rows import clean
from dashboard.sql import rows

MAX_EVENTS: Final = 2_000
MAX_COUNTED: Final = 100_000
_EVENTS: Final = (
    "SELECT {columns} FROM dashboard_event WHERE correlation_id = %s ORDER BY at_ms, id LIMIT %s"
).replace("{columns}", EVENT_COLUMNS)
_COUNT: Final = (
    "SELECT COUNT(*) AS n FROM (SELECT 1 FROM dashboard_event WHERE correlation_id = %s LIMIT %s) AS counted"
)
_COUNTED: Final = (
    State.SUCCEEDED, State.WAITING, State.RUNNING, State.RETRYING, State.DEAD, State.SKIPPED, State.LOST,
)  # fmt: skip


def trace(correlation_id: str) -> dict[str, Any] | None:
    """The trace as screens draw it, at most 2,000 events of it (it says so); None when nothing is recorded of it."""
    wanted = clean(correlation_id)
    if not wanted:
        return None
    events = rows(_EVENTS, [wanted, MAX_EVENTS + 1])
    if not events:
        return None
    of = len(events)
    if of > MAX_EVENTS:
        of = rows(_COUNT, [wanted, MAX_COUNTED])[0]["n"]
    around = Surroundings({event["partition_id"] for event in events})
    seen = [event for event in events if event["partition_id"] in around.partitions]
    if not seen:
        return None
    of = of if len(seen) == len(events) else len(seen)
    shown = in_causal_order(seen[:MAX_EVENTS])
    recorded = happened([event["id"] for event in shown])
    lanes = {event["id"]: around.lanes_of(event, recorded.get(event["id"], {})) for event in shown}
    described = [describe(event, around.partitions[event["partition_id"]], lanes[event["id"]]) for event in shown]
    return build(wanted, described, of=of, now_ms=int(time.time() * 1000))


def describe(event: Mapping[str, Any], place: PartitionRow, lanes: list[dict[str, Any]]) -> dict[str, Any]:
    """One event of a trace."""
    cause = None
    if event["cause_id"]:
        cause = {"event": event["cause_id"], "group": event["cause_group"], "attempt": event["cause_attempt"]}
    return {
        "id": event["event_id"],
        "topic": place.topic,
        "partition": place.number,
        "entry": event["entry"],
        "type": event["type"],
        "key": event["key"] or None,
        "source": event["source"],
        "at_ms": event["at_ms"],
        "size": event["size"],
        "preview": preview(event["head"]),
        "cause": cause,
        "ghost": bool(event["ghost"]),
        "forgotten_ms": place.forgotten_at(number_of(event["id"])),
        "lanes": lanes,
    }


def build(correlation_id: str, events: Sequence[dict[str, Any]], *, of: int, now_ms: int) -> dict[str, Any]:
    """The trace of described events, which are in order; causes that are not among them become ghosts."""
    lanes = [lane for event in events for lane in event["lanes"]]
    is_complete = not any(is_open(lane["state"]) for lane in lanes)
    return {
        "id": correlation_id,
        "now_ms": now_ms,
        "title": events[0]["type"],
        "complete": is_complete,
        "truncated": {"shown": len(events), "of": of} if of > len(events) else None,
        "summary": {
            "events": len(events),
            "lanes": len(lanes),
            **_counts(lanes),
            "took_ms": _took_ms(events, lanes) if is_complete else None,
        },
        "events": [*_ghosts(events), *events],
    }


def in_causal_order(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of their entries, but none before its cause, whatever the clocks of several partitions say."""
    in_time = sorted(events, key=lambda event: (event["at_ms"], event["at_seq"], event["id"]))
    first_of = {event["event_id"]: event for event in reversed(in_time)}
    placed: set[int] = set()
    ordered: list[dict[str, Any]] = []
    for event in in_time:
        chain: list[dict[str, Any]] = []
        link: dict[str, Any] | None = event
        while link is not None and link["id"] not in placed:
            placed.add(link["id"])  # at once: causes that go in a circle end here
            chain.append(link)
            link = first_of.get(link["cause_id"])
        ordered += reversed(chain)
    return ordered


def _counts(lanes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    states = Counter(lane["state"] for lane in lanes)
    return {str(state): states[state] for state in _COUNTED}


def _took_ms(events: Sequence[Mapping[str, Any]], lanes: Sequence[Mapping[str, Any]]) -> int | None:
    """From the root's publication until the last lane was settled."""
    settled = [lane["settled_ms"] for lane in lanes if lane["settled_ms"] is not None]
    return max(max(settled) - events[0]["at_ms"], 0) if settled else None


def _ghosts(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Events that are known only as a cause: published before retention began, or in another trace."""
    known = {event["id"] for event in events}
    missing = dict.fromkeys(e["cause"]["event"] for e in events if e["cause"] and e["cause"]["event"] not in known)
    blank = {
        "topic": "", "partition": 0, "entry": "", "type": "", "key": None, "source": "", "at_ms": None, "size": 0,
        "preview": "", "cause": None, "ghost": True, "forgotten_ms": None,
    }  # fmt: skip
    return [{"id": event_id, **blank, "lanes": []} for event_id in missing]
