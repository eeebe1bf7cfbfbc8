"""Reading: events and journal of every partition from a position on, for the recorder and the live screens.

Reads and decodes; never changes a delivery. Whoever reads keeps the positions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bus.event import TOPIC_PATTERN, Event, from_fields
from bus.journal import JournalEntry, unpack
from bus.keys import Keys, global_key
from bus.operations import entry_order
from bus.streams import AsyncClient, Client
from bus.wire import Operation, call

Partition = tuple[str, int]

START: Final = "0-0"
JOURNAL_KEPT_MS: Final = 600_000  # a screen that comes back within ten minutes finds every step
_SCAN_COUNT: Final = 1_000


class Position(NamedTuple):
    """The last entry ids read of a partition; "0-0" at its start."""

    events: str = START
    journal: str = START


class Chunk(NamedTuple):
    """What is new in one partition. An event always comes before the journal's records of it."""

    topic: str
    partition: int
    events: list[Event]
    journal: list[JournalEntry]
    position: Position


def partitions(prefix: str) -> Operation[list[Partition]]:
    """Every partition of every topic in the catalogue, in order of name and number."""

    def parse(replies: list[Any]) -> list[Partition]:
        pairs = iter(replies[0])
        counts = {topic.decode("utf-8", "replace"): int(count) for topic, count in zip(pairs, pairs, strict=True)}
        return [(topic, number) for topic in sorted(counts) for number in range(counts[topic])]

    return Operation([(b"HGETALL", global_key(prefix, "topics"))], parse)


def read(
    prefix: str, positions: Mapping[Partition, Position], *, count: int = 500, block_ms: int | None = 1000
) -> Operation[list[Chunk]]:
    """What is new after `positions`, at most `count` entries a stream; waits up to `block_ms` for the first.

    Partitions without news are left out.
    """
    names, ids = [], []
    for (topic, partition), position in positions.items():
        keys = Keys(prefix, topic, partition)
        names += [keys.events, keys.journal]
        ids += [position.events.encode(), position.journal.encode()]
    block = () if block_ms is None else (b"BLOCK", b"%d" % max(block_ms, 1))
    command = (b"XREAD", b"COUNT", b"%d" % count, *block, b"STREAMS", *names, *ids)

    def parse(replies: list[Any]) -> list[Chunk]:
        rows = dict(replies[0] or ())
        found = (_chunk(prefix, partition, positions[partition], rows, count) for partition in positions)
        return [chunk for chunk in found if chunk.events or chunk.journal]

    return Operation([command], parse, block_seconds=(block_ms or 0) / 1000)


def newest(prefix: str, wanted: Sequence[Partition]) -> Operation[dict[Partition, Position]]:
    """Where "now" is: positions after which only later entries follow."""
    commands = []
    for topic, partition in wanted:
        keys = Keys(prefix, topic, partition)
        commands += [(b"XREVRANGE", name, b"+", b"-", b"COUNT", b"1") for name in (keys.events, keys.journal)]

    def parse(replies: list[Any]) -> dict[Partition, Position]:
        last = [reply[0][0].decode() if reply else START for reply in replies[: 2 * len(wanted)]]
        return {p: Position(last[2 * i], last[2 * i + 1]) for i, p in enumerate(wanted)}

    return Operation(commands or [(b"PING",)], parse)


class Found(NamedTuple):
    """What lies where somebody has read to: the event there (None: it is gone), and whether the journal's entry is."""

    event: Event | None
    record: bool


def look_back(prefix: str, positions: Mapping[Partition, Position]) -> Operation[dict[Partition, Found]]:
    """Whether what was read last is still there. A server that was rewound has forgotten it, or gave its id again."""
    commands = []
    for partition, position in positions.items():
        keys = Keys(prefix, *partition)
        for name, entry in ((keys.events, position.events.encode()), (keys.journal, position.journal.encode())):
            commands.append((b"XRANGE", name, entry, entry))

    def parse(replies: list[Any]) -> dict[Partition, Found]:
        pairs = zip(replies[::2], replies[1::2], strict=False)
        return {
            partition: Found(_event(partition, events[0]) if events else None, bool(journal))
            for partition, (events, journal) in zip(positions, pairs, strict=False)
        }

    return Operation(commands or [(b"PING",)], parse)


def first_after(prefix: str, positions: Mapping[Partition, Position]) -> Operation[dict[Partition, Position]]:
    """The first entry after each position, "0-0" where none follows: how old it is tells how late a reader is."""
    commands = []
    for partition, position in positions.items():
        keys = Keys(prefix, *partition)
        for name, entry in ((keys.events, position.events), (keys.journal, position.journal)):
            commands.append((b"XRANGE", name, f"({entry}".encode(), b"+", b"COUNT", b"1"))

    def parse(replies: list[Any]) -> dict[Partition, Position]:
        first = [reply[0][0].decode() if reply else START for reply in replies] if positions else []
        return {p: Position(first[2 * i], first[2 * i + 1]) for i, p in enumerate(positions)}

    return Operation(commands or [(b"PING",)], parse)


