"""What can be asked of a partition: each change of state as one operation.

Builds commands and reads replies; runs nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from bus.errors import EventConflict, ServerRefused, TopicFull
from bus.event import FIELDS, Cause, Event, from_fields, to_fields
from bus.journal import Failure, Record, SubscriptionRecord, pack, pack_subscription
from bus.keys import Keys, global_key
from bus.wire import Command, Operation, call, frame_of, template

MAX_BATCH: Final = 500
MAX_WAITING: Final = 10_000  # entries of an ordered group that wait for their keys
FORGET_WORKER_MS: Final = 3_600_000
CLOCK_TOLERANCE_MS: Final = 2_000  # a server's clock may fall so far without retries being moved
UNLIMITED: Final = 2**53
_NO_CAUSE: Final = Cause("")
_XADD: Final = template("XADD", FIELDS).removesuffix("$4\r\ndata\r\n$%d\r\n%s\r\n")
MISSING: Final = object()  # in the place of a reply: the group is not there


class Settlement(msgspec.Struct, frozen=True):
    """How one attempt ended: acknowledged (succeeded or skipped), retried later, dead, or dead and its key blocked."""

    verdict: bytes  # b"a", b"r", b"d" or b"h"
    record: Record
    key: str = ""  # of an ordered group's event: what it frees for the next one


class Taken(NamedTuple):
    """Deliveries handed to an owner. `next_due_ms`: until the next retry is due, None when none waits.

    `alone`: an entry whose worker died; it comes first, and is to be settled before another one is begun.
    `paused`: whoever got events all the same must give them back. `generation`: changes when the group's position was
    moved; an owner must then give back what it holds and take a new name.
    """

    events: list[Event]
    next_due_ms: int | None = None
    group_exists: bool = True
    alone: str = ""
    paused: bool = False
    generation: int = 0
    last_read: str = ""  # ordered groups: the last new entry that was read, taken or not
    breakpoint: bytes = b""  # what deliveries must be asked before they begin (`bus.hold`), packed
    full: bool = False  # ordered groups: too many entries wait for their keys, so nothing new is read


class DeadLetter(NamedTuple):
    """A delivery that was given up: its own id, the event as it was, after how many attempts, and why."""

    id: str
    event: Event
    attempts: int
    failure: Failure


class Replayed(NamedTuple):
    """What became of a replay. `gone`: dead letters whose event has left the stream; they stay where they are."""

    done: int
    gone: list[str]


def declare_topic(prefix: str, topic: str, partitions: int) -> Operation[int]:
    """Put the topic into the catalogue unless it is there. Result: its number of partitions."""
    key, name = global_key(prefix, "topics"), topic.encode()

    def parse(replies: list[Any]) -> int:
        if replies[1] is None:
            raise ServerRefused(f"the server is out of memory, so the new topic {topic} was not declared")
        return int(replies[1])

    # What is declared already needs no memory: a worker starts all the same.
    return Operation([(b"HSETNX", key, name, b"%d" % partitions), (b"HGET", key, name)], parse, tolerated={"OOM": None})


def publish(keys: Keys, event: Event) -> Operation[str]:
    """Append one event that nobody else can have published. Result: its entry id."""
    return Operation([_added_event(keys.events, event)], lambda replies: str(replies[0].decode()))


def publish_batch(
    keys: Keys, events: Sequence[Event], digests: Mapping[str, bytes], ttl_ms: int, *, full_at: int | None = None
) -> Operation[list[str]]:
    """Append up to 500 events at once. `digests`: content digest by id, of events whose id their publisher chose.

    An id that was seen before with the same digest gives its old entry; with another one, `EventConflict`.
    `full_at`: with so many events in the stream nothing is written, `TopicFull`.
    Where nothing is asked, a transaction does what the script would, faster.
    """
    if not digests and full_at is None:
        stream = keys.events
        added = [_added_event(stream, event) for event in events]
        return Operation([(b"MULTI",), *added, (b"EXEC",)], lambda replies: _added(replies[-1]))
    names = [keys.events]
    args = [b"%d" % len(events), b"%d" % ttl_ms, b"%d" % (UNLIMITED if full_at is None else full_at)]
    for event in events:
        digest = digests.get(event.id, b"")
        if digest:
            names.append(keys.seen(event.id))
        fields = to_fields(event)
        args += (b"%d" % len(names) if digest else b"0", digest, b"%d" % len(fields), *fields)
    return Operation([call("publish", names, args)], lambda replies: _entries(keys, replies[0], events))


def subscribe(
    keys: Keys, group: str, subscription: SubscriptionRecord, *, start: str, worker: str, version: str = ""
) -> Operation[bool]:
    """Create the group where it is missing, and record what it subscribes to and which code begins to serve it.

    Result: whether it was created.
    """
    args = [group.encode(), start.encode(), worker.encode(), pack_subscription(subscription), version.encode()]
    return Operation(
        [call("subscribe", keys.of_group(group), args)],
        lambda replies: bool(replies[0][0]),
    )


def take_new(keys: Keys, group: str, owner: str, *, count: int, block_ms: int | None) -> Operation[Taken]:
    """Hand the group's next events to the owner; waits up to `block_ms` for one (None: not at all)."""
    block = () if block_ms is None else (b"BLOCK", b"%d" % max(block_ms, 1))
    command = (b"XREADGROUP", b"GROUP", group.encode(), owner.encode(), b"COUNT", b"%d" % count, *block)

    def parse(replies: list[Any]) -> Taken:
        found, control = replies
        if found is MISSING:
            return Taken([], group_exists=False)
        events = [_event(keys, row[0], row[1], 1) for row in found[0][1] if row[1]] if found else []
        return _controlled(Taken(events), control)

    # Asked after the read, which may have waited while somebody paused the group.
    fields = (b"%b:%b" % (name, group.encode()) for name in (b"paused", b"generation", b"rewinds", b"hold"))
    control = (b"HMGET", keys.meta, *fields)
    return Operation(
        [(*command, b"STREAMS", keys.events, b">"), control],
        parse,
        block_seconds=(block_ms or 0) / 1000,
        tolerated={"NOGROUP": MISSING, "UNBLOCKED": MISSING},
    )


