"""Is anything wrong, and where? Topics, groups, the edges between them, and what happened last."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bus.inspect import GroupState
from bus.journal import Step
from dashboard import visible
from dashboard.queries.bus_state import BusState, bus_state
from dashboard.queries.lag import Lag, PartitionRow, lags, partitions
from dashboard.queries.lanes import error_line
from dashboard.record import rates
from dashboard.record.rates import Rates, Series
from dashboard.sql import rows

BEHIND_LAG: Final = 100
BEHIND_MS: Final = 30_000
MAX_RECENT: Final = 20
MAX_EDGES: Final = 300
_TALLIES: Final = "SELECT kind, who, topic, bucket, count FROM dashboard_tally WHERE bucket >= %s"
_TOTALS: Final = (
    "SELECT kind, who, topic, count FROM dashboard_total WHERE kind IN ('source', 'caused')"
    " ORDER BY count DESC, kind, who, topic LIMIT %s"
)
_SUBSCRIBED: Final = (
    'SELECT DISTINCT p.topic, s."group" FROM dashboard_subscription s'
    " JOIN dashboard_partition p ON p.id = s.partition_id"
)
_ATTEMPTS: Final = (
    'SELECT a.ended_ms AS at_ms, a.step, a."group", a.number, a.error_class, substr(a.message, 1, 300) AS message,'
    " e.event_id, e.correlation_id, e.type, e.partition_id"
    " FROM dashboard_attempt a JOIN dashboard_event e ON e.id = a.event_id"
    " WHERE NOT (a.step = 2) AND a.step <> 6 ORDER BY a.ended_ms DESC LIMIT %s"
)
_SUBSCRIPTIONS: Final = (
    'SELECT since_ms AS at_ms, "group", partition_id, types FROM dashboard_subscription ORDER BY since_ms DESC LIMIT %s'
)


def overview(live: Rates | None = None, delay: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Everything the overview shows. `live`: counts of this process's live tail, `delay`: what it measured."""
    now_ms = int(time.time() * 1000)
    places, state = partitions(), bus_state()
    counts = recorded_rates(now_ms)
    if live is not None:
        counts = counts.merged(live)
    groups = group_rows(places, state, counts, now_ms)
    return {
        "now_ms": now_ms,
        "figures": _figures(groups, state, now_ms),
        "topics": topic_rows(places.values(), counts, now_ms),
        "groups": groups,
        "edges": _edges(counts, now_ms),
        "recent": _recent({place.id: place for place in places.values()}),
        "delay": dict(delay) if delay else None,
        "server": {"available": state.available, "trouble": state.trouble},
    }


def recorded_rates(now_ms: int) -> Rates:
    """The last minute's counts as the recorder stored them."""
    oldest = rates.bucket_of(now_ms) - rates.SPARK_BUCKETS
    found = rows(_TALLIES, [oldest])
    return Rates((Series(row["kind"], row["who"], row["topic"]), row["bucket"], row["count"]) for row in found)


def topic_rows(places: Iterable[PartitionRow], counts: Rates, now_ms: int) -> list[dict[str, Any]]:
    """One row a topic."""
    by_topic: dict[str, list[PartitionRow]] = defaultdict(list)
    for place in places:
        by_topic[place.topic].append(place)
    return [_topic_row(topic, by_topic[topic], counts, now_ms) for topic in sorted(by_topic)]


def group_rows(
    places: Mapping[tuple[str, int], PartitionRow], state: BusState, counts: Rates, now_ms: int
) -> list[dict[str, Any]]:
    """One row for each group of each topic, its partitions taken together."""
    found = lags(list(state.groups.values()), places)
    states: dict[tuple[str, str], list[GroupState]] = defaultdict(list)
    for group_state in state.groups.values():
        states[group_state.topic, group_state.group].append(group_state)
    if not state.available:
        states.update({(row["topic"], row["group"]): [] for row in rows(_SUBSCRIBED) if visible.sees(row["topic"])})
    return [
        _group_row(topic, group, states[topic, group], found, _workers(group, state), counts, now_ms)
        for topic, group in sorted(states, key=lambda key: (key[1], key[0]))
    ]


def _topic_row(topic: str, places: list[PartitionRow], counts: Rates, now_ms: int) -> dict[str, Any]:
    series = Series(rates.PUBLISHED, "", topic)
    return {
        "topic": topic,
        "partitions": len(places),
        "total": sum(place.newest_number for place in places),
        "rate": counts.rate(series, now_ms),
        "newest_ms": max(place.newest_ms for place in places) or None,
        "spark": counts.spark(series, now_ms),
    }


