"""Every error that the bus raises on purpose: one class per cause, one tree.

Each text says what was expected, what came and what to do. This module knows nothing of Redis.
"""

from __future__ import annotations


class BusError(Exception):
    """Root of every error that the bus raises on purpose."""


class ConfigError(BusError):
    """A setting is unknown or has a value that can't be used."""


class EventInvalid(BusError):
    """The event can't be published as it is; nothing was written."""


class TopicInvalid(EventInvalid):
    """The topic's name has characters that a topic can't have."""


class DataInvalid(EventInvalid):
    """The data can't be written as JSON, or what an entry holds isn't JSON."""


class EventTooLarge(EventInvalid):
    """The event is over `max_event_bytes`."""


class EventConflict(EventInvalid):
    """Another event with this id, but other content, was published before."""


class SubscriptionInvalid(BusError):
    """A subscription contradicts itself or another one of the same group."""


class ProjectionInvalid(BusError):
    """A projection contradicts itself or another one of the same name."""


class GroupInvalid(BusError):
    """There is no such group on the topic."""


class PositionInvalid(BusError):
    """Where to move a group is said in a way that can't be read."""


class HoldInvalid(BusError):
    """A breakpoint's condition, limit or time can't be used."""


class GroupBusy(BusError):
    """The group can't be moved as it is now; nothing was changed."""


class ServerError(BusError):
    """The Redis or Valkey server behind the bus can't do what was asked."""


class ServerUnavailable(ServerError):
    """Nobody answers at the bus' address, or the connection broke half-way."""


class ServerTooOld(ServerError):
    """The server lacks commands that the bus needs."""


class ServerRefused(ServerError):
    """The server answered with an error: out of memory, read-only, no permission."""


class TopicFull(ServerRefused):
    """The topic's partition holds as many events as it may; nothing was written."""


class FolderHeld(ServerError):
    """Another process runs the embedded server on the same data folder."""


class PlatformUnsupported(ServerError):
    """No embedded server exists for this platform."""


class TimedOut(BusError):
    """A handler ran longer than its subscription's `timeout_seconds`."""


def one_line(error: object, most: int | None = None) -> str:
    """What an error says, in one line of at most `most` characters: for logs, tables and screens."""
    return " ".join(str(error).split())[:most]
