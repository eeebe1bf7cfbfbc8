"""Projections (`@bus.projection`): which versions there are, how far each has come, and which of them serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from dashboard import visible
from dashboard.queries.lag import PartitionRow
from dashboard.record.spans import count_between
from dashboard.sql import rows

MAX_ROWS: Final = 50
_PLACES: Final = (
    "SELECT name, version, topic, partition, number, missing, done_at FROM bus_projection"
    " ORDER BY name, version DESC, partition LIMIT 5000"
)


def projections(places: Mapping[tuple[str, int], PartitionRow]) -> list[dict[str, Any]]:
    """One row for each version of each projection: `state` live, building or replaced; `behind` in events.

    `done` of `of` events of the topic lie behind its position; both are None where a partition is not recorded.
    """
    grouped: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows(_PLACES):
        if not visible.sees(row["topic"]):
            continue
        grouped.setdefault((row["name"], row["version"]), []).append(row)
    live: dict[str, int] = {}
    for (name, version), some in grouped.items():
        if all(row["done_at"] for row in some):
            live[name] = max(version, live.get(name, 0))
    return [_told(name, version, some, live.get(name, 0), places) for (name, version), some in grouped.items()][
        :MAX_ROWS
    ]


def _told(
    name: str,
    version: int,
    some: Sequence[Mapping[str, Any]],
    live: int,
    places: Mapping[tuple[str, int], PartitionRow],
) -> dict[str, Any]:
    topic = some[0]["topic"]
    totals = [_total(places.get((topic, row["partition"]))) for row in some]
    known = [total for total in totals if total is not None]
    done = sum(row["number"] for row in some)
    total = max(sum(known), done) if len(known) == len(totals) else None
    return {
        "name": name,
        "version": version,
        "topic": topic,
        "partitions": len(some),
        "state": "live" if version == live else "building" if version > live else "replaced",
        "done": done,
        "of": total,
        "behind": None if total is None else total - done,
        "missing": sum(row["missing"] for row in some),
        "percent": None if total is None else 100 * done // total if total else 100,
        "live_since_ms": _since_ms(row["done_at"] for row in some),
    }


def _total(place: PartitionRow | None) -> int | None:
    """The events that the partition has had, without those that its server forgot."""
    if place is None:
        return None
    return place.newest_number - count_between(place.forgotten, 0, place.newest_number)


def _since_ms(moments: Iterable[Any]) -> int | None:
    """When the last of these was; SQLite may tell a moment as text."""
    found = [parse_datetime(one) if isinstance(one, str) else one for one in moments if one]
    return max((int((make_aware(m) if is_naive(m) else m).timestamp() * 1000) for m in found if m), default=None)