def _group_row(
    topic: str,
    group: str,
    states: list[GroupState],
    found: Mapping[tuple[str, int, str], Lag],
    workers: int | None,
    counts: Rates,
    now_ms: int,
) -> dict[str, Any]:
    lag = [found.get((state.topic, state.partition, group)) for state in states]
    waiting = _sum(one.waiting if one else None for one in lag) if states else None
    pending = sum(state.pending for state in states) if states else None
    return {
        "group": group,
        "topic": topic,
        "waiting": waiting,
        "pending": pending,
        "lag": None if waiting is None or pending is None else waiting + pending,
        "oldest_ms": min((one.oldest_ms for one in lag if one and one.oldest_ms is not None), default=None),
        "retrying": sum(state.due for state in states) if states else None,
        "dead": sum(state.dead for state in states) if states else None,
        "discarded": sum(state.discarded for state in states) if states else None,
        "running": sum(count for state in states for _, count in state.held) if states else None,
        "paused_by": next((state.paused_by for state in states if state.paused_by), None),
        "rate": counts.rate(Series(rates.SETTLED, group, topic), now_ms),
        "failing_rate": counts.rate(Series(rates.FAILED, group, topic), now_ms),
        "workers": workers,
    }


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum, unknown when any part of it is."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _workers(group: str, state: BusState) -> int | None:
    return state.workers_alive(group) if state.available else None


def _figures(groups: list[dict[str, Any]], state: BusState, now_ms: int) -> dict[str, int | None]:
    """What is wrong on the whole bus; unknown (None), not 0, while the server is away."""
    if not state.available:
        return dict.fromkeys(("dead", "retrying", "behind", "silent"))
    behind = [
        group
        for group in groups
        if (group["lag"] or 0) > BEHIND_LAG or now_ms - (group["oldest_ms"] or now_ms) > BEHIND_MS
    ]
    return {
        "dead": sum(group["dead"] or 0 for group in groups),
        "retrying": sum(group["retrying"] or 0 for group in groups),
        "behind": len(behind),
        "silent": sum(not worker.alive for worker in state.workers),
    }


def _edges(counts: Rates, now_ms: int) -> dict[str, list[dict[str, Any]]]:
    edges: dict[str, list[dict[str, Any]]] = {"sources": [], "publishes": []}
    for row in rows(_TOTALS, [MAX_EDGES]):
        series = Series(row["kind"], row["who"], row["topic"])
        if not visible.sees(series.topic):
            continue
        edge = {"topic": series.topic, "rate": counts.rate(series, now_ms), "total": row["count"]}
        if series.kind == rates.SOURCE:
            edges["sources"].append({"source": series.who, **edge})
        else:
            from_topic, _, group = series.who.partition("/")
            if not visible.sees(from_topic):
                continue
            edges["publishes"].append({"group": group, "from_topic": from_topic, **edge})
    return edges


def _recent(places: Mapping[int, PartitionRow]) -> list[dict[str, Any]]:
    """What happened last that somebody may want to know, newest first."""
    most = MAX_RECENT if visible.sees_all() else 10 * MAX_RECENT
    happenings = [_failure(row, places) for row in rows(_ATTEMPTS, [most])]
    happenings += _subscriptions(rows(_SUBSCRIPTIONS, [10 * MAX_RECENT]), places)
    if not visible.sees_all():
        happenings = [happening for happening in happenings if visible.sees(happening["topic"])]
    return sorted(happenings, key=lambda happening: -happening["at_ms"])[:MAX_RECENT]


def _failure(row: Mapping[str, Any], places: Mapping[int, PartitionRow]) -> dict[str, Any]:
    step = Step(row["step"])
    error = error_line(row)
    texts = {
        Step.DEAD_LETTERED: f"{row['group']} gave up {row['type']} after attempt {row['number']}: {error}",
        Step.RETRY_SCHEDULED: f"{row['group']} failed {row['type']}, attempt {row['number']}: {error}",
        Step.RECLAIMED: f"{row['group']} lost its worker on {row['type']}, attempt {row['number']}",
    }
    place = places.get(row["partition_id"])
    return {
        "at_ms": row["at_ms"],
        "kind": step.word,
        "text": texts.get(step, f"{row['group']} {step.word} {row['type']}"),
        "event_id": row["event_id"],
        "correlation_id": row["correlation_id"],
        "group": row["group"],
        "topic": place.topic if place else "",
    }


def _subscriptions(found: list[dict[str, Any]], places: Mapping[int, PartitionRow]) -> list[dict[str, Any]]:
    """Subscriptions, the partitions of one topic told once."""
    seen: Counter[tuple[str, str, int]] = Counter()
    happenings = []
    for row in found:
        topic = places[row["partition_id"]].topic if row["partition_id"] in places else ""
        seen[key := (topic, row["group"], row["at_ms"] // 1000)] += 1
        if seen[key] == 1:
            text = f"{row['group']} subscribed to {topic}"
            happenings.append(
                {
                    "at_ms": row["at_ms"],
                    "kind": "subscribed",
                    "text": text,
                    "event_id": "",
                    "correlation_id": "",
                    "group": row["group"],
                    "topic": topic,
                }
            )
    return happenings
