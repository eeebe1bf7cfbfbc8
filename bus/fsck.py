"""Checks that what the server holds agrees with itself, and repairs what can be rebuilt.

The pending list of a group is the truth; due times, keys in use and keys waited for are indexes beside it.
Checked in slices, each atomic: safe while workers run. Knows operations; changes only indexes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from bus import inspect, operations, tail
from bus.keys import Keys
from bus.streams import Client
from bus.wire import Operation, call, together

PARTS: Final = ("pending", "due", "parked", "busy", "halted")
SLICE: Final = 500
AT_ONCE: Final = 20  # groups looked at in one round trip


class Problem(NamedTuple):
    """Something that does not agree: of which group, what it is, and the entry or key that shows it."""

    topic: str
    partition: int
    group: str
    what: str
    which: str


class Part(NamedTuple):
    """One index of a group, and how far it is checked."""

    keys: Keys
    group: str
    ordered: bool
    name: str
    cursor: bytes = b""


def check(client: Client, *, repair: bool = False) -> Iterator[Problem]:
    """What is wrong, group by group; `repair` mends each as it is found. Raises `ServerError`.

    Left out: groups of strangers, which never subscribed. They have no indexes, and name their consumers as they like.
    """
    prefix = client.config.prefix
    partitions = client.run(tail.partitions(prefix))
    places = [
        (Keys(prefix, *partition), row["name"]) for partition, row in client.run(inspect.groups(prefix, partitions))
    ]
    for first in range(0, len(places), AT_ONCE):
        some = places[first : first + AT_ONCE]
        ordered = client.run(together(*(operations.keeps_order(keys, group) for keys, group in some)))
        ours = [(place, kept) for place, kept in zip(some, ordered, strict=True) if kept is not None]
        yield from _check(client, [Part(*place, kept, name) for place, kept in ours for name in PARTS], repair=repair)


def _check(client: Client, parts: list[Part], *, repair: bool) -> Iterator[Problem]:
    """A slice of each of the parts in one round trip, then the next slice of those that are not through."""
    while parts:
        found = client.run(together(*(_slice(part, repair=repair) for part in parts)))
        for _, problems in found:
            yield from problems
        parts = [part._replace(cursor=cursor) for part, (cursor, _) in zip(parts, found, strict=True) if cursor]


def _slice(part: Part, *, repair: bool) -> Operation[tuple[bytes, Sequence[Problem]]]:
    keys, group = part.keys, part.group
    args = [
        group.encode(),
        b"fsck",
        b"%d" % repair,
        part.name.encode(),
        part.cursor,
        b"%d" % SLICE,
        b"%d" % part.ordered,
    ]

    def parse(replies: list[Any]) -> tuple[bytes, Sequence[Problem]]:
        following, found = replies[0]
        text = [(what.decode(), which.decode("utf-8", "backslashreplace")) for what, which in found]
        return following, [Problem(keys.topic, keys.partition, group, *row) for row in text]

    return Operation([call("fsck", keys.of_group(group), args)], parse)
