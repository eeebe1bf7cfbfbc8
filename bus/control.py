"""What an operator may do to a group: pause and resume it, move its position, put its dead letters aside.

Each is one atomic script that writes into the journal who did it. `move` is the exception: it waits, between two of
them, for what runs to end. Builds operations like `bus.operations`; replaying dead letters lives there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bus.errors import GroupBusy, GroupInvalid
from bus.journal import Control
from bus.keys import Keys
from bus.operations import MAX_BATCH, DeadLetter, dead_letter
from bus.streams import Client
from bus.wire import Operation, call

DISCARDED_KEPT_MS: Final = 30 * 86_400_000
MAX_UNDONE: Final = 200_000  # pending and dead that one move may undo: it is one script, and nobody else is served
POLL_SECONDS: Final = 0.05


class Moved(NamedTuple):
    """A group's position before and after, as entries, and how many pending and dead deliveries were undone."""

    before: str
    after: str
    undone: int


def pause(keys: Keys, group: str, *, who: str, reason: str = "") -> Operation[bool]:
    """Take nothing more for the group until it is resumed; what runs may end. Result: whether that is new."""
    return _pause(keys, group, who, Control("paused", who, reason))


def resume(keys: Keys, group: str, *, who: str, reason: str = "") -> Operation[bool]:
    """Let the group go on. Result: whether it was paused."""
    return _pause(keys, group, "", Control("resumed", who, reason))


def paused_by(keys: Keys, group: str) -> Operation[str | None]:
    """Who paused the group, or None."""
    command = (b"HGET", keys.meta, b"paused:" + group.encode())
    return Operation([command], lambda replies: None if replies[0] is None else replies[0].decode("utf-8", "replace"))


def rewind(keys: Keys, group: str, after: str, *, who: str, reason: str = "") -> Operation[Moved]:
    """Let a paused group that runs nothing go on after entry `after`, back or forth.

    Back: every event after it comes anew; what the group had done with it, dead letters included, is undone.
    Forth: what lies between is never delivered. Raises `GroupBusy` when it is not paused, runs something or has more
    than 200,000 deliveries to look at, `GroupInvalid` when there is none.
    """
    args = [group, after, "rewound", who, reason, str(MAX_UNDONE)]

    def parse(replies: list[Any]) -> Moved:
        if replies[0] is None:
            raise no_group(keys, group)
        said, *rest = replies[0]
        if said == b"moved":
            return Moved(rest[0].decode(), rest[1].decode(), int(rest[2]))
        raise GroupBusy(_WHY_NOT[said].format(group=group, topic=keys.topic, count=rest[0] if rest else 0))

    return Operation(
        [call("rewind", keys.of_group(group), [one.encode() for one in args])], parse, tolerated={"NOGROUP": None}
    )


def move(
    client: Client, keys: Keys, group: str, after: str, *, who: str, reason: str = "", wait_seconds: float = 60
) -> Moved:
    """`rewind` of a group that runs: pauses it, waits for what runs to end, moves it, and lets it go on.

    A group that was paused before stays so. Raises as `rewind` does, when what runs has not ended in time; then
    nothing was moved, and the group goes on.
    """
    mine = client.run(pause(keys, group, who=who, reason=reason))
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                return client.run(rewind(keys, group, after, who=who, reason=reason))
            except GroupBusy:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL_SECONDS)
    finally:
        if mine:
            client.run(resume(keys, group, who=who, reason=reason))


def discard(keys: Keys, group: str, ids: Sequence[str], *, who: str) -> Operation[int]:
    """Put dead letters (up to 500 ids) aside for 30 days; a key that one of them blocked is free. Result: how many."""
    args = [group, who, str(DISCARDED_KEPT_MS), *ids]
    return Operation(
        [call("discard", keys.of_group(group), [one.encode() for one in args])], lambda replies: int(replies[0])
    )


def restore(keys: Keys, group: str, ids: Sequence[str], *, who: str) -> Operation[int]:
    """Put discarded ones (up to 500 ids) back among the dead letters. Result: how many."""
    args = [group, who, *ids]
    return Operation(
        [call("restore", keys.of_group(group), [one.encode() for one in args])], lambda replies: int(replies[0])
    )


def discarded(keys: Keys, group: str, *, after: str = "", count: int = MAX_BATCH) -> Operation[list[DeadLetter]]:
    """Dead letters that were put aside, those of longest ago first; `id` is what `restore` takes."""
    start = f"({after}" if after else "-"
    command = (b"XRANGE", keys.discarded(group), start.encode(), b"+", b"COUNT", b"%d" % count)
    return Operation([command], lambda replies: [dead_letter(keys, row) for row in replies[0]])


def _pause(keys: Keys, group: str, who: str, control: Control) -> Operation[bool]:
    def parse(replies: list[Any]) -> bool:
        if replies[0] is None:
            raise no_group(keys, group)
        return bool(replies[0])

    args = [group.encode(), who.encode(), msgspec.msgpack.encode(control)]
    return Operation([call("pause", keys.of_group(group), args)], parse, tolerated={"NOGROUP": None})


def no_group(keys: Keys, group: str) -> GroupInvalid:
    """The error for a group that is not there."""
    return GroupInvalid(
        f"expected a group that is subscribed to {keys.topic} (partition {keys.partition}), got {group!r};"
        " 'manage.py groups' lists them"
    )


_WHY_NOT: Final = {
    b"unpaused": "expected group {group} on {topic} to be paused before its position is moved; pause it first",
    b"running": "expected group {group} on {topic} to run nothing, {count} deliveries still run;"
    " wait for them to end, or for the lease of a worker that died",
    b"often": "expected a group that was moved back less than about a thousand times, {group} on {topic} was moved more"
    " often; subscribe under a new name",
    b"many": "expected at most 200,000 pending, dead and discarded deliveries of {group} on {topic}, got {count};"
    " replay or discard dead letters first",
}
