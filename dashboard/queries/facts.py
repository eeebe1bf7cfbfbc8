"""What several queries need of the same events: their lanes and a readable beginning of their data.

A handful of queries for any number of events; never one per event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from dashboard.models import GHOSTS_FROM, number_of
from dashboard.queries.bus_state import BusState, bus_state
from dashboard.queries.lag import Lag, PartitionRow, lags, partitions
from dashboard.queries.lanes import Happened, Place, Standing, lanes
from dashboard.record.subscriptions import Subscribed, order_of, subscribed
from dashboard.sql import rows_in

EVENT_COLUMNS: Final = (
    "id, partition_id, entry, event_id, type, key, source, correlation_id, cause_id, cause_group, cause_attempt,"
    " at_ms, at_seq, size, ghost, substr(payload, 1, 480) AS head"
)
PREVIEW: Final = 120
_DELIVERIES: Final = (
    'SELECT event_id, "group", state, attempt, ended, worker, due_ms, delivered_ms, started_ms, settled_ms,'
    " duration_us, error, fingerprint FROM dashboard_delivery WHERE event_id IN (…)"
)
_ATTEMPTS: Final = (
    'SELECT event_id, "group", place, number, step, worker, started_ms, ended_ms, duration_us, error_class,'
    ' substr(message, 1, 300) AS message FROM dashboard_attempt WHERE event_id IN (…) ORDER BY event_id, "group", place'
    " LIMIT 10000"  # in one answer
)
_SUBSCRIPTIONS: Final = (
    'SELECT partition_id, "group", start, types, attempts FROM dashboard_subscription'
    " WHERE partition_id IN (…) ORDER BY id"
)

Histories = Mapping[int, Mapping[str, Sequence[Subscribed]]]


class Surroundings:
    """What lanes depend on beside the event: subscriptions, and where groups stand right now."""

    def __init__(self, partition_ids: Collection[int]) -> None:
        self.partitions = {place.id: place for place in partitions().values()}
        self.state: BusState = bus_state()
        self.histories = histories(partition_ids)
        wanted = {(p.topic, p.number) for p in self.partitions.values() if p.id in set(partition_ids)}
        self._known_standings: dict[int, dict[str, Standing]] = {}
        states = [state for key, state in self.state.groups.items() if key[:2] in wanted]
        self._lags = lags(states, {(place.topic, place.number): place for place in self.partitions.values()})

    def lanes_of(self, event: Mapping[str, Any], happened: Mapping[str, Happened]) -> list[dict[str, Any]]:
        """The lanes of an event row."""
        partition_id = event["partition_id"]
        number = number_of(event["id"])
        forgotten_ms = self.forgotten_ms(event)
        place = Place(order_of(event["entry"]), number, event["at_ms"], event["type"], forgotten_ms)
        if place.number >= GHOSTS_FROM:
            return lanes(place, {}, happened, None)
        return lanes(place, self.histories.get(partition_id, {}), happened, self._standings(partition_id))

    def forgotten_ms(self, event: Mapping[str, Any]) -> int | None:
        """When it was noticed that the server had forgotten an event; None: it has not."""
        return self.partitions[event["partition_id"]].forgotten_at(number_of(event["id"]))

    def last_number(self, partition_id: int, group: str) -> int | None:
        """The number of the event that the group was handed last; None when nobody can tell."""
        place = self.partitions[partition_id]
        lag: Lag | None = self._lags.get((place.topic, place.number, group))
        return lag.last_number if lag else None

    def _standings(self, partition_id: int) -> dict[str, Standing] | None:
        if not self.state.available:
            return None
        if partition_id not in self._known_standings:
            self._known_standings[partition_id] = self._standings_at(self.partitions[partition_id])
        return self._known_standings[partition_id]

    def _standings_at(self, place: PartitionRow) -> dict[str, Standing]:
        return {
            group: Standing(
                order_of(state.last_delivered),
                self.last_number(place.id, group),
                self.state.workers_alive(group),
                state.paused_by,
            )
            for (topic, number, group), state in self.state.groups.items()
            if (topic, number) == (place.topic, place.number)
        }


def histories(partition_ids: Collection[int]) -> Histories:
    """Subscriptions by partition and group, oldest first."""
    found: dict[int, dict[str, list[Subscribed]]] = defaultdict(lambda: defaultdict(list))
    for row in rows_in(_SUBSCRIPTIONS, sorted(partition_ids)):
        found[row["partition_id"]][row["group"]].append(subscribed(row["start"], row["types"], row["attempts"]))
    return found


def happened(ids: Sequence[int], *, with_attempts: bool = True) -> dict[int, dict[str, Happened]]:
    """What is recorded of these events, by group."""
    attempts: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_in(_ATTEMPTS, ids) if with_attempts else ():
        attempts[row["event_id"], row["group"]].append(row)
    found: dict[int, dict[str, Happened]] = defaultdict(dict)
    for row in rows_in(_DELIVERIES, ids):
        found[row["event_id"]][row["group"]] = Happened(row, attempts.get((row["event_id"], row["group"]), ()))
    return found


def preview(head: bytes | None) -> str:
    """The beginning of an event's data in one line of at most 120 characters that no screen misreads."""
    text = printable(bytes(head or b"").decode("utf-8", "backslashreplace"))  # SQLite: of no bytes substr is NULL
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"


def printable(text: str, *, keep: str = "") -> str:
    """`text` with control and direction characters written out, so that it can't pretend to be something else."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