def last_record_before(prefix: str, partition: Partition, moment_ms: int) -> Operation[str]:
    """The last entry of the journal that was written before a moment; "0-0" when there is none."""
    before = b"%d" % max(moment_ms - 1, 0)
    command = (b"XREVRANGE", Keys(prefix, *partition).journal, before, b"-", b"COUNT", b"1")
    return Operation([command], lambda replies: replies[0][0][0].decode() if replies[0] else START)


def discover(prefix: str, cursor: int = 0) -> Operation[tuple[int, list[Partition]]]:
    """One step of a search for streams that strangers wrote without the catalogue. Result: next cursor, found."""
    pattern = f"{prefix}:{{*}}".encode()
    command = (b"SCAN", b"%d" % cursor, b"MATCH", pattern, b"COUNT", b"%d" % _SCAN_COUNT, b"TYPE", b"stream")

    def parse(replies: list[Any]) -> tuple[int, list[Partition]]:
        found = (_partition_of(prefix, name) for name in replies[0][1])
        return int(replies[0][0]), [partition for partition in found if partition]

    return Operation([command], parse)


def trim(
    prefix: str, partition: Partition, position: Position, keep_events: int, *, keep_journal: bool = False
) -> Operation[tuple[int, int]]:
    """Remove what no group needs and the recorder has stored. Result: events and journal entries removed.

    `keep_journal`: the journal of all events that are left, not only that of the last minutes.
    """
    keys = Keys(prefix, *partition)
    journal_ms = b"-1" if keep_journal else b"%d" % JOURNAL_KEPT_MS
    args = [position.events.encode(), position.journal.encode(), b"%d" % keep_events, journal_ms]
    return Operation(
        [call("trim", [keys.events, keys.journal], args)], lambda replies: (int(replies[0][0]), int(replies[0][1]))
    )


def announce(client: Client, traces: Sequence[str]) -> None:
    """Tell the screens which traces changed in what was just recorded. Nobody listening is no error."""
    message = msgspec.msgpack.encode(traces)
    channel = global_key(client.config.prefix, "recorded")
    client.run(Operation([(b"PUBLISH", channel, message)], lambda _: None))


async def announcements(client: AsyncClient) -> AsyncIterator[list[str]]:
    """Traces that changed, as the recorder announces them from now on."""
    async for message in client.listen(global_key(client.config.prefix, "recorded")):
        yield msgspec.msgpack.decode(message, type=list[str])


def _chunk(prefix: str, partition: Partition, position: Position, rows: Mapping[bytes, list[Any]], count: int) -> Chunk:
    keys = Keys(prefix, *partition)
    events = [_event(partition, row) for row in rows.get(keys.events, ())]
    read_to = events[-1].entry if events else position.events
    behind = len(events) == count  # more events may follow: records of those must wait for them
    journal = list(_journal(rows.get(keys.journal, ()), entry_order(read_to) if behind else None))
    return Chunk(*partition, events, journal, Position(read_to, journal[-1].position if journal else position.journal))


def _journal(found: Iterable[list[Any]], limit: tuple[int, int] | None) -> Iterator[JournalEntry]:
    """Journal entries in order, up to the first that speaks of an event beyond `limit`; decoded no further."""
    for row in found:
        entry = _journal_entry(row)
        if limit and any(_is_beyond(named, limit) for named in _named(entry)):
            return
        yield entry


def _named(entry: JournalEntry) -> Iterator[str]:
    """The events that a journal entry speaks of. A group that was moved: where from and where to."""
    yield from (record.entry for record in entry.records)
    if entry.control is not None and entry.control.kind == "rewound":
        yield from (entry.control.before, entry.control.after)


def _is_beyond(named: str, limit: tuple[int, int]) -> bool:
    try:
        return entry_order(named) > limit
    except ValueError:  # a stranger's record of no entry at all
        return False


def _event(partition: Partition, row: list[Any]) -> Event:
    return from_fields(row[1], topic=partition[0], partition=partition[1], entry=row[0].decode())


def _journal_entry(row: list[Any]) -> JournalEntry:
    position = row[0].decode()
    try:
        return unpack(position, row[1])
    except (ValueError, msgspec.DecodeError):  # a stranger's entry tells us nothing, and must not stop us
        return JournalEntry(position, "", "", [])


def _partition_of(prefix: str, name: bytes) -> Partition | None:
    topic, _, number = name.decode("utf-8", "replace").removeprefix(f"{prefix}:{{").removesuffix("}").rpartition("/")
    if TOPIC_PATTERN.match(topic) and number.isdigit() and len(number) < 5:
        return topic, int(number)
    return None
