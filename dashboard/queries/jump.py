"""Where a few typed or pasted characters may lead: events, traces, topics, groups. Indexed and bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard import visible
from dashboard.queries.bus_state import bus_state
from dashboard.queries.lag import partitions
from dashboard.queries.language import QueryInvalid, parse, quoted
from dashboard.queries.search import Budget, search
from dashboard.record.progress import State
from dashboard.sql import rows

MAX_LENGTH: Final = 600
MAX_EACH: Final = 5
TROUBLE: Final = (State.DEAD, State.LOST, State.RETRYING)
_GROUPS: Final = (
    'SELECT DISTINCT s."group", p.topic FROM dashboard_subscription s'
    " JOIN dashboard_partition p ON p.id = s.partition_id ORDER BY p.topic LIMIT 500"
)
_BUDGET: Final = Budget(candidates=2_000, seconds=0.1)

Rows = Sequence[Mapping[str, Any]]


def exact(text: str) -> tuple[str, Rows]:
    """What `text` names as a whole, and its events: `("id" | "trace" | "key", rows)`, or `("", ())`.

    A key's events come with the one first that a reader looks for: in trouble, else the oldest, which began it all.
    """
    for field in ("id", "trace", "key") if text else ():
        if found := _events(f"{field}:{quoted(text)}", limit=1 if field == "id" else 50):
            return field, sorted(found, key=_interest) if field == "key" else found
    return "", ()


def recent() -> Rows:
    """The newest few events of all topics."""
    return _events("", limit=MAX_EACH)


def topics_like(text: str) -> list[str]:
    """Topics whose name holds `text`, those first that begin with it."""
    return _like(text, {place.topic for place in partitions().values()})


def groups_like(text: str) -> list[tuple[str, str]]:
    """(group, topic) where the group's name holds `text`."""
    known = {(row["group"], row["topic"]) for row in rows(_GROUPS) if visible.sees(row["topic"])}
    known |= {(state.group, state.topic) for state in bus_state().groups.values()}
    names = _like(text, {group for group, _ in known})
    return sorted((pair for pair in known if pair[0] in names), key=lambda pair: (names.index(pair[0]), pair[1]))


def _like(text: str, names: set[str]) -> list[str]:
    wanted = text.casefold()
    found = [name for name in names if wanted in name.casefold()]
    return sorted(found, key=lambda name: (not name.casefold().startswith(wanted), name))


def _events(query: str, *, limit: int) -> list[Mapping[str, Any]]:
    try:
        found: list[Mapping[str, Any]] = search(parse(query), limit=limit, budget=_BUDGET)["rows"]
    except QueryInvalid:
        return []
    return found


def _interest(row: Mapping[str, Any]) -> tuple[int, float]:
    states = [TROUBLE.index(lane["state"]) for lane in row["lanes"] if lane["state"] in TROUBLE]
    return min(states, default=len(TROUBLE)), row["at_ms"]