def take_due(keys: Keys, group: str, owner: str, *, count: int) -> Operation[Taken]:
    """Hand the owner the retries whose time has come."""

    def parse(replies: list[Any]) -> Taken:
        if replies[0] is MISSING:
            return Taken([], group_exists=False)
        return _taken(keys, *replies[0])

    args = [group.encode(), owner.encode(), b"%d" % count]
    return Operation(
        [call("take_due", keys.of_group(group), args)],
        parse,
        tolerated={"NOGROUP": MISSING},
    )


def take_ordered(keys: Keys, group: str, owner: str, *, count: int) -> Operation[Taken]:
    """Hand the owner due retries, then new events, of which no key is held by anybody else."""

    def parse(replies: list[Any]) -> Taken:
        if replies[0] is MISSING:
            return Taken([], group_exists=False)
        *taken, last, full = replies[0]
        return _taken(keys, *taken)._replace(last_read=last.decode(), full=bool(full))

    args = [group.encode(), owner.encode(), b"%d" % count, b"%d" % MAX_WAITING]
    return Operation(
        [call("take_ordered", keys.of_group(group), args)],
        parse,
        tolerated={"NOGROUP": MISSING},
    )


def await_news(keys: Keys, after: str, *, block_ms: int) -> Operation[None]:
    """Wait up to `block_ms` for an event after entry `after`; takes nothing."""
    command = (b"XREAD", b"COUNT", b"1", b"BLOCK", b"%d" % max(block_ms, 1), b"STREAMS", keys.events, after.encode())
    return Operation([command], lambda _: None, block_seconds=block_ms / 1000, tolerated={"UNBLOCKED": None})


