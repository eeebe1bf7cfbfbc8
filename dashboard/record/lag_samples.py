"""How far each group is behind, measured every ten seconds: nobody can tell it afterwards.

Where lag is unknown, or no recorder runs, nothing is stored, and the chart has a gap.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from django.db import connection

from bus import inspect, tail
from bus.inspect import GroupState
from bus.streams import Client
from dashboard.queries.lag import Lag, lags, partitions
from dashboard.record.rollups import SPAN_MS

MAX_GROUPS: Final = 1_000
_STORE: Final = (
    'INSERT INTO dashboard_lagsample (span_ms, start_ms, topic, "group", lag, age_ms, dead)'
    ' VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (span_ms, start_ms, topic, "group") DO UPDATE SET'
    " lag = excluded.lag, age_ms = excluded.age_ms, dead = excluded.dead"
)


def measure(client: Client) -> None:
    """Store how far every group is behind now. Raises `ServerError` or a database error."""
    prefix = client.config.prefix
    found = client.run(inspect.groups(prefix, client.run(tail.partitions(prefix))))
    states = client.run(inspect.details(prefix, found))
    now_ms = int(time.time() * 1000)
    known = lags(states, partitions())
    grouped: dict[tuple[str, str], list[GroupState]] = defaultdict(list)
    for state in states:
        grouped[state.topic, state.group].append(state)
    start_ms = now_ms - now_ms % SPAN_MS
    rows = [
        (SPAN_MS, start_ms, topic, group, *sample)
        for (topic, group), some in sorted(grouped.items())[:MAX_GROUPS]
        if (sample := _sample(some, [known.get((topic, state.partition, group)) for state in some], now_ms))
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_STORE, rows)


def _sample(states: list[GroupState], found: Iterable[Lag | None], now_ms: int) -> tuple[int, int, int] | None:
    """Lag, age and dead letters of a group on all its partitions; None when any of it is unknown."""
    waiting, oldest_ms = 0, now_ms
    for lag in found:
        if lag is None or lag.waiting is None:
            return None
        waiting += lag.waiting
        oldest_ms = min(oldest_ms, now_ms if lag.oldest_ms is None else lag.oldest_ms)
    pending, dead = sum(state.pending for state in states), sum(state.dead for state in states)
    return waiting + pending, now_ms - oldest_ms, dead
