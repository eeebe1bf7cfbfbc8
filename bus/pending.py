"""What an operator may do to single pending entries of a group: release, skip, give up.

One atomic script that writes into the journal who did it. Builds operations like `bus.control`; runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bus.control import no_group
from bus.journal import Failure
from bus.keys import Keys
from bus.wire import Operation, call

OPERATOR: Final = "Operator"  # class of the failure that a dead letter by hand has


class Chosen(NamedTuple):
    """A pending entry, and the delivery count that its operator saw: the fence."""

    entry: str
    attempt: int


class Intervened(NamedTuple):
    """How many were done, and why others were passed over: gone (settled meanwhile), moved (handed out anew since),
    key (it waits for an older event of its key), due (a worker will take it next anyway)."""

    done: int
    passed: Mapping[str, str]


def release(keys: Keys, group: str, chosen: Sequence[Chosen], *, who: str) -> Operation[Intervened]:
    """Let pending entries (up to 500) be taken at once, whether they wait for a retry or are in the hands of a worker.

    A worker that still runs it finds its result stale, so the handler may run twice. Raises `GroupInvalid`.
    """
    return _intervene(keys, group, b"release", chosen, who, b"")


def skip(keys: Keys, group: str, chosen: Sequence[Chosen], *, who: str) -> Operation[Intervened]:
    """Take pending entries (up to 500) out of the group, unhandled, for good. Raises `GroupInvalid`."""
    return _intervene(keys, group, b"skip", chosen, who, b"")


def dead_letter(
    keys: Keys, group: str, chosen: Sequence[Chosen], *, who: str, reason: str = ""
) -> Operation[Intervened]:
    """Give pending entries (up to 500) up: they become dead letters, which can be replayed. Raises `GroupInvalid`."""
    message = f"given up by {who}" + (f": {reason}" if reason else "")
    failure = Failure(OPERATOR, message, fingerprint="given-up-by-hand")
    return _intervene(keys, group, b"dead", chosen, who, msgspec.msgpack.encode(failure))


def _intervene(
    keys: Keys, group: str, verb: bytes, chosen: Sequence[Chosen], who: str, failure: bytes
) -> Operation[Intervened]:
    args = [group.encode(), who.encode(), verb, failure]
    for entry, attempt in chosen:
        args += (entry.encode(), b"%d" % attempt)

    def parse(replies: list[Any]) -> Intervened:
        if replies[0] is None:
            raise no_group(keys, group)
        done, *rest = replies[0]
        return Intervened(int(done), {e.decode(): why.decode() for e, why in zip(rest[::2], rest[1::2], strict=True)})

    return Operation([call("intervene", keys.of_group(group), args)], parse, tolerated={"NOGROUP": None})
