"""What the recorder does beside recording: find new topics, trim the streams, remove old rows, say how it goes."""

from __future__ import annotations

import logging
import time
from typing import Final

from bus import operations, outbox, tail
from bus.event import entry_ms
from bus.operations import entry_order
from bus.streams import Client
from bus.tail import START, Partition, Position
from dashboard.record import confirm, retention
from dashboard.record.batch import Stored
from dashboard.record.projection import Projection

LOOK_SECONDS: Final = 0.5
CONFIRM_SECONDS: Final = 0.25
DISCOVER_STEPS: Final = 20  # of a thousand keys each, every look
TRIM_SECONDS: Final = 1.0
TRIM_CALLS: Final = 20  # of up to a thousand events each
REPORT_SECONDS: Final = 60.0

log = logging.getLogger("dashboard.recorder")


class Chores:
    """Does each chore when its time has come."""

    def __init__(self, client: Client, projection: Projection) -> None:
        self._client = client
        self._prefix = client.config.prefix
        self._projection = projection
        self._scan = 0
        self._next_look = self._next_confirm = self._next_trim = 0.0
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
        if now >= self._next_confirm:
            self._next_confirm = now + CONFIRM_SECONDS
            confirm.confirm()
        if now >= self._next_trim:
            self._next_trim = now + TRIM_SECONDS
            self._trim()
            retention.sweep(chunks=1 + 2 * self._since_sweep // retention.CHUNK)
            self._since_sweep = 0
        if now >= self._next_report:
            self._next_report = now + REPORT_SECONDS
            self._trimmed_at.clear()
            retention.sweep_leftovers()
            self._report()

    def check_rewound(self) -> None:
        """Whether the server has forgotten what is recorded, after a crash or a restored copy. Says so and goes on."""
        positions = {partition: place.position for partition, place in self._projection.places.items()}
        if not positions:
            return
        there = self._client.run(tail.still_there(self._prefix, positions))
        for partition, newest in self._client.run(tail.newest(self._prefix, list(positions))).items():
            position = positions[partition]
            if newest.events != START and entry_order(newest.events) < entry_order(position.events):
                log.error(
                    "%s/%d: the server's history was rewound: it ends at %s, recorded is up to %s;"
                    " what came between is on the screen only, unless an outbox still has it",
                    *partition, newest.events, position.events,
                )  # fmt: skip
                self._send_again(partition, since_ms=entry_ms(newest.events))
                journal = min(newest.journal, position.journal, key=entry_order)
                self._projection.rewind(partition, Position(newest.events, journal))
            elif position.events != START and not there[partition]:
                # Emptied, or rewound and written to since, or only trimmed: what is deduplicated can be sent again.
                dedupe_ms = self._client.config.dedupe_seconds * 1000
                self._send_again(partition, since_ms=int(time.time() * 1000) - dedupe_ms)

    def _send_again(self, partition: Partition, *, since_ms: int) -> None:
        if count := outbox.send_again(*partition, since_ms=since_ms):
            log.warning(
                "%s/%d: the outbox sends %d events again, those that the server may have lost", *partition, count
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
        keep = self._client.config.retention_events
        for partition, place in self._projection.places.items():
            position = place.position
            if self._trimmed_at.get(partition) == position or position == Position():
                continue
            removed = 0
            for _ in range(TRIM_CALLS):
                events, _journal = self._client.run(tail.trim(self._prefix, partition, position, keep))
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