def settle(
    keys: Keys, group: str, owner: str, settlements: Sequence[Settlement], *, holds: int
) -> Operation[frozenset[str]]:
    """End attempts, and write that into the journal. Result: the entries that were stale.

    `holds`: at least how many entries the owner holds on this partition.
    """
    plain: list[bytes] = []
    others: list[bytes] = []
    records = [settlement.record for settlement in settlements]
    for settlement in settlements:
        verdict, record, key = settlement.verdict, settlement.record, settlement.key
        if verdict == b"a" and not key and record.attempt == 1:
            plain.append(record.entry.encode())
        else:
            others += (verdict, record.entry.encode(), b"%d" % record.attempt, _more(verdict, record), key.encode())
    entries = [record.entry for record in records]
    low, high = _bounds(entries)
    args = [
        group.encode(), owner.encode(), pack(records),
        low, high, b"%d" % (holds + MAX_BATCH), b"%d" % len(plain), *plain, *others,
    ]  # fmt: skip

    def parse(replies: list[Any]) -> frozenset[str]:
        return frozenset(entries if replies[0] is MISSING else (entry.decode() for entry in replies[0]))

    return Operation(
        [call("settle", keys.of_group(group), args)],
        parse,
        tolerated={"NOGROUP": MISSING},
    )


def announce(keys: Keys, group: str, owner: str, records: Sequence[Record]) -> Operation[None]:
    """Write into the journal that attempts have begun, for batches that take a while."""
    entry = (b"XADD", keys.journal, b"*", b"g", group.encode(), b"w", owner.encode(), b"b", pack(list(records)))
    # Nothing depends on it: a server that is out of memory must not make the owner give back what it runs.
    return Operation([entry], lambda _: None, tolerated={"OOM": None})


def release(keys: Keys, group: str, owner: str) -> Operation[int]:
    """Give back what the owner holds, up to 500 entries. The owner's name must not take again."""
    args = [group.encode(), owner.encode(), b"%d" % MAX_BATCH]
    return Operation(
        [call("release", keys.of_group(group), args)],
        _counted,
        tolerated={"NOGROUP": MISSING},
    )


def leave(keys: Keys, group: str, owner: str) -> Operation[None]:
    """Remove an owner that holds nothing from the group's list."""
    return Operation(
        [call("leave", keys.of_group(group), [group.encode(), owner.encode()])],
        lambda _: None,
        tolerated={"NOGROUP": MISSING},
    )


def owners(keys: Keys, group: str) -> Operation[list[str]]:
    """Owners with pending entries, parked and held ones left out. What is not text in a stranger's name is escaped."""

    def parse(replies: list[Any]) -> list[str]:
        rows = () if replies[0] is MISSING else replies[0][3] or ()
        return [name.decode("utf-8", "surrogateescape") for name, _ in rows if name not in (b"~", b"!")]

    return Operation([(b"XPENDING", keys.events, group.encode())], parse, tolerated={"NOGROUP": MISSING})


def reclaim(
    keys: Keys, group: str, worker: str, dead_owners: Mapping[str, int], *, max_crashes: int, halts: bool = False
) -> Operation[int]:
    """Make due at once what dead owners hold (owner → least idle ms). Result: how many entries.

    An entry whose workers died `max_crashes` times is dead-lettered instead, and then blocks its key if `halts`.
    """
    failure = Failure("CrashLoop", f"its worker died {max_crashes} times while handling it", fingerprint="crash-loop")
    args = [
        group.encode(), worker.encode(), b"%d" % max_crashes, msgspec.msgpack.encode(failure), b"%d" % halts,
        b"%d" % MAX_BATCH,
    ]  # fmt: skip
    for owner, idle_ms in dead_owners.items():
        args += (owner.encode("utf-8", "surrogateescape"), b"%d" % idle_ms)
    return Operation(
        [call("reclaim", keys.of_group(group), args)],
        _counted,
        tolerated={"NOGROUP": MISSING},
    )


