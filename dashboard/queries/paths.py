"""Which values the newest events have in their data and headers, by path: what a query may ask about. Bounded.

What is masked is left out, and so is what would be masked today.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from dashboard import visible
from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.queries.facts import printable
from dashboard.queries.lag import partitions
from dashboard.record.masking import MARK, masker
from dashboard.sql import rows

EVENTS: Final = 40  # of each partition looked at
PARTITIONS: Final = 5  # those with the newest events
MAX_DATA: Final = 16_384  # bytes of data; longer ones are not read
MAX_PATHS: Final = 200
MAX_VALUES: Final = 12  # kept of one path
MAX_VALUE: Final = 60  # characters
MAX_DEPTH: Final = 6
MAX_ITEMS: Final = 5  # of a list
_NEWEST: Final = (
    "SELECT CASE WHEN size <= %s THEN payload END AS payload, headers FROM dashboard_event"
    " WHERE id > %s AND id < %s ORDER BY id DESC LIMIT %s"
)
_NAME: Final = re.compile(r"[^\s\".:=!<>\[\],]{1,60}\Z")  # what a query can say

Scalar = str | int | float | bool | None
Seen = dict[str, list[Scalar]]


def seen(field: str, topic: str | None) -> Seen:
    """Values by path, such as `items[*].sku`: the paths that most of the newest events have come first."""
    places = (place for place in partitions(topic).values() if visible.sees_payloads(place.topic))
    newest = sorted(places, key=lambda place: -place.newest_ms)[:PARTITIONS]
    found: dict[str, list[Scalar]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for place in newest:
        for row in rows(_NEWEST, [MAX_DATA, event_pk(place.id, 0), event_pk(place.id, GHOSTS_FROM), EVENTS]):
            for path, value in _leaves(_decoded(row[{"payload": "payload", "header": "headers"}[field]]), "", 0):
                if path in counts or len(counts) < MAX_PATHS:
                    counts[path] += 1
                    _keep(found[path], value)
    return {path: found[path] for path in sorted(counts, key=lambda path: (-counts[path], path))}


def _keep(values: list[Scalar], value: Scalar) -> None:
    if len(values) < MAX_VALUES and not any(value is other or repr(value) == repr(other) for other in values):
        values.append(value)


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Scalar]]:
    """The values that a path leads to; a list of plain ones compares like any of them."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if _NAME.match(name) and name.isprintable() and not masker().names(name):
                yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for inner in value[:MAX_ITEMS]:
            yield from _leaves(inner, f"{path}[*]" if isinstance(inner, dict | list) else path, depth + 1)
    elif path and _is_shown(value):
        yield path, value


def _is_shown(value: Scalar) -> bool:
    if not isinstance(value, str):
        return masker().text(str(value)) == str(value)
    return len(value) <= MAX_VALUE and value == printable(value) and MARK not in value and masker().text(value) == value


def _decoded(text: bytes | memoryview | str | None) -> Any:
    try:
        return msgspec.json.decode(bytes(text) if isinstance(text, memoryview) else text) if text else None
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
