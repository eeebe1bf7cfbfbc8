"""Who is behind, since when, why, and when will it be over? Groups and workers, in figures and one sentence."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dashboard.queries.bus_state import BusState, bus_state
from dashboard.queries.facts import histories
from dashboard.queries.flow import Flow, Flows
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.overview import BEHIND_LAG, BEHIND_MS, group_rows, recorded_rates
from dashboard.record import rates
from dashboard.record.rates import Rates, Series

STEADY_PER_SECOND: Final = 0.05  # what changes by less stays as it is
IN_FLIGHT: Final = 5  # events; so few say nothing about a trend
MAX_DRAIN_SECONDS: Final = 30 * 86_400
# How a group is, worst first.
CONDITIONS: Final = ("stopped", "paused", "behind", "unknown", "dead", "retrying", "fine")


def groups(topic: str | None = None) -> dict[str, Any]:
    """Each group of each topic: lag, the age of its oldest event, trend, drain time, and one sentence of cause.

    `trend`: events a second by which the lag grows, None when nobody can tell. Every figure that is unknown is None,
    never 0.
    """
    now_ms = int(time.time() * 1000)
    places, state, counts = partitions(), bus_state(), recorded_rates(now_ms)
    flows = _choosy_flows(places, now_ms)
    found = [
        _told(row, counts, state, now_ms=now_ms, flow=flows.get((row["topic"], row["group"])))
        for row in group_rows(places, state, counts, now_ms)
        if topic in (None, row["topic"])
    ]
    return {"now_ms": now_ms, "available": state.available, "trouble": state.trouble, "groups": found}


def workers() -> dict[str, Any]:
    """Workers that have beaten within the last hour."""
    state = bus_state()
    found = [
        {
            "worker": worker.id,
            "host": worker.host,
            "pid": worker.pid,
            "groups": list(worker.groups),
            "started_ms": worker.started_ms,
            "beat_ms": worker.beat_ms,
            "alive": worker.alive,
            "version": worker.version,
        }
        for worker in state.workers
    ]
    return {"available": state.available, "trouble": state.trouble, "workers": found}


def _choosy_flows(places: Mapping[tuple[str, int], PartitionRow], now_ms: int) -> dict[tuple[str, str], Flow]:
    """What comes to the groups that take only some types, by topic and group."""
    by_id = {place.id: place for place in places.values()}
    choosy: dict[tuple[str, str], set[str]] = {}
    for pid, known in histories(by_id).items():
        for group, history in known.items():
            if (types := history[-1].types) is not None:
                choosy.setdefault((by_id[pid].topic, group), set()).update(types)
    flows = Flows(places, now_ms) if choosy else None
    return {key: flows.of(*key, types) for key, types in choosy.items() if flows}


def _told(row: dict[str, Any], counts: Rates, state: BusState, *, now_ms: int, flow: Flow | None) -> dict[str, Any]:
    coming: float | None = counts.rate(Series(rates.PUBLISHED, "", row["topic"]), now_ms)
    trend = (coming or 0.0) - row["rate"]
    if flow is not None:
        coming, trend = flow
    trend = None if row["lag"] is None else round(trend, 3)
    age_ms = None if row["oldest_ms"] is None else max(now_ms - row["oldest_ms"], 0)
    beat_ms = max((worker.beat_ms for worker in state.workers if row["group"] in worker.groups), default=None)
    told = {
        **row,
        "age_ms": age_ms,
        "coming_rate": None if coming is None else round(coming, 3),
        "trend": trend,
        "drain_seconds": None if row["paused_by"] and row["lag"] else drain_seconds(row["lag"], trend),
        "seen_ms": beat_ms,
        "versions": _versions(row["group"], state),
    }
    told["condition"] = condition(told)
    stopped = sum(
        one.stopped for one in state.groups.values() if (one.topic, one.group) == (row["topic"], row["group"])
    )
    return {**told, "cause": cause({**told, "stopped": stopped}, now_ms, available=state.available)}


def _versions(group: str, state: BusState) -> list[str]:
    """The versions of the code that the group's live workers run."""
    own = (worker.version for worker in state.workers if worker.alive and group in worker.groups)
    return sorted({version for version in own if version})


