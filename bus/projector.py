"""The projector: keeps projections up to date with their topics, builds new versions, and hands over to them.

Read → apply in one transaction with the position, partition by partition. An event whose handler fails holds up its
partition, and no other, until it succeeds: leaving it out would make the rows wrong. Several projectors do no harm: one
applies, the others stand by. One of the bus' few files that need Django.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection

from bus import history, operations, projected
from bus.config import Config
from bus.errors import ServerError, one_line
from bus.event import Event
from bus.history import Page
from bus.keys import Keys
from bus.models import ProjectionPlace
from bus.projected import CursorMoved, HandlerFailed
from bus.projections import Projection
from bus.streams import Client, connect

BLOCK_MS: Final = 400  # longest wait for news: also how soon `stop` is seen
RIVAL_SECONDS: Final = 1.0  # a pause, where another projector applied first
RETIRE_SECONDS: Final = 5.0  # between two looks for versions that are out of use
TROUBLE_SECONDS: Final = (0.1, 5.0)  # first and longest pause while server, database or handler fails

log = logging.getLogger("bus.projector")


@dataclass
class Part:
    """A projection in one partition: its place, and what this process knows besides."""

    projection: Projection
    keys: Keys
    place: ProjectionPlace
    added: int = 0  # entries that the partition ever got, when it was last read
    at_end: bool = False
    limit: int = history.BATCH  # fewer, when the event behind them is known to fail
    failing: str = ""  # the entry whose handler failed last
    pause_seconds: float = TROUBLE_SECONDS[0]
    paused_until: float = 0.0  # monotonic

    @property
    def partition(self) -> tuple[str, int]:
        return self.keys.topic, self.keys.partition

    def pause(self, seconds: float) -> None:
        self.paused_until = time.monotonic() + seconds


@dataclass
class Build:
    """A projection and its parts. `refused`: entries that it lacks, so that it may not replace the live version."""

    projection: Projection
    parts: list[Part] = field(default_factory=list)
    live: bool = False
    refused: int = 0
    next_retire: float = 0.0


class Projector:
    """Applies until `stop` is called (from a signal handler or any thread)."""

    def __init__(self, config: Config, projections: Sequence[Projection], *, accept_missing: bool = False) -> None:
        self.builds = [Build(projection) for projection in projections]
        self._config = config
        self._accept_missing = accept_missing
        self._client: Client | None = None
        self._stopping = threading.Event()
        self._in_trouble = False

    def stop(self) -> None:
        """End `run` once the transaction at hand is stored."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self) -> None:
        """Keep up. Trouble with server or database is said once, and outlived.

        Raises `ServerError` when the server can't be used at the start.
        """
        connect(self._config).close()
        pause = TROUBLE_SECONDS[0]
        while not self._stopping.is_set():
            if self.attempt():
                pause = TROUBLE_SECONDS[0]
            else:
                self._stopping.wait(pause)
                pause = min(pause * 2, TROUBLE_SECONDS[1])
        self.close()

    def attempt(self) -> bool:
        """One `turn`; False where server or database failed."""
        try:
            self.turn()
        except (ServerError, DatabaseError) as error:
            self._trouble(error)
            return False
        if self._in_trouble:
            log.info("projecting again; nothing was lost meanwhile")
        self._in_trouble = False
        return True

    def turn(self, *, block_ms: int = BLOCK_MS) -> None:
        """Wait for news, apply a portion in each partition that has some, hand over what has caught up.

        Raises `ServerError` or a database error: what was not stored is read again.
        """
        if self._client is None:
            self._client = connect(self._config)
            for build in self.builds:
                self._begin(self._client, build)
        now = time.monotonic()
        parts = [part for build in self.builds for part in build.parts if now >= part.paused_until]
        if not parts:
            self._stopping.wait(TROUBLE_SECONDS[0])
        else:
            found = self._client.run(history.news(self._config.prefix, _earliest(parts), block_ms=block_ms))
            for part in parts:
                part.at_end = part.partition not in found
                if not part.at_end and not self._stopping.is_set():
                    self._advance(self._client, part)
        for build in self.builds:
            self._settle(build)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        connection.close()

    def _begin(self, client: Client, build: Build) -> None:
        """Find out how far it is, at the start and after each trouble."""
        projection = build.projection
        prefix = self._config.prefix
        partitions = client.run(operations.declare_topic(prefix, projection.topic, 1))
        places = projected.begin(projection, partitions)
        build.parts = [Part(projection, Keys(prefix, place.topic, place.partition), place) for place in places]
        if not places:
            log.warning("a higher version than %s is live: it is not built. Raise its version to go back", projection)
        for part in build.parts:
            page = client.run(history.found_at(part.keys, part.place.cursor))
            part.added = page.added
            if part.place.number > page.removed and not page.rows:
                log.error(
                    "%s: the server has forgotten events of %s/%d that are in its rows; raise its version to build it"
                    " from what is there", projection, *part.partition,
                )  # fmt: skip

    def _advance(self, client: Client, part: Part) -> None:
        page = client.run(history.page(part.keys, part.place.cursor, count=part.limit))
        part.added = page.added
        if not page.rows:
            part.at_end = True
            return
        try:
            count = projected.store(part.projection, part.place, _events(part, page), missing=self._missing(part, page))
        except CursorMoved:
            self._rival(part)
        except HandlerFailed as failed:
            _fail(part, failed)
        else:
            part.at_end = count == len(page.rows) < part.limit
            part.limit, part.pause_seconds, part.failing = history.BATCH, TROUBLE_SECONDS[0], ""

    def _missing(self, part: Part, page: Page) -> int:
        """Entries that were trimmed before they could be read; at most so many, where one was deleted by hand."""
        missing = max(page.removed - part.place.number, 0)
        if missing:
            where = f"{part.projection}: {part.keys.topic}/{part.keys.partition}"
            log.warning("%s no longer has %d events that were not applied yet; it goes on without", where, missing)
        return missing

    def _rival(self, part: Part) -> None:
        """Another projector is at it, or the version is out of use."""
        now = {place.partition: place for place in projected.load(part.projection)}
        if part.keys.partition in now:
            part.place = now[part.keys.partition]
            part.pause(RIVAL_SECONDS)
            return
        log.info("%s was replaced by a higher version", part.projection)
        for build in self.builds:
            if build.projection is part.projection:
                build.parts, build.live = [], False

    def _settle(self, build: Build) -> None:
        """Hand over to it, if it has caught up; later remove what it has replaced."""
        if not build.live and build.parts and all(part.at_end for part in build.parts):
            lacking = projected.hand_over(build.projection, accept_missing=self._accept_missing)
            if lacking is None:
                build.live, build.refused = True, 0
                log.info("%s is live", build.projection)
            elif lacking and lacking != build.refused:
                build.refused = lacking
                log.warning("%s", refusal(build))
        if build.live and time.monotonic() >= build.next_retire:
            build.next_retire = time.monotonic() + RETIRE_SECONDS
            for version in projected.retire(build.projection):
                log.info("%s has replaced version %d, whose rows are removed", build.projection, version)

    def _trouble(self, error: Exception) -> None:
        """Say it once, and connect anew: the embedded server may come back at another address."""
        self.close()
        if not self._in_trouble:
            log.warning("%s; the projections wait", one_line(error, 300))
        self._in_trouble = True


