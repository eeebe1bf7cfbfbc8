"""The journal: what happened to events, one entry per batch, written by the script that makes the change.

Knows how records are packed (msgpack arrays) and read back; must not know Redis commands or Django.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final

import msgspec

from bus.event import entry_ms

MAX_ERROR_TEXT: Final = 2_000  # characters of an error message
MAX_TRACEBACK: Final = 16_000
MAX_LOG_LINES: Final = 50


class Step(IntEnum):
    """What happened to a delivery; the number is what the journal stores, the name what people read."""

    DELIVERED = 1  # an attempt began
    SUCCEEDED = 2  # the attempt ended well: settled
    RETRY_SCHEDULED = 3  # the attempt failed; another one follows at `due_ms`
    DEAD_LETTERED = 4  # given up: the attempt failed and no other follows
    RECLAIMED = 5  # taken from a dead worker: that attempt ended with it
    RELEASED = 6  # given back unfinished by a worker that stops; the attempt does not count
    SKIPPED = 7  # left out: the group does not take this type
    LOST = 8  # the entry was pending, but its event is gone from the stream
    REPLAYED = 9  # a dead letter handed back to its group
    DISCARDED = 10  # a dead letter put aside
    RESTORED = 11  # a discarded one put back among the dead letters
    HELD = 12  # stopped at a breakpoint, before its handler

    @property
    def word(self) -> str:
        return self.name.lower()


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt failed. `frame` is the innermost line of the user's own code."""

    error_class: str
    message: str
    traceback: str = ""
    frame: str = ""
    fingerprint: str = ""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of the journal: a step of the delivery (entry × group).

    `duration_us`: how long the handler ran. `ended_ago_us`: how long before the journal entry's own
    time it ended. `due_in_ms`: the retry's time, counted from the journal entry's time.
    """

    step: int
    entry: str
    attempt: int
    duration_us: int = 0
    ended_ago_us: int = 0
    due_in_ms: int = 0
    failure: Failure | None = None
    log: list[str] = msgspec.field(default_factory=list)


class Control(msgspec.Struct, frozen=True, array_like=True):
    """What somebody did to a group as a whole: paused, resumed or rewound it, set or removed its breakpoint
    (hold_began, hold_ended, hold_expired; `before` is its text), or its server's clock fell (rebased).

    `before`, `after`: the group's positions (entries) around a rewind, the clock's ms around a rebase.
    """

    kind: str
    who: str
    reason: str = ""
    before: str = ""
    after: str = ""


class JournalEntry(msgspec.Struct, frozen=True):
    """One entry of a partition's journal: the records of one batch of one group by one worker.

    `position` is its own stream id, so `at_ms` is the server's clock. When `subscription` is set the
    entry says that the group began (or changed) its subscription and holds no records; neither does one with `control`.
    When `version` is set, the worker began, with that version of the code.
    """

    position: str
    group: str
    worker: str
    records: list[Record]
    subscription: SubscriptionRecord | None = None
    control: Control | None = None
    version: str = ""

    @property
    def at_ms(self) -> int:
        return entry_ms(self.position)


class SubscriptionRecord(msgspec.Struct, frozen=True):
    """The group's subscription from now on: it takes events after `start`, of `types` (None: all)."""

    types: list[str] | None = None
    ordered: bool = False
    attempts: int = 5
    handlers: list[str] = msgspec.field(default_factory=list)
    version: str = ""
    start: str = "0-0"
    on_dead: str = "continue"


_pack = msgspec.msgpack.Encoder().encode
_unpack_records = msgspec.msgpack.Decoder(list[Record]).decode
_unpack_subscription = msgspec.msgpack.Decoder(SubscriptionRecord).decode
_unpack_control = msgspec.msgpack.Decoder(Control).decode


def pack(records: list[Record]) -> bytes:
    """The records as the value of the journal entry's `b` field."""
    return _pack(records)


def pack_subscription(subscription: SubscriptionRecord) -> bytes:
    """The subscription as the value of the journal entry's `s` field."""
    return _pack(subscription)


def unpack(position: str, flat: Iterable[bytes]) -> JournalEntry:
    """A journal entry from its fields.

    `g` group, `w` worker, `b` batch, `x` entries that were stale, `s` subscription, `o` where it starts, `c` control,
    `v` the code's version.

    Raises `ValueError` when the entry was not written by a bus of this version.
    """
    pairs = iter(flat)
    fields: Mapping[bytes, bytes] = dict(zip(pairs, pairs, strict=False))
    subscription = fields.get(b"s")
    stale = set(fields.get(b"x", b"").decode().split())
    records = _unpack_records(fields[b"b"]) if b"b" in fields else []
    return JournalEntry(
        position=position,
        group=fields.get(b"g", b"").decode("utf-8", "backslashreplace"),
        worker=fields.get(b"w", b"").decode("utf-8", "backslashreplace"),
        records=[r for r in records if r.entry not in stale] if stale else records,
        subscription=_subscription(subscription, fields.get(b"o", b"0-0")) if subscription else None,
        control=_unpack_control(fields[b"c"]) if b"c" in fields else None,
        version=fields[b"v"].decode("utf-8", "backslashreplace") if b"v" in fields else "",
    )


def _subscription(packed: bytes, start: bytes) -> SubscriptionRecord:
    return msgspec.structs.replace(_unpack_subscription(packed), start=start.decode())
