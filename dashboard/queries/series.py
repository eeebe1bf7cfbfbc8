"""A group over time: lag as it was measured, rates, failures and how long things took, in a bounded number of points.

What nobody measured or recorded is None, never 0: lag where no sample was taken, the rest before the topic's first
event and after what the recorder has stored.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dashboard import visible
from dashboard.queries.facts import histories
from dashboard.queries.findings import recordings
from dashboard.record.histogram import quantile
from dashboard.record.presence import SILENT_MS
from dashboard.record.rollup_age import SPANS_MS
from dashboard.record.rollups import COLUMNS, NOBODY, OTHERS, Cell, cell
from dashboard.sql import rows, rows_in

RANGES: Final = {"15m": (900_000, 10_000), "1h": (3_600_000, 30_000), "24h": (86_400_000, 600_000)}
USUAL: Final = "15m"
MAX_CELLS: Final = 50_000
MAX_TYPES: Final = 50
_CELLS: Final = (
    f'SELECT "group", start_ms, type, {", ".join(COLUMNS)} FROM dashboard_rollup'  # noqa: S608  constants
    ' WHERE "group" IN (%s, %s) AND span_ms IN (%s, %s, %s) AND start_ms >= %s AND start_ms < %s'
    f" AND partition_id IN (…) LIMIT {MAX_CELLS}"
)
_FIRST: Final = (
    'SELECT MIN(start_ms) AS first_ms FROM dashboard_rollup WHERE "group" = %s'
    " AND span_ms IN (%s, %s, %s) AND partition_id IN (…)"
)
_PARTITIONS: Final = "SELECT id, newest_ms FROM dashboard_partition WHERE topic = %s ORDER BY number"
_RECENT_LAG: Final = (
    'SELECT topic, "group", start_ms, lag FROM dashboard_lagsample'
    " WHERE span_ms = %s AND start_ms >= %s AND start_ms < %s"
)
_SAMPLES: Final = (
    "SELECT start_ms, lag, age_ms FROM dashboard_lagsample"
    ' WHERE topic = %s AND "group" = %s AND span_ms IN (%s, %s, %s) AND start_ms >= %s AND start_ms < %s'
)


class Window(NamedTuple):
    """Points from `from_ms` on, `step_ms` apart, each for the time until the next; `to_ms` ends the last one."""

    from_ms: int
    to_ms: int
    step_ms: int

    @property
    def starts(self) -> range:
        return range(self.from_ms, self.to_ms, self.step_ms)

    def point(self, at_ms: int) -> int:
        """The start of the point that a moment belongs to."""
        return at_ms - (at_ms - self.from_ms) % self.step_ms


def window(name: str, now_ms: int) -> Window:
    """The points of a range, up to the last that has passed."""
    length_ms, step_ms = RANGES[name]
    to_ms = now_ms - now_ms % step_ms
    return Window(to_ms - length_ms, to_ms, step_ms)


def series(topic: str, group: str, name: str = USUAL, *, now_ms: int | None = None) -> dict[str, Any] | None:
    """The group on the topic over the range `name` of `RANGES`; None when the topic has no recorded partition.

    Each list has a value for each of `at_ms`. Rates are a second; durations in ms. `types`: sums of the whole range.
    """
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    newest_ms = {row["id"]: row["newest_ms"] for row in rows(_PARTITIONS, visible.of([topic]) or [""])}
    pids = list(newest_ms)
    if not pids:
        return None
    over = window(name, now_ms)
    came, done = _cells(pids, group, over)
    taken = _types(pids, group)
    known = _known(newest_ms, over, now_ms)
    values = [_point(came[at], done[at], taken, over.step_ms) if at in known else _UNKNOWN for at in over.starts]
    samples = _samples(topic, group, over)
    return {
        "topic": topic,
        "group": group,
        "range": name,
        "step_ms": over.step_ms,
        "now_ms": now_ms,
        "at_ms": list(over.starts),
        "lag": [samples[at][0] if at in samples else None for at in over.starts],
        "age_ms": [samples[at][1] if at in samples else None for at in over.starts],
        **{column: [value[column] for value in values] for column in _UNKNOWN},
        "types": _by_type(came, done, taken),
    }


def lag_sparks(groups: Iterable[tuple[str, str]], now_ms: int) -> dict[tuple[str, str], list[int | None]]:
    """The lag of each group of each topic over the last five minutes, a point for ten seconds."""
    to_ms = now_ms - now_ms % 10_000
    over = Window(to_ms - 300_000, to_ms, 10_000)
    found: dict[tuple[str, str], dict[int, int]] = {name: {} for name in groups}
    for row in rows(_RECENT_LAG, [SPANS_MS[0], over.from_ms, over.to_ms]):
        if (name := (row["topic"], row["group"])) in found:
            found[name][row["start_ms"]] = row["lag"]
    return {name: [lag.get(at) for at in over.starts] for name, lag in found.items()}


Cells = Mapping[int, Mapping[str, Cell]]  # by start and type
_UNKNOWN: Final[dict[str, float | None]] = {
    "coming": None, "settled": None, "failed": None, "dead": None,
    "handled_p50_ms": None, "handled_p95_ms": None, "settled_p95_ms": None,
}  # fmt: skip


def _cells(pids: Sequence[int], group: str, over: Window) -> tuple[Cells, Cells]:
    """What was published on the topic, and what the group did, by point and type."""
    found: tuple[dict[int, dict[str, Cell]], ...] = (defaultdict(dict), defaultdict(dict))
    before = [NOBODY, group, *SPANS_MS, over.from_ms, over.to_ms]
    for row in rows_in(_CELLS, pids, before=before):
        bucket = found[row["group"] != NOBODY][over.point(row["start_ms"])]
        told = cell([row[column] for column in COLUMNS])
        if row["type"] in bucket:
            bucket[row["type"]].add(told)
        else:
            bucket[row["type"]] = told
    return found[0], found[1]


def _types(pids: Sequence[int], group: str) -> frozenset[str] | None:
    """The types that the group takes now; None: all."""
    said = [history[group][-1].types for history in histories(pids).values() if group in history]
    return None if None in said or not said else frozenset(name for some in said for name in some or ())


def _known(newest_ms: Mapping[int, int], over: Window, now_ms: int) -> range:
    """The points that are recorded: from the topic's first on, up to where recording is. `newest_ms`: by partition."""
    found = rows_in(_FIRST, list(newest_ms), before=[NOBODY, *SPANS_MS])
    firsts = [row["first_ms"] for row in found if row["first_ms"] is not None]
    first = min(firsts, default=over.to_ms)
    recorders = recordings()
    lives = any(now_ms - row["beat_ms"] < SILENT_MS for row in recorders)
    stored_ms = max((row["stored_ms"] for row in recorders), default=0)
    last = now_ms if lives else stored_ms or max(newest_ms.values(), default=0)
    return range(over.point(max(first, over.from_ms)), min(over.to_ms, last), over.step_ms)


