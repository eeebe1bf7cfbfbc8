"""How far projections are, as rows that move in the transaction of what the handlers write.

A place (version × partition) moves by compare-and-set, first thing in the transaction: of several runners one applies
an event, the others change nothing, whatever dies when. One of the bus' few files that need Django; it is imported
when needed. Knows rows; must not know the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from bus.event import Event
from bus.projections import Projection

if TYPE_CHECKING:
    from bus.models import ProjectionPlace

TURN_SECONDS: Final = 0.25  # a transaction ends then: on SQLite nobody else writes meanwhile
RETIRED_SECONDS: Final = 60.0  # how long a version that was live stays: somebody may be reading it


class CursorMoved(Exception):
    """Another runner has applied these events, or the version is out of use."""


class HandlerFailed(Exception):
    """The handler raised (the cause) at the event with this index; nothing of its transaction is kept."""

    def __init__(self, index: int, event: Event) -> None:
        super().__init__(f"event {event.id} ({event.type}) at {event.topic}/{event.partition} {event.entry}")
        self.index = index


def live_version(name: str) -> int:
    """The version of a projection to read from; 0, which has no rows, before one has caught up. One indexed query."""
    from django.db.models import Max

    from bus.models import ProjectionPlace

    done = ProjectionPlace.objects.filter(name=name, done_at__isnull=False)
    return done.aggregate(version=Max("version"))["version"] or 0


def begin(projection: Projection, partitions: int) -> list[ProjectionPlace]:
    """The version's places, made where they are not; none when a higher version is live."""
    from django.db import transaction

    from bus.models import ProjectionPlace

    if live_version(projection.name) > projection.version:
        return []
    mine = _identity(projection)
    with transaction.atomic():
        made = [ProjectionPlace.objects.get_or_create(**mine, partition=number)[1] for number in range(partitions)]
        if all(made):  # whoever else begins it waits for the first row, and finds them all
            projection.reset(projection.version)
    return load(projection)


def load(projection: Projection) -> list[ProjectionPlace]:
    """The version's places as they are now, by partition."""
    from bus.models import ProjectionPlace

    return list(ProjectionPlace.objects.filter(**_identity(projection)).order_by("partition"))


def store(projection: Projection, place: ProjectionPlace, events: Sequence[Event | str], *, missing: int) -> int:
    """Apply events and move the place behind them, all of it or nothing. Result: how many, at least one.

    In the place of an event that the projection does not take stands its entry. `missing`: entries that were gone
    before the first of these. Raises `CursorMoved`, `HandlerFailed` or a database error; nothing is kept.
    """
    from django.db import transaction

    from bus.models import ProjectionPlace

    deadline = time.monotonic() + TURN_SECONDS
    with transaction.atomic():
        same = ProjectionPlace.objects.filter(pk=place.pk, cursor=place.cursor)
        if same.update(missing=place.missing + missing) != 1:  # the row's lock, until this is committed
            raise CursorMoved(str(place))
        count = 0
        for count, event in enumerate(events, 1):
            _apply(projection, event, count - 1)
            if time.monotonic() > deadline:
                break
        cursor, number = _entry(events[count - 1]), place.number + missing + count
        same.update(cursor=cursor, number=number)
    place.cursor, place.number, place.missing = cursor, number, place.missing + missing
    return count


def hand_over(projection: Projection, *, accept_missing: bool = False) -> int | None:
    """Make a version that has caught up the live one. Result: how many entries it lacks beyond the one before.

    None: it is live. Otherwise nothing was changed, and with 0 it is not yet as far as the one before, which others
    may be keeping up to date: ask again. Readers never see less than before.
    """
    from django.db import transaction
    from django.utils import timezone

    from bus.models import ProjectionPlace

    with transaction.atomic():
        places = ProjectionPlace.objects.select_for_update().filter(name=projection.name, topic=projection.topic)
        by_version: dict[int, dict[int, ProjectionPlace]] = {}
        for place in places.order_by("version", "partition"):
            by_version.setdefault(place.version, {})[place.partition] = place
        mine = by_version.get(projection.version, {})
        before = by_version.get(live_version(projection.name), {})
        if before is mine or any(_is_behind(mine.get(number), other) for number, other in before.items()):
            return None if before is mine else 0
        lacking = _missing(mine.values()) - _missing(before.values())
        if before and lacking > 0 and not accept_missing:
            return lacking
        ProjectionPlace.objects.filter(**_identity(projection)).update(done_at=timezone.now())
    return None


def retire(projection: Projection) -> list[int]:
    """Remove versions that this one has replaced a minute ago, with their rows. Result: which."""
    from django.db import transaction
    from django.utils import timezone

    from bus.models import ProjectionPlace

    places = ProjectionPlace.objects.filter(name=projection.name)
    since = timezone.now() - timedelta(seconds=RETIRED_SECONDS)
    if not places.filter(version=projection.version, done_at__lte=since).exists():
        return []
    with transaction.atomic():
        old = places.filter(version__lt=projection.version)
        versions = sorted(set(old.values_list("version", flat=True)))
        old.delete()
        for version in versions:
            projection.reset(version)
    return versions


def _identity(projection: Projection) -> dict[str, Any]:
    return {"name": projection.name, "version": projection.version, "topic": projection.topic}


def _apply(projection: Projection, event: Event | str, index: int) -> None:
    if isinstance(event, str):
        return
    try:
        projection.apply(event, projection.version)
    except Exception as error:
        raise HandlerFailed(index, event) from error


def _entry(event: Event | str) -> str:
    return event if isinstance(event, str) else event.entry


def _is_behind(mine: ProjectionPlace | None, other: ProjectionPlace) -> bool:
    return mine is None or _order(mine.cursor) < _order(other.cursor)


def _order(cursor: str) -> tuple[int, int]:
    ms, _, sequence = cursor.partition("-")
    return int(ms), int(sequence)


def _missing(places: Iterable[ProjectionPlace]) -> int:
    return sum(place.missing for place in places)
