"""Fanlight's event bus on Redis Streams: publish facts, subscribe to them, see what became of each.

Usable from any Python program; Django is not needed. This module is the table of contents.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from bus import config as _config
from bus import folding as _folding
from bus.config import Config
from bus.errors import (
    BusError,
    ConfigError,
    DataInvalid,
    EventConflict,
    EventInvalid,
    EventTooLarge,
    FolderHeld,
    GroupBusy,
    GroupInvalid,
    HoldInvalid,
    PlatformUnsupported,
    PositionInvalid,
    ProjectionInvalid,
    ServerError,
    ServerRefused,
    ServerTooOld,
    ServerUnavailable,
    SubscriptionInvalid,
    TimedOut,
    TopicFull,
    TopicInvalid,
)
from bus.event import Cause, Draft, Event
from bus.folding import Folded
from bus.outbox import publisher_of
from bus.projected import live_version
from bus.projections import Projection, projection
from bus.publisher import Publisher, drafts_only
from bus.subscription import Registry, Retry, Subscription, registry, subscribe
from bus.worker import Worker as _Worker

__all__ = [  # noqa: RUF022  # by concept: this is the table of contents
    # set up
    "configure", "config", "Config", "declare",
    # publish
    "publish", "apublish", "publish_many", "draft", "Draft", "Event", "Cause",
    # subscribe
    "subscribe", "subscriptions", "Subscription", "Registry", "Retry", "Worker",
    # derive state
    "fold", "Folded", "projection", "Projection", "live_version",
    # errors
    "BusError", "ConfigError",
    "EventInvalid", "TopicInvalid", "DataInvalid", "EventTooLarge", "EventConflict",
    "SubscriptionInvalid", "GroupInvalid", "GroupBusy", "PositionInvalid", "ProjectionInvalid", "HoldInvalid",
    "TimedOut",
    "ServerError", "ServerUnavailable", "ServerTooOld", "ServerRefused", "TopicFull",
    "FolderHeld", "PlatformUnsupported",
]  # fmt: skip

S = TypeVar("S")

_lock = threading.RLock()
_current: Publisher | None = None


def configure(**options: Any) -> Config:
    """Set the bus up for this process, anew: options over environment over defaults. Raises `ConfigError`."""
    global _current
    made = _config.from_options(options)
    with _lock:
        fresh = publisher_of(made)
        if _current is not None:
            _current.close()
        _current = fresh
    return made


def config() -> Config:
    """The settings in force."""
    return _publisher().config


def declare(topic: str, *, partitions: int = 1) -> int:
    """Say how many partitions a topic has, before its first event. Raises `TopicInvalid` where it differs."""
    return _publisher().declare(topic, partitions)


def draft(
    topic: str,
    type: str,
    data: Any,
    *,
    key: str | None = None,
    id: str | None = None,
    source: str | None = None,
    headers: Mapping[str, str] | None = None,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> Draft:
    """An event for `publish_many`, checked now. Raises `EventInvalid`.

    `data`: anything that JSON can say. `key`: what must stay in order. `id`: your own, to publish it again
    safely (default: a new UUIDv7). `source`: who says so. `headers`: text by name. Trace and cause come
    from the event being handled, if any, else from `correlation_id` or a W3C `traceparent`.
    """
    return _publisher().draft(
        topic, type, data, key=key, id=id, source=source, headers=headers,
        correlation_id=correlation_id, traceparent=traceparent,
    )  # fmt: skip


def publish(topic: str, type: str, data: Any, **options: Any) -> Event:
    """Append an event to a topic; the result knows where it is stored. Options are those of `draft`.

    With `BUS["outbox"]`, inside a `transaction.atomic()` of Django's default database, it is written there and
    published once that commits; the result has no entry yet.

    Raises `EventInvalid` (nothing was written), `ServerRefused` (nothing was written) or `ServerUnavailable`
    (it may have been written or not: to publish again safely, give it an `id` of your own).
    """
    return _publisher().publish(draft(topic, type, data, **options))


async def apublish(topic: str, type: str, data: Any, **options: Any) -> Event:
    """`publish` for async code. Always at once: Django's transactions are sync, so no async code is inside of one."""
    return await _publisher().apublish(draft(topic, type, data, **options))


def publish_many(drafts: Iterable[Draft]) -> list[Event]:
    """Append many events, up to 500 in one round trip per partition; results in the order given.

    Raises as `publish` does; outside of an outbox not all or nothing: those of earlier round trips are published.
    """
    return _publisher().publish_many(drafts_only(drafts))


def fold(
    topic: str,
    key: str,
    reducer: Callable[[Any, Event], S],
    initial: Any = None,
    *,
    until: datetime | str | None = None,
) -> Folded[S]:
    """The state of a key: `reducer(state, event)` over its events, oldest first, beginning with `initial`.

    `until`: as of then, by the time at which events were stored (a datetime with its zone) or up to and including an
    entry (`event.entry`). Reads the whole of one partition, in portions: for a key that is asked for often, keep a
    projection. See `Folded` for what is said of a log whose beginning was trimmed.

    Raises `EventInvalid`, `PositionInvalid`, `ServerError`, and what the reducer raises.
    """
    _folding.checked(topic, key)
    return _folding.run(_publisher().events_of(topic, key, _folding.end_of(until)), reducer, initial)


def subscriptions() -> Registry:
    """What the modules imported so far subscribed."""
    return registry


class Worker(_Worker):
    """A worker for these groups (default: all that are subscribed). `run()` blocks, `stop()` ends it."""

    def __init__(self, groups: Iterable[str] | None = None) -> None:
        super().__init__(config(), groups=groups)


@contextmanager
def replaced(publisher: Publisher) -> Iterator[None]:
    """Let another publisher be the bus of this process until the block ends; for `bus.testing`."""
    global _current
    before, _current = _current, publisher
    try:
        yield
    finally:
        _current = before


def _publisher() -> Publisher:
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _current = Publisher(_config.from_options({}))
    return _current


@atexit.register
def _close() -> None:
    if _current is not None:
        _current.close()
