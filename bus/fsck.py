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
from bus.wire import Operation, call

PARTS: Final = ("pending", "due", "parked", "busy")
SLICE: Final = 500


class Problem(NamedTuple):
    """Something that does not agree: of which group, what it is, and the entry or key that shows it."""

    topic: str
    partition: int
    group: str
    what: str
    which: str


def check(client: Client, *, repair: bool = False) -> Iterator[Problem]:
    """What is wrong, group by group; `repair` mends each as it is found. Raises `ServerError`."""
    prefix = client.config.prefix
    partitions = client.run(tail.partitions(prefix))
    for partition, row in client.run(inspect.groups(prefix, partitions)):
        keys = Keys(prefix, *partition)
        ordered = client.run(operations.keeps_order(keys, row["name"]))
        for part in PARTS:
            yield from _check_part(client, keys, (row["name"], part), ordered=ordered, repair=repair)


def _check_part(
    client: Client, keys: Keys, wanted: tuple[str, str], *, ordered: bool, repair: bool
) -> Iterator[Problem]:
    cursor = b""
    while True:
        cursor, problems = client.run(_slice(keys, wanted, cursor, ordered=ordered, repair=repair))
        yield from problems
        if not cursor:
            return


def _slice(
    keys: Keys, wanted: tuple[str, str], cursor: bytes, *, ordered: bool, repair: bool
) -> Operation[tuple[bytes, Sequence[Problem]]]:
    group, part = wanted
    names = [keys.events, keys.journal, keys.due(group), keys.busy(group), keys.parked(group)]
    args = [group.encode(), b"fsck", _flag(repair), part.encode(), cursor, b"%d" % SLICE, _flag(ordered)]

    def parse(replies: list[Any]) -> tuple[bytes, Sequence[Problem]]:
        following, found = replies[0]
        text = [(what.decode(), which.decode("utf-8", "backslashreplace")) for what, which in found]
        return following, [Problem(keys.topic, keys.partition, group, *row) for row in text]

    return Operation([call("fsck", names, args)], parse)


def _flag(value: bool) -> bytes:  # noqa: FBT001  # it is what it converts
    return b"1" if value else b"0"