def _point(
    came: Mapping[str, Cell], done: Mapping[str, Cell], taken: frozenset[str] | None, step_ms: int
) -> dict[str, float | None]:
    seconds = step_ms / 1000
    total = Cell()
    for one in done.values():
        total.add(one)
    return {
        "coming": _rate(came, taken, seconds),
        "settled": round((total.succeeded + total.dead) / seconds, 3),
        "failed": round(total.failed / seconds, 3),
        "dead": round(total.dead / seconds, 3),
        "handled_p50_ms": _ms(quantile(total.handled, 0.5)),
        "handled_p95_ms": _ms(quantile(total.handled, 0.95)),
        "settled_p95_ms": _ms(quantile(total.settled, 0.95)),
    }


def _rate(came: Mapping[str, Cell], taken: frozenset[str] | None, seconds: float) -> float | None:
    """Events a second that came to the group; None when too many types came to tell which."""
    if taken is not None and OTHERS in came:
        return None
    return round(sum(one.published for name, one in came.items() if taken is None or name in taken) / seconds, 3)


def _ms(length_us: float | None) -> float | None:
    return None if length_us is None else round(length_us / 1000, 3)


def _samples(topic: str, group: str, over: Window) -> dict[int, tuple[int, int]]:
    """Lag and age by point, the worst within it."""
    found: dict[int, tuple[int, int]] = {}
    for row in rows(_SAMPLES, [topic, group, *SPANS_MS, over.from_ms, over.to_ms]):
        at = over.point(row["start_ms"])
        lag, age_ms = found.get(at, (0, 0))
        found[at] = max(lag, row["lag"]), max(age_ms, row["age_ms"])
    return found


def _by_type(came: Cells, done: Cells, taken: frozenset[str] | None) -> list[dict[str, Any]]:
    """What each type came to in the whole range, most first."""
    sums: dict[str, Cell] = defaultdict(Cell)
    for bucket in done.values():
        for name, one in bucket.items():
            if one.succeeded or one.failed:
                sums[name].add(one)
    published: dict[str, int] = defaultdict(int)
    for bucket in came.values():
        for name, one in bucket.items():
            if taken is None or name in taken:
                published[name] += one.published
    told: list[dict[str, Any]] = [
        {
            "type": name,
            "coming": published.get(name, 0),
            "settled": sums[name].succeeded + sums[name].dead,
            "failed": sums[name].failed,
            "retried": sums[name].retried,
            "dead": sums[name].dead,
            "handled_p50_ms": _ms(quantile(sums[name].handled, 0.5)),
            "handled_p95_ms": _ms(quantile(sums[name].handled, 0.95)),
            "settled_p95_ms": _ms(quantile(sums[name].settled, 0.95)),
        }
        for name in {*published, *sums}
    ]
    return sorted(told, key=lambda row: (-row["coming"] - row["settled"], row["type"]))[:MAX_TYPES]
