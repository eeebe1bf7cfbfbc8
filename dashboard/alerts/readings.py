"""What there is to see right now, for all rules at once: a handful of queries a look, however many rules and groups.

A reading whose value is None is unknown: the server is away, or the recorder has not stored so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from bus import tail
from bus.event import entry_ms
from bus.operations import entry_order
from dashboard.alerts.models import AlertRule
from dashboard.alerts.rules import span
from dashboard.queries.bus_state import BusState, ask, bus_state
from dashboard.queries.groups import groups
from dashboard.queries.lag import RECORDER_LATE_MS, PartitionRow, partitions
from dashboard.sql import rows

CELL_MS: Final = 10_000
_COUNTED: Final = (
    'SELECT p.topic, r."group", SUM(r.succeeded) AS succeeded, SUM(r.failed) AS failed, SUM(r.dead) AS dead'
    " FROM dashboard_rollup r JOIN dashboard_partition p ON p.id = r.partition_id"
    ' WHERE r.span_ms = %s AND r.start_ms >= %s AND r."group" <> \'\' GROUP BY p.topic, r."group"'
)


class Reading(NamedTuple):
    """One value of one place. `told`: in words."""

    topic: str
    group: str
    value: float | None
    told: str = ""


@dataclass(frozen=True)
class Scene:
    """All that was seen in one look. `recorded_ms`: by topic, all until then is recorded; None: nobody can tell."""

    now_ms: int
    server_ms: int
    state: BusState
    groups: Sequence[Mapping[str, Any]]
    places: Mapping[tuple[str, int], PartitionRow]
    recorded_ms: Mapping[str, int | None]
    counted: Mapping[int, Mapping[tuple[str, str], Mapping[str, Any]]]  # by window, then topic and group

    def is_recorded(self, topic: str) -> bool:
        """Whether what happened on the topic is known up to now, near enough."""
        at = self.recorded_ms.get(topic)
        return at is not None and self.server_ms - at < RECORDER_LATE_MS


def look(rules: Sequence[AlertRule]) -> Scene:
    """See what the rules ask about."""
    state = bus_state()
    now_ms = int(time.time() * 1000)
    server_ms = now_ms + (state.server.offset_ms if state.server else 0)
    known = partitions()
    newest = ask(lambda prefix: tail.newest(prefix, sorted(known))) if state.available and known else {}
    places = partitions()  # after the streams were asked: what they held by then is in here, or is not recorded yet
    windows = {rule.window_s for rule in rules if rule.kind in ("dead", "failures")}
    return Scene(
        now_ms=now_ms,
        server_ms=server_ms,
        state=state,
        groups=groups()["groups"],
        places=places,
        recorded_ms=_recorded(places, newest or {}, server_ms),
        counted={window: _counted(server_ms - window * 1000) for window in windows},
    )


def _recorded(
    places: Mapping[tuple[str, int], PartitionRow], newest: Mapping[tuple[str, int], tail.Position], server_ms: int
) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for key, place in places.items():
        at = _recorded_until(place, newest[key], server_ms) if key in newest else None
        before = found.get(place.topic, server_ms)
        found[place.topic] = None if at is None or before is None else min(at, before)
    return found


def _recorded_until(place: PartitionRow, newest: tail.Position, server_ms: int) -> int:
    behind = [
        entry_ms(cursor) - 1
        for cursor, last in ((place.events_cursor, newest.events), (place.journal_cursor, newest.journal))
        if entry_order(cursor) < entry_order(last)
    ]
    return min(behind, default=server_ms)


def _counted(from_ms: int) -> dict[tuple[str, str], Mapping[str, Any]]:
    found = rows(_COUNTED, [CELL_MS, from_ms - from_ms % CELL_MS])
    return {(row["topic"], row["group"]): row for row in found}


def readings(rule: AlertRule, scene: Scene) -> Iterator[Reading]:
    """What the rule sees: of each place that it speaks of, a value."""
    if rule.kind == "silent":
        yield from _silent(rule, scene)
        return
    read = _READERS[rule.kind]
    for row in scene.groups:
        if is_meant(rule, row["topic"], row["group"]):
            value, told = read(rule, row, scene)
            yield Reading(row["topic"], row["group"], value, told)


def is_meant(rule: AlertRule, topic: str, group: str) -> bool:
    """Whether the rule speaks of this group of this topic."""
    return fnmatchcase(topic, rule.topic) and fnmatchcase(group, rule.group)


Told = tuple[float | None, str]


def _lag(_rule: AlertRule, row: Mapping[str, Any], _scene: Scene) -> Told:
    return row["lag"], f"{row['group']} is {row['lag'] or 0:,} events behind on {row['topic']}"


def _age(_rule: AlertRule, row: Mapping[str, Any], _scene: Scene) -> Told:
    if row["lag"] is None:
        return None, ""
    seconds = (row["age_ms"] or 0) // 1000
    return seconds, f"{row['group']} is {span(seconds)} behind on {row['topic']}"


def _dead(rule: AlertRule, row: Mapping[str, Any], scene: Scene) -> Told:
    if not scene.is_recorded(row["topic"]):
        return None, ""
    count = int(_sums(rule, row, scene).get("dead", 0))
    plural = "" if count == 1 else "s"
    return count, f"{count:,} new dead letter{plural} of {row['group']} on {row['topic']}"


def _failures(rule: AlertRule, row: Mapping[str, Any], scene: Scene) -> Told:
    if not scene.is_recorded(row["topic"]):
        return None, ""
    found = _sums(rule, row, scene)
    failed, ended = int(found.get("failed", 0)), int(found.get("failed", 0) + found.get("succeeded", 0))
    percent = 100 * failed / ended if ended >= rule.least else 0.0
    return percent, f"{row['group']} fails {percent:.3g} % of its attempts on {row['topic']} ({failed:,} of {ended:,})"


def _sums(rule: AlertRule, row: Mapping[str, Any], scene: Scene) -> Mapping[str, Any]:
    return scene.counted[rule.window_s].get((row["topic"], row["group"]), {})


def _silent(rule: AlertRule, scene: Scene) -> Iterator[Reading]:
    known = scene.state.available
    for group in sorted({row["group"] for row in scene.groups if is_meant(rule, row["topic"], row["group"])}):
        own = [worker for worker in scene.state.workers if group in worker.groups and not worker.alive]
        named = ", ".join(worker.id[:40] for worker in own[:2])
        plural = "" if len(own) == 1 else "s"
        yield Reading("", group, len(own) if known else None, f"{len(own):,} silent worker{plural} of {group}: {named}")


_READERS: Final[Mapping[str, Callable[[AlertRule, Mapping[str, Any], Scene], Told]]] = {
    "lag": _lag,
    "age": _age,
    "dead": _dead,
    "failures": _failures,
}
