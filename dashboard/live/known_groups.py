"""Which groups have a lane for an event, as a hub knows it: from the database, and from the journal as it comes."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from channels.db import database_sync_to_async

from bus.tail import Chunk, Partition
from dashboard.live.feed import Histories
from dashboard.queries.facts import histories
from dashboard.queries.lag import partitions
from dashboard.record.subscriptions import Subscribed, order_of

REFRESH_SECONDS: Final = 5.0


class KnownGroups:
    """Subscriptions by partition and group, oldest first."""

    def __init__(self) -> None:
        self._known: dict[Partition, dict[str, list[Subscribed]]] = defaultdict(lambda: defaultdict(list))

    def of(self, partition: Partition) -> Histories:
        return self._known[partition]

    def add(self, chunk: Chunk) -> None:
        """Learn what the journal says of subscriptions."""
        for entry in chunk.journal:
            if (said := entry.subscription) is not None:
                types = None if said.types is None else frozenset(said.types)
                learnt = Subscribed(order_of(said.start), types, said.attempts)
                self._known[chunk.topic, chunk.partition][entry.group].append(learnt)

    async def refresh(self) -> None:
        """Take over what the recorder has stored, unless the journal has told us more already."""
        for partition, groups in (await database_sync_to_async(_stored)()).items():
            for group, history in groups.items():
                if len(history) >= len(self._known[partition][group]):
                    self._known[partition][group] = history


def _stored() -> dict[Partition, dict[str, list[Subscribed]]]:
    places = {place.id: partition for partition, place in partitions().items()}
    found = histories(places)
    return {places[pid]: {group: list(history) for group, history in found[pid].items()} for pid in found}
