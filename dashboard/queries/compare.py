"""Two traces beside each other: which lane is missing, ended otherwise or took longer, and what payloads differ in.

`compare` is pure; `payloads` and `earlier` ask the database a handful of queries, never one per event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, Final

import msgspec

from dashboard.models import event_pk, partition_of
from dashboard.queries.event import readable
from dashboard.queries.lag import partitions
from dashboard.record.rows import MAX_PAYLOAD
from dashboard.sql import rows, rows_in

MAX_PAIRS: Final = 200
MAX_CHANGES: Final = 60  # of one payload
NOTABLE_MS: Final = 20  # a lane that took so much longer or shorter, and half as long again, is worth a word
NOTABLE_TIMES: Final = 1.5
CANDIDATES: Final = 200
ASKED: Final = 20  # traces of which it is asked whether they went well
_PAYLOADS: Final = "SELECT id, event_id, payload, size FROM dashboard_event WHERE event_id IN (…) ORDER BY id"
_PLACE: Final = "SELECT id FROM dashboard_event WHERE event_id = %s ORDER BY id DESC LIMIT 1"
_BEFORE: Final = (
    "SELECT correlation_id, at_ms FROM (SELECT correlation_id, at_ms, cause_id, type, id FROM dashboard_event"
    " WHERE {condition} AND id < %s AND id >= %s ORDER BY id DESC LIMIT %s) AS newest"
    " WHERE cause_id = '' AND type = %s AND NOT (correlation_id = %s) ORDER BY id DESC"
)
_BY_KEY: Final = _BEFORE.replace("{condition}", "key = %s AND NOT (key = '')")
_BY_TYPE: Final = _BEFORE.replace("{condition}", "type = %s")
_TROUBLED: Final = (
    "SELECT DISTINCT e.correlation_id FROM dashboard_event e JOIN dashboard_delivery d ON d.event_id = e.id"
    " WHERE NOT (d.state = 'succeeded') AND e.correlation_id IN (…)"
)

Row = Mapping[str, Any]


def compare(left: Row, right: Row, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Events of the two in pairs: the n-th of a type that a group caused with the other's n-th. `data` by event id."""
    pairs = list(islice(_pairs(left["events"], right["events"]), MAX_PAIRS + 1))
    shown = [_compared(one, other, data or {}) for one, other in pairs[:MAX_PAIRS]]
    lanes = [lane for pair in shown for lane in pair["lanes"]]
    return {
        "pairs": shown,
        "truncated": len(pairs) > MAX_PAIRS,
        "missing": sum(lane["kind"] == "missing" for lane in lanes),
        "otherwise": sum(lane["kind"] == "state" for lane in lanes),
        "slower": sum(lane["kind"] == "time" for lane in lanes),
        "changed": sum(bool(pair["changes"]) for pair in shown),
    }


def ids(left: Row, right: Row) -> list[str]:
    """Ids of the events whose payloads a comparison shows."""
    pairs = islice(_pairs(left["events"], right["events"]), MAX_PAIRS)
    return [event["id"] for pair in pairs if all(pair) for event in pair if event]


def payloads(event_ids: Sequence[str]) -> dict[str, Any]:
    """Data by event id, of those whose data is JSON and was kept whole."""
    found = {}
    places = {place.id for place in partitions().values()}
    for row in rows_in(_PAYLOADS, event_ids):
        if partition_of(row["id"]) not in places:
            continue
        value, text = readable(bytes(row["payload"]), is_whole=row["size"] <= MAX_PAYLOAD)
        if value is not None or text == "null":
            found[row["event_id"]] = value
    return found


def earlier(root: Row, correlation_id: str) -> list[dict[str, Any]]:
    """Earlier traces that began with the same type: of the same key, the newest, and the newest that went well."""
    place = rows(_PLACE, [root["id"]])
    if not place:
        return []
    pk = place[0]["id"]
    if partition_of(pk) not in {known.id for known in partitions().values()}:
        return []
    least = event_pk(partition_of(pk), 0)
    ends = [pk, least, CANDIDATES, root["type"], correlation_id]
    same_key = rows(_BY_KEY, [root["key"], *ends]) if root["key"] else []
    same_type = rows(_BY_TYPE, [root["type"], *ends])
    told = [("previous of the same key", same_key), ("previous of this type", same_type)]
    offers = [{"why": why, **found[0]} for why, found in told if found]
    well = next(iter(_went_well(same_type[:ASKED])), None)
    return [*offers, {"why": "newest of this type that went well", **well}] if well else offers