def refusal(build: Build) -> str:
    """Why a version that has caught up is not handed over to, and what to do."""
    return (
        f"{build.projection} has caught up, but lacks {build.refused:,} events that the live version has and the topic"
        f" no longer: the live one goes on serving; 'manage.py project {build.projection.name} --accept-missing' hands"
        " over all the same"
    )


def _earliest(parts: Iterable[Part]) -> dict[tuple[str, int], str]:
    """Where to wait for news: the earliest position in each partition."""
    earliest: dict[tuple[str, int], str] = {}
    for part in parts:
        cursor = earliest.setdefault(part.partition, part.place.cursor)
        earliest[part.partition] = min(cursor, part.place.cursor, key=operations.entry_order)
    return earliest


def _events(part: Part, page: Page) -> list[Event | str]:
    """The events that the projection takes, decoded; of the others their entries."""
    return [
        history.event_of(part.keys, row) if part.projection.admits(history.type_of(row)) else row[0]
        for row in page.rows
    ]


def _fail(part: Part, failed: HandlerFailed) -> None:
    """Those before it are applied next; then it is attempted alone, at growing intervals."""
    part.at_end = False
    if failed.index:
        part.limit = failed.index
        return
    part.limit = 1
    part.pause(part.pause_seconds)
    part.pause_seconds = min(part.pause_seconds * 2, TROUBLE_SECONDS[1])
    text = str(failed)
    if text != part.failing:
        part.failing = text
        cause = failed.__cause__
        log.error("%s: %s: %s: %s; its partition waits, the handler is run again", part.projection, text,
                  type(cause).__name__, one_line(cause, 300), exc_info=cause)  # fmt: skip