def drain_seconds(lag: int | None, trend: float | None) -> int | None:
    """When it will be over if it goes on like this; None when it won't, or nobody can tell."""
    if lag == 0:
        return 0
    if lag is None or trend is None or trend > -STEADY_PER_SECOND:
        return None
    seconds = round(lag / -trend)
    return seconds if seconds <= MAX_DRAIN_SECONDS else None


def condition(told: Mapping[str, Any]) -> str:
    """How a group is: the worst of `CONDITIONS` that holds."""
    holds = {
        "unknown": told["lag"] is None,
        "paused": told["paused_by"] is not None,
        "stopped": told["lag"] is not None and not told["workers"] and told["paused_by"] is None,
        "behind": is_behind(told),
        "dead": told["dead"],
        "retrying": told["retrying"],
    }
    return next((name for name in CONDITIONS if holds.get(name)), "fine")


def is_behind(told: Mapping[str, Any]) -> bool:
    """Whether the overview counts it among those that are behind."""
    return (told["lag"] or 0) > BEHIND_LAG or (told["age_ms"] or 0) > BEHIND_MS


def keeps_up(told: Mapping[str, Any]) -> bool:
    """Whether what waits is only on its way: no more than two seconds' worth, as on the overview's map."""
    return not is_behind(told) and told["lag"] <= max(IN_FLIGHT, told["rate"] * 2)


def cause(told: Mapping[str, Any], now_ms: int, *, available: bool) -> str:
    """Why the group is where it is, in one sentence."""
    if not available:
        return "Unknown: the server is away."
    if told["lag"] is None:
        return "Unknown: the recorder is behind, or the group's position is older than what is recorded."
    if told.get("paused_by"):
        waits = "nothing waits yet" if told["lag"] == 0 else "events wait until it is resumed"
        return f"Paused by {told['paused_by'][:60]}: {waits}."
    if not told["workers"]:
        since = f" for {_span(now_ms - told['seen_ms'])}" if told["seen_ms"] else ""
        return f"No live worker{since}{'; nothing waits yet' if told['lag'] == 0 else ''}."
    if told["lag"] == 0:
        dead = told["dead"]
        return f"{dead:,} dead letter{'s wait' if dead > 1 else ' waits'} for you." if dead else "Nothing to do."
    said = _pace(told) if told["waiting"] else _in_hand(told)
    if not (stopped := told.get("stopped")):
        return said
    held = f"{stopped:,} {'is' if stopped == 1 else 'are'} held at a breakpoint."
    return held if not told["waiting"] and stopped >= told["pending"] else f"{held} {said}"


def _in_hand(told: Mapping[str, Any]) -> str:
    if told["retrying"] < told["pending"]:
        return "Nothing waits; the pending events are being handled."
    if told["pending"] == 1:
        return "The one pending event failed and waits to be attempted again."
    return f"All {told['pending']:,} pending events failed and wait to be attempted again."


def _pace(told: Mapping[str, Any]) -> str:
    handled = f"{told['rate']:.3g}/s are handled"
    comes = (
        "too many types to tell how many come" if told["coming_rate"] is None else f"{told['coming_rate']:.3g}/s come"
    )
    if keeps_up(told):
        return f"{comes}, {handled}: it keeps up."
    if told["trend"] > STEADY_PER_SECOND:
        return f"{comes}, {handled}: {'it falls behind' if is_behind(told) else 'more and more wait'}."
    if told["trend"] < -STEADY_PER_SECOND:
        return f"{comes}, {handled}: it catches up."
    return f"{comes}, {handled}: it stays as far behind."


def _span(passed_ms: int) -> str:
    units: Iterable[tuple[int, str]] = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
    return next((f"{passed_ms // unit_ms} {unit}" for unit_ms, unit in units if passed_ms >= unit_ms), "0 s")