def _went_well(candidates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    troubled = {row["correlation_id"] for row in rows_in(_TROUBLED, [row["correlation_id"] for row in candidates])}
    return [row for row in candidates if row["correlation_id"] not in troubled]


def _pairs(left: Sequence[Row], right: Sequence[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    ours, theirs = _by_role(left), _by_role(right)
    for role in dict.fromkeys([*ours, *theirs]):
        yield from zip_longest(ours.get(role, ()), theirs.get(role, ()))


def _by_role(events: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for event in events:
        if event["topic"]:  # not one that is known only as a cause
            found[event["topic"], event["type"], event["cause"]["group"] if event["cause"] else ""].append(event)
    return found


def _compared(left: Row | None, right: Row | None, data: Mapping[str, Any]) -> dict[str, Any]:
    event = left or right or {}
    sides = [{lane["group"]: lane for lane in side["lanes"]} if side else {} for side in (left, right)]
    groups = sorted({*sides[0], *sides[1]})
    lanes = [_lanes(group, sides[0].get(group), sides[1].get(group), (left, right)) for group in groups]
    readable_both = left is not None and right is not None and left["id"] in data and right["id"] in data
    changes = list(islice(differences(data[left["id"]], data[right["id"]]), MAX_CHANGES)) if readable_both else []  # type: ignore[index]
    return {
        "type": event["type"],
        "topic": event["topic"],
        "by": event["cause"]["group"] if event["cause"] else "",
        "left": left,
        "right": right,
        "lanes": lanes,
        "changes": changes,
        "is_compared": readable_both,
    }


def _lanes(group: str, left: Row | None, right: Row | None, events: tuple[Row | None, Row | None]) -> dict[str, Any]:
    took = [_took_ms(lane, event) for lane, event in zip((left, right), events, strict=True)]
    kind, words = _difference(left, right, took)
    return {"group": group, "left": left, "right": right, "took": took, "kind": kind, "words": words}


def _took_ms(lane: Row | None, event: Row | None) -> int | None:
    if lane is None or event is None or lane["settled_ms"] is None:
        return None
    return max(int(lane["settled_ms"]) - int(event["at_ms"]), 0)


def _difference(left: Row | None, right: Row | None, took: Sequence[int | None]) -> tuple[str, str]:
    if left is None or right is None:
        return "missing", "only there" if left is None else "only here"
    if left["state"] != right["state"]:
        return "state", f"{left['state']} → {right['state']}"
    if left["label"] != right["label"]:
        return "state", f"{left['label']} → {right['label']}"
    ours, theirs = took
    if ours is None or theirs is None or abs(ours - theirs) < NOTABLE_MS:
        return "", ""
    times = max(ours, theirs) / max(min(ours, theirs), 1)
    return ("time", f"{times:,.1f}× {'longer' if theirs > ours else 'shorter'}") if times >= NOTABLE_TIMES else ("", "")


def differences(left: Any, right: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """What differs between two JSON values: path, and the text of either side, None where it has nothing there."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*left, *right]):
            where = f"{path}.{name}" if path else name
            yield from _between(where, left.get(name, _NOTHING), right.get(name, _NOTHING))
    elif isinstance(left, list) and isinstance(right, list):
        for at, (one, other) in enumerate(zip_longest(left, right, fillvalue=_NOTHING)):
            yield from _between(f"{path}[{at}]", one, other)
    elif type(left) is not type(right) or left != right:
        yield {"path": path or "the whole", "left": _text(left), "right": _text(right)}


_NOTHING: Final = object()


def _between(path: str, left: Any, right: Any) -> Iterator[dict[str, Any]]:
    if left is _NOTHING or right is _NOTHING:
        yield {"path": path, "left": _text(left), "right": _text(right)}
    else:
        yield from differences(left, right, path)


def _text(value: Any) -> str | None:
    if value is _NOTHING:
        return None
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:199]}…"
