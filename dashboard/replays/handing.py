"""Handing letters back: look up → remember which → replay → mark. Whoever dies in between, none is replayed twice.

A letter's own id is stored before it is replayed, and the bus hands a letter id back once. Without that a runner that
starts again would take the letter that the same delivery left later for the one on the list.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import F

from bus import letters, operations
from bus.keys import Keys
from bus.streams import Client
from dashboard.models import NUMBER_BITS, Partition
from dashboard.replays.models import Fate, Replay
from dashboard.sql import rows, spread

LOOKED_UP: Final = 500  # at once, the list's next ones
ORDER_SECONDS: Final = 5.0  # how long an answer about a group's order is believed
_NEXT: Final = (
    'SELECT number, event_id, "group", entry, moved_ms, letter, sought_ms FROM dashboard_replayletter'
    " WHERE replay_id = %s AND fate = 'planned' ORDER BY number LIMIT %s"
)
_REMEMBER: Final = (
    "UPDATE dashboard_replayletter SET letter = %s, sought_ms = %s"
    " WHERE replay_id = %s AND number = %s AND fate = 'planned' AND letter = ''"
)
_MARK: Final = (
    "UPDATE dashboard_replayletter SET fate = %s, replayed_ms = %s"
    " WHERE replay_id = %s AND fate = 'planned' AND number IN (…)"
)

Letter = Mapping[str, Any]


class Hands:
    """Hands letters back on one bus."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[int, Keys] = {}
        self._orders: dict[tuple[Keys, str], tuple[bool, float]] = {}

    def hand_back(self, replay: Replay, count: int) -> None:
        """Move the next letters of the list on, up to 500. Raises `ServerError`: run again, nothing is doubled."""
        some = rows(_NEXT, [replay.pk, min(count, operations.MAX_BATCH)])
        if not all(letter["letter"] for letter in some):
            self._look_up(replay)
            some = [letter for letter in rows(_NEXT, [replay.pk, len(some)]) if letter["letter"]]
        for (keys, group), part in self._by_place(some).items():
            self._replay(replay, keys, group, part)

    def _look_up(self, replay: Replay) -> None:
        unknown = [letter for letter in rows(_NEXT, [replay.pk, LOOKED_UP]) if not letter["letter"]]
        for (keys, group), part in self._by_place(unknown).items():
            found = self._client.run(letters.find(keys, group, [(one["entry"], one["moved_ms"]) for one in part]))
            known = [
                (id_, found.now_ms, replay.pk, one["number"])
                for one, id_ in zip(part, found.ids, strict=True)
                if id_
            ]  # fmt: skip
            missed = [one["number"] for one, id_ in zip(part, found.ids, strict=True) if not id_]
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(_REMEMBER, known)
                self._mark(replay, {Fate.MISSED: missed})

    def _replay(self, replay: Replay, keys: Keys, group: str, part: Sequence[Letter]) -> None:
        ids = [one["letter"] for one in part]
        ordered = self._keeps_order(keys, group)
        result = self._client.run(operations.replay(keys, group, ids, who=replay.signature, ordered=ordered))
        gone = {one["number"] for one in part if one["letter"] in set(result.gone)}
        rest = [one for one in part if one["number"] not in gone]
        missed = self._others(replay, keys, group, rest) if result.done < len(rest) else set()
        ours = [one["number"] for one in rest if one["number"] not in missed]
        with transaction.atomic():
            self._mark(replay, {Fate.WAITING: ours, Fate.GONE: gone, Fate.MISSED: missed})

    def _others(self, replay: Replay, keys: Keys, group: str, part: Sequence[Letter]) -> set[int]:
        """Letters that were passed over: the journal tells those that we replayed before a crash from all others."""
        since_ms = min(one["sought_ms"] for one in part)
        ours = set(letters.replayed_by(self._client, keys, group, replay.signature, since_ms=since_ms))
        return {one["number"] for one in part if one["entry"] not in ours}

    def _mark(self, replay: Replay, fates: Mapping[Fate, Iterable[int]]) -> None:
        """Say what became of planned letters; in one transaction with the counts."""
        moved = {fate: self._set(replay, fate, sorted(numbers)) for fate, numbers in fates.items()}
        missed = moved.get(Fate.MISSED, 0) + moved.get(Fate.GONE, 0)
        touched = moved.get(Fate.WAITING, 0)
        Replay.objects.filter(pk=replay.pk).update(touched=F("touched") + touched, missed=F("missed") + missed)
        replay.touched += touched
        replay.missed += missed

    def _set(self, replay: Replay, fate: Fate, numbers: Sequence[int]) -> int:
        if not numbers:
            return 0
        now_ms = int(time.time() * 1000) if fate is Fate.WAITING else None
        with connection.cursor() as cursor:
            cursor.execute(spread(_MARK, len(numbers)), [fate.value, now_ms, replay.pk, *numbers])
            return cursor.rowcount

    def _by_place(self, some: Iterable[Letter]) -> dict[tuple[Keys, str], list[Letter]]:
        places = defaultdict(list)
        for letter in some:
            places[self._keys(letter["event_id"] >> NUMBER_BITS), letter["group"]].append(letter)
        return places

    def _keys(self, partition_id: int) -> Keys:
        if partition_id not in self._places:
            prefix = self._client.config.prefix
            self._places = {p.pk: Keys(prefix, p.topic, p.number) for p in Partition.objects.all()}
        return self._places[partition_id]

    def _keeps_order(self, keys: Keys, group: str) -> bool:
        ordered, until = self._orders.get((keys, group), (False, 0.0))
        if time.monotonic() >= until:
            ordered = bool(self._client.run(operations.keeps_order(keys, group)))
            self._orders[keys, group] = ordered, time.monotonic() + ORDER_SECONDS
        return ordered