def dead_letters(keys: Keys, group: str, *, after: str = "", count: int = MAX_BATCH) -> Operation[list[DeadLetter]]:
    """The group's dead letters on this partition, oldest first, those after id `after`."""
    start = f"({after}" if after else "-"
    command = (b"XRANGE", keys.dead(group), start.encode(), b"+", b"COUNT", b"%d" % count)
    return Operation([command], lambda replies: [dead_letter(keys, row) for row in replies[0]])


def replay(keys: Keys, group: str, ids: Sequence[str], *, who: str, ordered: bool) -> Operation[Replayed]:
    """Hand dead letters (up to 500 ids) back to their group. One that was handed back before is passed over."""
    args = [group.encode(), who.encode(), b"1" if ordered else b"0", *(one.encode() for one in ids)]

    def parse(replies: list[Any]) -> Replayed:
        done, *gone = replies[0]
        return Replayed(int(done), [one.decode() for one in gone])

    return Operation([call("replay", keys.of_group(group), args)], parse)


def keeps_order(keys: Keys, group: str) -> Operation[bool | None]:
    """Whether the group's subscription keeps order, as its workers said last; None where nobody subscribed."""

    def parse(replies: list[Any]) -> bool | None:
        packed = replies[0]
        return None if packed is None else msgspec.msgpack.decode(packed, type=SubscriptionRecord).ordered

    return Operation([(b"HGET", keys.meta, f"sub:{group}".encode())], parse)


def rebase(keys: Keys, group: str, who: str) -> Operation[int]:
    """Look at the server's clock, and move retries back with it where it fell. Result: by how many ms it fell, or 0."""
    args = [group.encode(), who.encode(), b"%d" % CLOCK_TOLERANCE_MS]
    return Operation([call("rebase", keys.of_group(group), args)], lambda replies: int(replies[0]))


def reap(keys: Keys, group: str) -> Operation[int]:
    """Remove names of owners that hold nothing and were not heard of for an hour. Result: how many, at most 500."""
    args = [group.encode(), b"%d" % FORGET_WORKER_MS, b"%d" % MAX_BATCH]
    return Operation(
        [call("reap", keys.of_group(group), args)],
        _counted,
        tolerated={"NOGROUP": MISSING},
    )


def heartbeat(prefix: str, worker: str, info: bytes) -> Operation[int]:
    """Say that the worker lives. Result: the server's clock in ms."""
    names = [global_key(prefix, "workers"), global_key(prefix, "workers:info")]
    args = [worker.encode(), info, b"%d" % FORGET_WORKER_MS]
    return Operation([call("heartbeat", names, args)], lambda replies: int(replies[0]))


def farewell(prefix: str, worker: str) -> Operation[None]:
    """Say that the worker ended in good order: nobody will miss it."""
    name = worker.encode()
    commands = [
        (b"ZREM", global_key(prefix, "workers"), name),
        (b"HDEL", global_key(prefix, "workers:info"), name),
    ]
    return Operation(commands, lambda _: None)


def _added_event(stream: bytes, event: Event) -> Command:
    """The XADD of an event: `to_fields` by a template, which takes a third of the time of packing each argument.

    Its lengths are those of characters, so what is not ASCII is packed argument by argument, and so are headers.
    """
    e, name, cause = event, stream.decode(), event.cause or _NO_CAUSE
    attempt, key = str(cause.attempt or ""), e.key or ""
    head = _XADD % (
        len(name), name, len(e.id), e.id, len(e.type), e.type, len(e.source), e.source, len(e.time_text), e.time_text,
        len(key), key, len(e.correlation_id), e.correlation_id, len(cause.event_id), cause.event_id,
        len(cause.group), cause.group, len(attempt), attempt, len(cause.topic), cause.topic,
        len(e.traceparent), e.traceparent,
    )  # fmt: skip
    if e.headers or not head.isascii():
        return (b"XADD", stream, b"*", *to_fields(event))
    return frame_of((b"XADD", stream), b"%b$4\r\ndata\r\n$%d\r\n%b\r\n" % (head.encode(), len(e.raw), e.raw))


