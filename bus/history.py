"""Reading a partition's log from an entry on, oldest first: for folds and projections.

Reads and decodes; knows no state and no rows. Whoever reads keeps the position.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from bus.event import Event, from_fields
from bus.keys import Keys, global_key
from bus.wire import Operation

START: Final = "0-0"
BATCH: Final = 500

Row = tuple[str, dict[bytes, bytes]]


class Page(NamedTuple):
    """Entries in order, and what the log says of itself right after they were read.

    `added`: entries that it ever got; `removed`: those of them that it no longer has; `first`: its oldest entry, ""
    when it is empty.
    """

    rows: list[Row]
    added: int = 0
    removed: int = 0
    first: str = ""


def partitions_of(prefix: str, topic: str) -> Operation[int]:
    """How many partitions a topic has; 1 for one that nobody declared. Declares nothing."""
    command = (b"HGET", global_key(prefix, "topics"), topic.encode())
    return Operation([command], lambda replies: int(replies[0] or 1))


def page(keys: Keys, after: str, *, end: str = "+", count: int = BATCH) -> Operation[Page]:
    """Up to `count` entries after `after`, up to and including `end`."""
    entries = (b"XRANGE", keys.events, f"({after}".encode(), end.encode(), b"COUNT", b"%d" % count)
    # Asked last: what was removed before the entries were read shows in it.
    info = (b"XINFO", b"STREAM", keys.events)

    def parse(replies: list[Any]) -> Page:
        rows = [(entry.decode(), _pairs(flat)) for entry, flat in replies[0] or ()]
        return _described(rows, _pairs(replies[1] or []))

    return Operation([entries, info], parse, tolerated={"ERR": None})  # no such stream: nothing was published yet


def found_at(keys: Keys, entry: str) -> Operation[Page]:
    """The one entry, if the log still has it."""
    command = (b"XRANGE", keys.events, entry.encode(), entry.encode())
    whole = page(keys, entry, count=1)

    def parse(replies: list[Any]) -> Page:
        rows = [(found.decode(), _pairs(flat)) for found, flat in replies[0]]
        return whole.parse(replies[1:])._replace(rows=rows)

    return Operation([command, *whole.commands], parse, tolerated=whole.tolerated)


def news(prefix: str, cursors: Mapping[tuple[str, int], str], *, block_ms: int) -> Operation[set[tuple[str, int]]]:
    """The partitions that have entries after these; waits up to `block_ms` for the first."""
    names = {Keys(prefix, *partition).events: partition for partition in cursors}
    ids = [cursor.encode() for cursor in cursors.values()]
    command = (b"XREAD", b"COUNT", b"1", b"BLOCK", b"%d" % max(block_ms, 1), b"STREAMS", *names, *ids)

    def parse(replies: list[Any]) -> set[tuple[str, int]]:
        return {names[name] for name, _ in replies[0] or ()}

    return Operation([command], parse, block_seconds=block_ms / 1000)


def event_of(keys: Keys, row: Row) -> Event:
    """The event that an entry holds."""
    flat = [part for pair in row[1].items() for part in pair]
    return from_fields(flat, topic=keys.topic, partition=keys.partition, entry=row[0])


def type_of(row: Row) -> str:
    """An entry's type, without decoding the rest."""
    return row[1].get(b"type", b"").decode("utf-8", "backslashreplace")


def keyed(rows: Collection[Row], key: str) -> list[Row]:
    """The entries of one key, without decoding the others."""
    wanted = key.encode()
    return [row for row in rows if row[1].get(b"partitionkey") == wanted]


def _described(rows: list[Row], info: Mapping[bytes, Any]) -> Page:
    first = info.get(b"first-entry")
    added, length = int(info.get(b"entries-added", 0)), int(info.get(b"length", 0))
    return Page(rows, added, max(added - length, 0), first[0].decode() if first else "")


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    pairs = iter(flat)
    return dict(zip(pairs, pairs, strict=False))
