"""Shapes of payloads: which fields there are, and of which kind each is. Nobody declares them: newer events tell.

A shape is bounded, and its names are payload content: show them only to who may see payloads of the topic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.queries.lag import partitions
from dashboard.record.masking import MARK
from dashboard.sql import rows

NEWEST: Final = 20  # events of a type that say what its shape is now
MAX_DEPTH: Final = 6
MAX_PATHS: Final = 200
MAX_PLACES: Final = 2_000  # partitions, of all types together, that one query asks
MAX_NAMED: Final = 3  # differences that a sentence names
MAX_NAME: Final = 60  # characters of a path that are shown
UNKNOWN: Final = "unknown"  # masked: no difference to any kind
_KINDS: Final = ((bool, "boolean"), (int | float, "number"), (str, "text"), (list, "list"), (dict, "object"))
# The 20th newest of each partition by the index of types, what is as new or newer, then the newest of the whole topic.
_NEWEST: Final = (
    "WITH asked(kind, type, low, high) AS (VALUES …), since AS MATERIALIZED (SELECT kind, type, high, COALESCE("  # noqa: S608  constants
    "(SELECT n.id FROM dashboard_event n WHERE n.type = asked.type AND n.id BETWEEN asked.low AND asked.high"
    f" ORDER BY n.id DESC LIMIT 1 OFFSET {NEWEST - 1}), low) AS low FROM asked),"
    " found AS (SELECT since.kind, e.id, ROW_NUMBER() OVER (PARTITION BY since.kind ORDER BY e.at_ms DESC,"
    " e.at_seq DESC, e.id DESC) AS nth FROM since CROSS JOIN dashboard_event e WHERE e.type = since.type"
    " AND e.id BETWEEN since.low AND since.high)"
    " SELECT found.kind, e.id, e.at_ms, e.at_seq, e.payload FROM found JOIN dashboard_event e ON e.id = found.id"
    f" WHERE found.nth <= {NEWEST} ORDER BY found.kind, found.nth"
)
_UNREADABLE: Final = re.compile(r"[^ -~\u00a1-\u1fff\u2c00-\ud7ff]|`")

_WHOLE: Final = ""  # the path of data that is no object: nothing is inside it

Shape: TypeAlias = Mapping[str, str]
Sort: TypeAlias = tuple[str, str]  # a topic, and a type of events on it
When: TypeAlias = tuple[int, int]  # of an entry: ms, and its place within this ms


class Newest(NamedTuple):
    """One of the newest events of its type: its primary key, when it came, and its shape."""

    id: int
    when: When
    shape: Shape


@dataclass(frozen=True)
class Differences:
    """How a payload differs from newer ones: paths that only they have, that only it has, and (path, was, is)."""

    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    changed: Sequence[tuple[str, str, str]] = ()

    @property
    def total(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.changed)


def kind(value: Any) -> str:
    """The JSON kind of a value; `UNKNOWN` for one that is masked."""
    if value is None:
        return "null"
    if value == MARK:
        return UNKNOWN
    return next((name for types, name in _KINDS if isinstance(value, types)), UNKNOWN)


def shape(value: Any) -> Shape:
    """Dotted path to kind, of objects only: what is in a list is its own affair. Breadth first, so bounds cut depth."""
    if not isinstance(value, dict):
        return {_WHOLE: kind(value)}
    found: dict[str, str] = {}
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(MAX_DEPTH):
        below: list[tuple[str, Any]] = []
        for above, one in level:
            for name, inner in one.items() if isinstance(one, dict) else ():
                if len(found) >= MAX_PATHS:
                    return found
                path = f"{above}.{_escaped(name)}" if above else _escaped(name)
                found[path] = kind(inner)
                below.append((path, inner))
        level = below
    return found


def _escaped(name: Any) -> str:
    """A key with dots in it is not a path of two."""
    return str(name).replace("\\", "\\\\").replace(".", "\\.")[:200]


def shape_of(raw: bytes | str) -> Shape | None:
    """The shape of recorded data; None when it is no whole JSON."""
    try:
        return shape(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None


def differences(old: Shape, now: Sequence[Shape]) -> Differences:
    """What all newer ones have and this lacks, what none of them has, what is of one other kind in all of them."""
    whole, wholes = old.get(_WHOLE, "object"), {one.get(_WHOLE, "object") for one in now}
    if not now or UNKNOWN in {whole, *wholes}:
        return Differences()
    if whole not in wholes:
        return Differences(changed=[(_WHOLE, whole, " or ".join(sorted(wholes)))])
    now = [one for one in now if one.get(_WHOLE, "object") == whole]
    everywhere = set(now[0]).intersection(*now[1:])
    anywhere = set().union(*now)
    is_cut = any(len(one) >= MAX_PATHS for one in (old, *now))  # then what is absent may merely be beyond the bound
    return Differences(
        [] if is_cut else _highest(everywhere - set(old), old),
        [] if is_cut else _highest(set(old) - anywhere, _kinds(now)),
        [found for path in sorted(everywhere & set(old)) if (found := _changed(path, old[path], now))],
    )


def _kinds(now: Sequence[Shape]) -> Shape:
    """The kind of each path in any of them; one that is no object somewhere is none."""
    found: dict[str, str] = {}
    for one in now:
        found |= {path: is_kind for path, is_kind in one.items() if found.get(path, "object") == "object"}
    return found


def _highest(paths: Iterable[str], other: Mapping[str, str]) -> list[str]:
    """Without those inside an object that is absent itself, or masked, or of another kind, on the other side."""
    wanted = set(paths)
    return sorted(
        path for path in wanted
        if not any(above in wanted or other.get(above, "object") != "object" for above in _above(path))
    )  # fmt: skip


def _above(path: str) -> list[str]:
    parts = re.split(r"(?<!\\)\.", path)
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _changed(path: str, was: str, now: Sequence[Shape]) -> tuple[str, str, str] | None:
    kinds = {one[path] for one in now}
    if was in kinds or UNKNOWN in kinds or was == UNKNOWN or kinds == {"null"}:
        return None
    return path, was, " or ".join(sorted(kinds))


def sentence(found: Differences, compared: int) -> str:
    """One bounded sentence: "`total` was number, is text in the newer 20; `currency` is missing"; "" without any."""
    return _first(_phrases(found, f"the newer {compared}"))


def sentence_of_many(found: Counter[tuple[str, str]]) -> str:
    """The same of many payloads, most frequent first; `found` counts (type, phrase). Types are named if several."""
    is_of_one = len({event_type for event_type, _ in found}) == 1
    return _first([
        f"{'' if is_of_one else f'{_shown(event_type)}: '}{phrase} ({count:,})"
        for (event_type, phrase), count in found.most_common()
    ])  # fmt: skip


def phrases(found: Differences) -> list[str]:
    """Each difference in words that do not depend on how many were compared."""
    return _phrases(found, "the newer ones")


def _phrases(found: Differences, them: str) -> list[str]:
    parts = [
        f"`{_shown(path)}` was {was}, is {now} in {them}" if path else f"the data is {_no_object(was, now)} in {them}"
        for path, was, now in found.changed
    ]
    parts += [f"`{_shown(path)}` is missing" for path in found.missing]
    return parts + [f"`{_shown(path)}` is in none of {them}" for path in found.extra]


def _no_object(was: str, now: str) -> str:
    return f"no object but {was}, it is {now}" if was != "object" else f"{was}, it is {now}"


def edit_sentence(found: Differences) -> str:
    """What an edit did to the shape: "removes `a`; adds `b`; makes `c` text, it was number"; "" for nothing."""
    parts = [f"removes `{_shown(path)}`" for path in found.missing] + [f"adds `{_shown(path)}`" for path in found.extra]
    return _first(parts + [
        f"makes {f'`{_shown(path)}`' if path else 'the whole data'} {was}, it was {before}"
        for path, was, before in found.changed
    ])  # fmt: skip


def _first(parts: Sequence[str]) -> str:
    more = len(parts) - MAX_NAMED
    return "; ".join(parts[:MAX_NAMED]) + (f"; {more} more" if more > 0 else "")


def _shown(path: str) -> str:
    clean = _UNREADABLE.sub("?", path)
    return clean if len(clean) <= MAX_NAME else clean[: MAX_NAME - 1] + "…"


def newer(topic: str, event_type: str, after: When) -> list[Shape]:
    """Shapes of the newest events of a type on a topic, at most `NEWEST`, that came after a time."""
    found = newest([(topic, event_type)]).get((topic, event_type), [])
    return [one.shape for one in found if one.when > after]


def newest(sorts: Sequence[Sort]) -> dict[Sort, list[Newest]]:
    """The newest `NEWEST` events of each, newest first: one query. Without those beyond `MAX_PLACES`."""
    places: dict[str, list[int]] = {}
    for place in partitions().values():
        places.setdefault(place.topic, []).append(place.id)
    asked: list[Any] = []
    found: dict[Sort, list[Newest]] = {}
    for number, (topic, event_type) in enumerate(sorts):
        if topic in places and len(asked) // 4 + len(places[topic]) <= MAX_PLACES:
            found[topic, event_type] = []
            for pk in places[topic]:
                asked += [number, event_type, event_pk(pk, 0), event_pk(pk, GHOSTS_FROM - 1)]
    if asked:
        values = ", ".join(["(%s, %s, %s, %s)"] * (len(asked) // 4))
        for row in rows(_NEWEST.replace("…", values), asked):
            one = shape_of(bytes(row["payload"]))
            if one is not None:
                found[sorts[row["kind"]]].append(Newest(row["id"], (row["at_ms"], row["at_seq"]), one))
    return found
