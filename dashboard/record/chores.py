"""What the recorder does beside recording: find new topics, trim the streams, remove old rows, say how it goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from bus import operations, outbox, tail
from bus.event import entry_ms
from bus.streams import Client
from bus.tail import Partition, Position
from dashboard.record import confirm, lag_samples, retention, rewound, rollup_age
from dashboard.record.batch import Stored
from dashboard.record.presence import is_rebuilding
from dashboard.record.projection import Projection

LOOK_SECONDS: Final = 0.5
CONFIRM_SECONDS: Final = 0.25
DISCOVER_STEPS: Final = 20  # of a thousand keys each, every look
TRIM_SECONDS: Final = 1.0
TRIM_CALLS: Final = 20  # of up to a thousand events each
REPORT_SECONDS: Final = 60.0
SAID: Final = 10  # partitions in the log, when many were rewound at once
MEASURE_SECONDS: Final = 10.0
REWIND_SECONDS: Final = 5.0  # so soon a server that forgot everything is noticed, even when nothing new comes

log = logging.getLogger("dashboard.recorder")


class Chores:
    """Does each chore when its time has come."""

    def __init__(self, client: Client, projection: Projection) -> None:
        self._client = client
        self._prefix = client.config.prefix
        self._projection = projection
        self._scan = 0
        self._next_look = self._next_confirm = self._next_trim = self._next_measure = 0.0
        self._next_look_back = time.monotonic() + REWIND_SECONDS
        self._next_report = time.monotonic() + REPORT_SECONDS
        self._trimmed_at: dict[tuple[str, int], Position] = {}
        self._since_sweep = 0
        self._events = self._records = 0

    def count(self, stored: Stored) -> None:
        """Remember what was stored, for the next report."""
        self._events += stored.events
        self._records += stored.records
        self._since_sweep += stored.events

    def run_due(self) -> None:
        """Do what is due. Raises `ServerError` or a database error."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        if now >= self._next_look_back:
            self._next_look_back = now + REWIND_SECONDS
            self.check_rewound(self._projection.places)
        if now >= self._next_confirm:
            self._next_confirm = now + CONFIRM_SECONDS
            confirm.confirm()
        if now >= self._next_trim:
            self._next_trim = now + TRIM_SECONDS
            self._make_room()
        if now >= self._next_measure:
            self._next_measure = now + MEASURE_SECONDS
            lag_samples.measure(self._client)
        if now >= self._next_report:
            self._next_report = now + REPORT_SECONDS
            self._trimmed_at.clear()
            self._renew_periods()
            rollup_age.fold(int(time.time() * 1000))
            self._report()

    def _make_room(self) -> None:
        self._trim()
        retention.sweep(chunks=1 + 2 * self._since_sweep // retention.CHUNK)
        self._since_sweep = 0

    def _renew_periods(self) -> None:
        self._projection.periods.ahead()
        if retention.drop_periods():
            self._projection.load()
        retention.sweep_leftovers()

    def check_rewound(self, partitions: Iterable[Partition]) -> bool:
        """Whether the server has forgotten what is recorded of these partitions. Marks it, says so and goes on."""
        places = {partition: self._projection.places[partition] for partition in partitions}
        found = [
            rewound.reconcile(self._client, partition, places[partition])
            for partition in rewound.doubtful(self._client, places)
        ]
        forgotten = [one for one in found if one is not None]
        if not forgotten:
            return False
        self._projection.load()
        self._trimmed_at.clear()
        for one in forgotten[:SAID]:
            self._say(one)
        if len(forgotten) > SAID:
            log.error("and the same of %d more partitions, see the System page", len(forgotten) - SAID)
        for one in forgotten:
            self._send_again(one)
            tail.announce(self._client, one.traces)
        return True

    def _say(self, one: rewound.Rewound) -> None:
        log.error(
            "%s/%d: the server's history was rewound: it ends at %s, and %s events that were recorded after it are"
            " forgotten; what was open of them is lost", *one.partition, one.entry, f"{one.forgotten:,}",
        )  # fmt: skip

    def _send_again(self, one: rewound.Rewound) -> None:
        """What is forgotten and came by the outbox is published once more, as far back as it would be stored once."""
        oldest_ms = int(time.time() * 1000) - self._client.config.dedupe_seconds * 1000
        if count := outbox.send_again(*one.partition, since_ms=max(entry_ms(one.entry), oldest_ms)):
            log.warning(
                "%s/%d: the outbox sends %d events again, those that the server may have lost", *one.partition, count
            )

    def _look(self) -> None:
        catalogue = self._client.run(tail.partitions(self._prefix))
        self._projection.add(sorted({*catalogue, *self._discover(set(catalogue))}))

    def _discover(self, known: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Streams that strangers wrote to: their topics join the catalogue, so that everybody sees them."""
        strangers: set[tuple[str, int]] = set()
        for _ in range(DISCOVER_STEPS):
            self._scan, found = self._client.run(tail.discover(self._prefix, self._scan))
            strangers.update(partition for partition in found if partition not in known)
            if self._scan == 0:
                break
        for topic in sorted({topic for topic, _ in strangers}):
            partitions = 1 + max(number for name, number in strangers if name == topic)
            self._client.run(operations.declare_topic(self._prefix, topic, partitions))
            log.info("new topic %s, found on the server", topic)
        return strangers

    def _trim(self) -> None:
        if is_rebuilding():  # which needs the streams as they are
            return
        keep, keep_journal = self._client.config.retention_events, self._client.config.keep_journal
        for partition, place in self._projection.places.items():
            position = place.position
            if self._trimmed_at.get(partition) == position or position == Position():
                continue
            removed = 0
            for _ in range(TRIM_CALLS):
                events, _journal = self._client.run(
                    tail.trim(self._prefix, partition, position, keep, keep_journal=keep_journal)
                )
                removed += events
                if not events:
                    self._trimmed_at[partition] = position
                    break
            if removed:
                self._projection.trimmed(partition, removed)

    def _report(self) -> None:
        newest_ms = max((place.newest_ms for place in self._projection.places.values()), default=0)
        log.info(
            "recorded %s events and %s steps in the last minute; newest event: %s",
            f"{self._events:,}",
            f"{self._records:,}",
            f"{max(time.time() - newest_ms / 1000, 0):.1f} s ago" if newest_ms else "none yet",
        )
        self._events = self._records = 0
