"""Hold: a breakpoint on a group, at which deliveries stop before their handler until somebody lets them go on.

One breakpoint per group and partition, with conditions on the event, a limit of deliveries and an end. What stops stays
pending, in the hands of nobody's worker, so it outlives every process; its key stays busy. `bus.pending` runs or skips
single ones. Builds operations like `bus.control`; the cycle asks `stop`, the pulse `expire`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from bus.conditions import FIELDS, Condition, holds
from bus.control import no_group
from bus.errors import HoldInvalid
from bus.event import Event
from bus.keys import Keys
from bus.wire import Operation, call

HOLDER: Final = b"!"  # who holds what has stopped (`scripts/_shared.lua`)
DEFAULT_LIMIT: Final = 10
MAX_LIMIT: Final = 500
DEFAULT_SECONDS: Final = 15 * 60
MAX_SECONDS: Final = 24 * 3600
MAX_CONDITIONS: Final = 20
MAX_TEXT: Final = 1_000


class Breakpoint(msgspec.Struct, frozen=True, array_like=True):
    """Where deliveries stop. `text`: the conditions as somebody wrote them. `limit`: how many stop, on each partition.

    `conditions`: JSON of `bus.conditions.Condition`s. Times: server's clock, ms.
    """

    id: str
    who: str
    text: str
    since_ms: int
    expires_ms: int
    limit: int
    conditions: str


class Held(msgspec.Struct, frozen=True):
    """A delivery that has stopped: `attempt` is what `bus.pending` takes as its fence."""

    entry: str
    attempt: int
    idle_ms: int


class Holding(msgspec.Struct, frozen=True):
    """A breakpoint, what it holds now (oldest first), and how many have stopped at it so far."""

    breakpoint: Breakpoint
    held: list[Held]
    stopped: int


def hold(
    keys: Keys, group: str, conditions: Sequence[Condition], *, text: str, who: str, reason: str = "",
    limit: int = DEFAULT_LIMIT, seconds: int = DEFAULT_SECONDS, id: str = "",
) -> Operation[bool]:  # fmt: skip
    """Stop the group's next deliveries that fit all conditions (none: every one), `limit` of them, for so many seconds.

    Each event stops once. Result: False when another breakpoint is there. `id`: asked for twice, it is there once.
    Raises `HoldInvalid`, `GroupInvalid`.
    """
    _check(conditions, text, limit, seconds)
    packed = msgspec.json.encode(list(conditions))
    args = [group.encode(), b"set", who.encode(), reason.encode(), (id or uuid.uuid4().hex).encode()]
    args += [text.encode(), b"%d" % limit, b"%d" % (seconds * 1000), packed]
    return Operation([call("breakpoint", keys.of_group(group), args)], _changed(keys, group), tolerated=_ABSENT)


def unhold(keys: Keys, group: str, *, who: str, reason: str = "") -> Operation[int | None]:
    """Remove the breakpoint; what it holds is due at once. Result: how many that were, None when there was none."""
    return _ended(keys, group, b"remove", who, reason)


def expire(keys: Keys, group: str, who: str) -> Operation[int | None]:
    """Remove the breakpoint if its time has come, as `unhold`."""
    return _ended(keys, group, b"expire", who, "")


def stop(keys: Keys, group: str, owner: str, packed: bytes, events: Sequence[Event]) -> Operation[frozenset[str]]:
    """Stop deliveries that the owner has taken and not begun. Result: the entries of those that stopped."""
    found = _decoded(packed)
    args = [group.encode(), owner.encode(), found.id.encode() if found else b""]
    for event in events:
        args += (event.entry.encode(), b"%d" % event.attempt)
    return Operation(
        [call("hold", keys.of_group(group), args)],
        lambda replies: frozenset(entry.decode() for entry in replies[0] or ()),
        tolerated={"NOGROUP": None},
    )


def state(keys: Keys, group: str) -> Operation[Holding | None]:
    """The breakpoint of a group on a partition, and what it holds."""
    commands = [
        (b"HGET", keys.meta, b"hold:" + group.encode()),
        (b"XPENDING", keys.events, group.encode(), b"-", b"+", b"%d" % MAX_LIMIT, HOLDER),
        (b"HLEN", keys.held(group)),
    ]

    def parse(replies: list[Any]) -> Holding | None:
        packed, rows, stopped = replies
        found = _decoded(packed) if packed else None
        if found is None:
            return None
        held = [Held(entry.decode(), int(count), int(idle)) for entry, _, idle, count in rows or ()]
        return Holding(found, held, int(stopped))

    return Operation(commands, parse, tolerated={"NOGROUP": None})


def breakpoint_of(packed: bytes | None) -> Breakpoint | None:
    """The breakpoint as the server keeps it; None where there is none that this version understands."""
    return _decoded(packed) if packed else None


@lru_cache(maxsize=256)  # asked with each batch
def matcher(packed: bytes) -> Callable[[Event], bool]:
    """Whether an event stops at the breakpoint, as far as its conditions go."""
    found = _decoded(packed)
    try:
        conditions = msgspec.json.decode(found.conditions, type=list[Condition]) if found else None
    except msgspec.DecodeError:
        conditions = None
    if conditions is None:
        return lambda _: False
    return lambda event: holds(conditions, event)


@lru_cache(maxsize=256)
def _decoded(packed: bytes) -> Breakpoint | None:
    try:
        return msgspec.msgpack.decode(packed, type=Breakpoint)
    except msgspec.DecodeError:
        return None


def _ended(keys: Keys, group: str, verb: bytes, who: str, reason: str) -> Operation[int | None]:
    args = [group.encode(), verb, who.encode(), reason.encode()]

    def parse(replies: list[Any]) -> int | None:
        return None if replies[0] is None or int(replies[0]) < 0 else int(replies[0])

    return Operation([call("breakpoint", keys.of_group(group), args)], parse, tolerated=_ABSENT)


def _changed(keys: Keys, group: str) -> Callable[[list[Any]], bool]:
    def parse(replies: list[Any]) -> bool:
        if replies[0] is None:
            raise no_group(keys, group)
        return bool(int(replies[0]) == 1)

    return parse


def _check(conditions: Sequence[Condition], text: str, limit: int, seconds: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise HoldInvalid(f"expected a breakpoint to hold 1 to {MAX_LIMIT} deliveries, got {limit:,}")
    if not 1 <= seconds <= MAX_SECONDS:
        raise HoldInvalid(f"expected a breakpoint to last 1 s to 24 h, got {seconds:,} s")
    if len(conditions) > MAX_CONDITIONS or len(text) > MAX_TEXT:
        raise HoldInvalid(f"expected at most {MAX_CONDITIONS} conditions and {MAX_TEXT:,} characters; say less")
    if unknown := {condition.field for condition in conditions} - FIELDS:
        known = ", ".join(sorted(FIELDS))
        raise HoldInvalid(f"expected conditions on {known}, got {', '.join(sorted(unknown))}; leave it out")


_ABSENT: Final = {"NOGROUP": None}
