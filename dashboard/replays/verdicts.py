"""What is known of each letter before it is replayed: the reasons to leave it out. One statement each for a portion.

Order matters: a letter has the first verdict that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection

from dashboard.models import GHOSTS_FROM, NUMBER_BITS, event_pk
from dashboard.queries.facts import histories
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.replays.models import Fate, Replay
from dashboard.sql import rows, spread

NEWER: Final = 20  # of a key that are looked at, the newest ones
_LAST: Final = (1 << NUMBER_BITS) - 1
_WITHIN: Final = "replay_id = %s AND number BETWEEN %s AND %s"
_MARK: Final = f"UPDATE dashboard_replayletter SET fate = %s WHERE {_WITHIN} AND fate = 'planned'"  # noqa: S608  constants
_GONE: Final = f"{_MARK} AND event_id BETWEEN %s AND %s"
_PLACES: Final = (
    'SELECT DISTINCT event_id >> %s AS partition_id, "group" FROM dashboard_replayletter'
    f" WHERE {_WITHIN} AND fate = 'planned'"
)
_UNHANDLED: Final = (
    f'{_MARK} AND "group" = %s AND event_id BETWEEN %s AND %s AND NOT EXISTS (SELECT 1 FROM dashboard_event e'
    " WHERE e.id = dashboard_replayletter.event_id AND e.type IN (…))"
)
_EARLIER: Final = (
    "UPDATE dashboard_replayletter SET earlier = (SELECT MAX(o.replay_id) FROM dashboard_replayletter o"
    ' WHERE o.event_id = dashboard_replayletter.event_id AND o."group" = dashboard_replayletter."group"'
    " AND o.replay_id < dashboard_replayletter.replay_id AND o.replayed_ms IS NOT NULL)"
    f" WHERE {_WITHIN} AND fate IN ('planned', 'replayed_before', 'succeeded_before')"  # noqa: S608  constants
)
# Another replay has it on its list and has not come to it yet, or knows no outcome yet.
_TAKEN: Final = (
    "SELECT l.number, MAX(o.replay_id) AS earlier FROM dashboard_replayletter l JOIN dashboard_replayletter o"
    ' ON o.event_id = l.event_id AND o."group" = l."group" AND o.replay_id <> l.replay_id'
    " JOIN dashboard_replay r ON r.id = o.replay_id WHERE l.replay_id = %s AND l.number BETWEEN %s AND %s"
    " AND l.fate = 'planned' AND ((o.fate = 'planned' AND r.stage = 'running') OR (o.fate = 'waiting'"
    " AND o.ended = l.ended)) GROUP BY l.number"
)
_SET_TAKEN: Final = (
    "UPDATE dashboard_replayletter SET fate = 'replayed_before', earlier = %s WHERE replay_id = %s AND number = %s"
)
# The newest events of the same key, each by the index of keys; one that the group handled makes the letter old news.
_SUPERSEDED: Final = (
    f"{_MARK} AND EXISTS (SELECT 1 FROM dashboard_event e JOIN dashboard_delivery d ON d.event_id IN"
    " (SELECT n.id FROM dashboard_event n WHERE NOT (n.key = '') AND n.key = e.key AND n.id > e.id"
    f" AND n.partition_id = e.partition_id ORDER BY n.id DESC LIMIT {NEWER})"
    ' AND d."group" = dashboard_replayletter."group" AND d.state = \'succeeded\''
    " WHERE e.id = dashboard_replayletter.event_id AND NOT (e.key = ''))"
)


def judge(replay: Replay, first: int, last: int) -> None:
    """Mark the letters of these numbers that should not be replayed."""
    if last < first:
        return
    within = [replay.pk, first, last]
    found = rows(_PLACES, [NUMBER_BITS, *within])
    places = {place.id: place for place in partitions().values()}
    said = histories({row["partition_id"] for row in found})
    for partition_id in sorted({row["partition_id"] for row in found}):
        for span in _gone(places[partition_id]):
            _run(_GONE, [Fate.GONE, *within, *span])
    for row in found:
        history = said.get(row["partition_id"], {}).get(row["group"])
        types = history[-1].types if history else None
        if types is not None:
            whole = (event_pk(row["partition_id"], 0), event_pk(row["partition_id"], _LAST))
            _run(spread(_UNHANDLED, max(len(types), 1)),
                 [Fate.UNHANDLED, *within, row["group"], *whole, *(sorted(types) or [""])])  # fmt: skip
    _run(_EARLIER, within)
    for row in rows(_TAKEN, within):
        _run(_SET_TAKEN, [row["earlier"], replay.pk, row["number"]])
    _run(_SUPERSEDED, [Fate.SUPERSEDED, *within])


def _gone(place: PartitionRow) -> list[tuple[int, int]]:
    """Ranges of events that are no longer in the partition's stream."""
    numbers = [(0, place.trimmed_number), (GHOSTS_FROM, _LAST)]
    numbers += [(span.first, span.last) for span in place.forgotten]
    return [(event_pk(place.id, first), event_pk(place.id, last)) for first, last in numbers]


def _run(statement: str, parameters: Sequence[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters])
