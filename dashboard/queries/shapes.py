"""Shapes of payloads: which fields there are, and of which kind each is. Nobody declares them: newer events tell.

A shape is bounded, and its names are payload content: show them only to who may see payloads of the topic.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from dashboard.models import GHOSTS_FROM, event_pk
from dashboard.queries.lag import partitions
from dashboard.record.masking import MARK
from dashboard.sql import rows

NEWEST: Final = 20  # events of a type that say what its shape is now
MAX_DEPTH: Final = 6
MAX_PATHS: Final = 200
MAX_PLACES: Final = 64  # partitions that one query asks for a type
MAX_NAMED: Final = 3  # differences that a sentence names
MAX_NAME: Final = 60  # characters of a path that are shown
UNKNOWN: Final = "unknown"  # masked: no difference to any kind
_KINDS: Final = ((bool, "boolean"), (int | float, "number"), (str, "text"), (list, "list"), (dict, "object"))
_NEWEST: Final = (
    "SELECT * FROM (SELECT at_ms, at_seq, payload FROM dashboard_event WHERE type = %s AND id BETWEEN %s AND %s"  # noqa: S608  constants
    f" ORDER BY id DESC LIMIT {NEWEST}) AS newest"
)
_UNREADABLE: Final = re.compile(r"[^ -~\u00a1-\u1fff\u2c00-\ud7ff]|`")

Shape: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Differences:
    """How a payload differs from newer ones: paths that only they have, that only it has, and (path, was, is)."""

    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    changed: Sequence[tuple[str, str, str]] = ()

    @property
    def count(self) -> int:
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
    """The shape of recorded data; None when it is no whole JSON object."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return shape(value) if isinstance(value, dict) else None


def differences(old: Shape, now: Sequence[Shape]) -> Differences:
    """What all newer ones have and this lacks, what none of them has, what is of one other kind in all of them."""
    if not now:
        return Differences()
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
    parts = [f"`{_shown(path)}` was {was}, is {now} in the newer {compared}" for path, was, now in found.changed]
    parts += [f"`{_shown(path)}` is missing" for path in found.missing]
    parts += [f"`{_shown(path)}` is in none of the newer {compared}" for path in found.extra]
    more = len(parts) - MAX_NAMED
    return "; ".join(parts[:MAX_NAMED]) + (f"; {more} more" if more > 0 else "")


def edit_sentence(found: Differences) -> str:
    """What an edit did to the shape: "removes `a`; adds `b`; makes `c` text, it was number"; "" for nothing."""
    parts = [f"removes `{_shown(path)}`" for path in found.missing] + [f"adds `{_shown(path)}`" for path in found.extra]
    parts += [f"makes `{_shown(path)}` {was}, it was {before}" for path, was, before in found.changed]
    more = len(parts) - MAX_NAMED
    return "; ".join(parts[:MAX_NAMED]) + (f"; {more} more" if more > 0 else "")


def _shown(path: str) -> str:
    clean = _UNREADABLE.sub("?", path)
    return clean if len(clean) <= MAX_NAME else clean[: MAX_NAME - 1] + "…"


def newer(topic: str, event_type: str, after_ms: int) -> list[Shape]:
    """Shapes of the newest events of a type that came after a time: one query, at most `NEWEST` of each partition."""
    places = sorted(place.id for place in partitions(topic).values())[:MAX_PLACES]
    if not places:
        return []
    asked = [value for place in places for value in (event_type, event_pk(place, 0), event_pk(place, GHOSTS_FROM - 1))]
    found = rows(" UNION ALL ".join([_NEWEST] * len(places)), asked)
    newest = sorted(found, key=lambda row: (row["at_ms"], row["at_seq"]), reverse=True)[:NEWEST]
    shapes = [shape_of(bytes(row["payload"])) for row in newest if row["at_ms"] > after_ms]
    return [one for one in shapes if one is not None]