def _bounds(entries: Sequence[str]) -> tuple[bytes, bytes]:
    """The first and the last millisecond of these entries: a range that has all of them."""
    moments = [entry.partition("-")[0] for entry in entries]
    same_length = len(moments[0]) == len(min(moments, key=len)) == len(max(moments, key=len))
    key = None if same_length else int
    return min(moments, key=key).encode(), max(moments, key=key).encode()


def entry_order(entry: str) -> tuple[int, int]:
    """Sort key of entry ids, which do not sort as text."""
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence or 0)


def _taken(keys: Keys, rows: list[Any], next_due: int, alone: bytes, control: list[bytes | None]) -> Taken:
    events = [_event(keys, row[0], row[1], row[2], row[3]) for row in rows]
    return _controlled(Taken(events, next_due if next_due >= 0 else None, alone=alone.decode()), control)


def _counted(replies: list[Any]) -> int:
    return 0 if replies[0] is MISSING else int(replies[0])


def _controlled(taken: Taken, control: list[bytes | None]) -> Taken:
    paused, generation, rewinds, packed = control
    if rewinds:
        places = _places(rewinds)
        replace = msgspec.structs.replace
        events = [replace(e, run=sum(place < entry_order(e.entry) for place in places)) for e in taken.events]
        taken = taken._replace(events=events)
    return taken._replace(paused=paused is not None, generation=int(generation or 0), breakpoint=packed or b"")


@lru_cache(maxsize=256)
def _places(rewinds: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(entry_order(entry) for entry in rewinds.decode().split())


def _event(keys: Keys, entry: bytes, flat: list[bytes], attempt: int, before: int = 0) -> Event:
    event = from_fields(flat, topic=keys.topic, partition=keys.partition, entry=entry.decode(), attempt=attempt)
    return msgspec.structs.replace(event, attempts_before=before) if before else event


def _entries(keys: Keys, reply: list[Any], events: Sequence[Event]) -> list[str]:
    if reply and reply[0] == b"full":
        raise TopicFull(
            f"{keys.topic} (partition {keys.partition}) holds {reply[1]:,} events, as many as BUS['full_events']"
            " allows: a group or the recorder is far behind ('manage.py groups' tells); nothing was published"
        )
    if reply and reply[0] == b"conflict":
        event = events[reply[1] - 1]
        raise EventConflict(
            f"expected event {event.id} to be what was published before under this id, got other content;"
            " give it a new id, nothing was published"
        )
    return [entry.decode() for entry in reply]


def _added(reply: list[Any]) -> list[str]:
    for entry in reply:
        if not isinstance(entry, bytes):  # within a transaction an error is a value like any other
            raise ServerRefused(f"the server refused: {entry}; nothing of it was published")
    return [entry.decode() for entry in reply]


def _more(verdict: bytes, record: Record) -> bytes:
    if verdict == b"r":
        return b"%d" % record.due_in_ms
    return b"" if verdict == b"a" else msgspec.msgpack.encode(record.failure)


def dead_letter(keys: Keys, row: list[Any]) -> DeadLetter:
    """A dead letter from its row in the stream."""
    own, flat = row[0].decode(), row[1]
    kept = dict(zip(flat[:6:2], flat[1:6:2], strict=True))  # written by our own script, before the event's fields
    attempts = int(kept[b"attempt"])
    event = _event(keys, kept[b"entry"], flat[6:], attempts)
    return DeadLetter(own, event, attempts, msgspec.msgpack.decode(kept[b"failure"], type=Failure))
