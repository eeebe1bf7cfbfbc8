"""How the bus is doing: groups, workers and the server, as it says itself. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bus.hold import HOLDER, Breakpoint, breakpoint_of
from bus.keys import Keys, global_key
from bus.tail import Partition
from bus.wire import Operation

_SETTINGS: Final = (b"appendfsync", b"min-replicas-to-write", b"save", b"stop-writes-on-bgsave-error")
PARKED = b"~"  # who holds an entry that waits for its turn (`scripts/_shared.lua`)


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """A group's place on one partition. `due`: retries that wait; `pending` includes them.

    `held`: how many entries each worker has in hand; what waits for its time or its turn is nobody's. `paused_by`:
    who paused it, "" while it runs. `stopped`: how many deliveries its `breakpoint` holds.
    """

    topic: str
    partition: int
    group: str
    last_delivered: str
    newest: str
    pending: int
    due: int = 0
    dead: int = 0
    discarded: int = 0
    oldest_pending: str = ""
    held: tuple[tuple[str, int], ...] = ()
    paused_by: str = ""
    breakpoint: Breakpoint | None = None
    stopped: int = 0


class PendingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that a group was handed and has not settled. `worker` is empty while it waits for its turn, or is
    `held` at a breakpoint."""

    partition: int
    entry: str
    worker: str
    idle_ms: int
    attempt: int
    held: bool = False


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself with each heartbeat."""

    host: str = ""
    pid: int = 0
    groups: list[str] = []
    started_ms: int = 0
    lease_ms: int = 10_000
    version: str = ""


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that has beaten within the last hour; `alive` while its lease holds. Times: server's clock, ms."""

    id: str
    host: str
    pid: int
    groups: list[str]
    started_ms: int
    beat_ms: int
    alive: bool
    version: str = ""


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """The server behind the bus, from INFO and, where its user may, CONFIG. Sizes in bytes.

    `settings_known` False: CONFIG was refused, so what comes from it says nothing. `offset_ms`: its clock minus ours.
    """

    product: str = "redis"
    version: str = ""
    used_memory: int = 0
    maxmemory: int = 0
    aof: bool = False
    appendfsync: str = ""
    maxmemory_policy: str = ""
    uptime_seconds: int = 0
    now_ms: int = 0
    offset_ms: int = 0
    run_id: str = ""
    loading: bool = False
    role: str = ""
    replicas: int = 0
    min_replicas: int = 0
    aof_writes: bool = True
    snapshots: bool = False
    snapshot_saved: bool = True
    stops_at_failed_snapshot: bool = True
    evicted_keys: int = 0
    clients: int = 0
    blocked_clients: int = 0
    cluster: bool = False
    settings_known: bool = True


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's streams: how much is in them, how much ever was, and where they begin and end.

    `newest` is the last id ever given, trimmed or not; `oldest` is "" when nothing is there.
    """

    topic: str
    partition: int
    events: int = 0
    added: int = 0
    journal: int = 0
    journal_added: int = 0
    oldest: str = ""
    newest: str = "0-0"
    oldest_record: str = ""
    newest_record: str = "0-0"


def groups(prefix: str, partitions: Sequence[Partition]) -> Operation[list[tuple[Partition, dict[str, Any]]]]:
    """Names and cursors of the groups of each partition; `details` adds what needs their names."""
    commands = [
        command
        for partition in partitions
        for command in (
            (b"XINFO", b"GROUPS", Keys(prefix, *partition).events),
            (b"XREVRANGE", Keys(prefix, *partition).events, b"+", b"-", b"COUNT", b"1"),
        )
    ]

    def parse(replies: list[Any]) -> list[tuple[Partition, dict[str, Any]]]:
        found: list[tuple[Partition, dict[str, Any]]] = []
        for index, partition in enumerate(partitions):
            newest = replies[2 * index + 1]
            for flat in replies[2 * index] or ():
                row = {**_flat(flat), "newest": newest[0][0].decode() if newest else "0-0"}
                found.append((partition, row))
        return found

    return Operation(commands or [(b"PING",)], parse, tolerated={"ERR": None})


def details(prefix: str, found: Sequence[tuple[Partition, dict[str, Any]]]) -> Operation[list[GroupState]]:
    """The states of groups that `groups` found."""
    commands = []
    for partition, row in found:
        keys, name = Keys(prefix, *partition), row["name"]
        commands += [
            (b"ZCARD", keys.due(name)),
            (b"XLEN", keys.dead(name)),
            (b"XPENDING", keys.events, name.encode()),
            (b"HMGET", keys.meta, b"paused:" + name.encode(), b"hold:" + name.encode()),
            (b"XLEN", keys.discarded(name)),
        ]

    def parse(replies: list[Any]) -> list[GroupState]:
        return [_state(partition, row, replies[5 * i : 5 * i + 5]) for i, (partition, row) in enumerate(found)]

    return Operation(commands or [(b"PING",)], parse, tolerated={"NOGROUP": None})


def pending(prefix: str, topic: str, numbers: Sequence[int], group: str, count: int) -> Operation[list[PendingEntry]]:
    """The oldest `count` pending entries of a group on each of a topic's partitions."""
    each = b"%d" % count
    commands = [
        (b"XPENDING", Keys(prefix, topic, number).events, group.encode(), b"-", b"+", each) for number in numbers
    ]

    def parse(replies: list[Any]) -> list[PendingEntry]:
        return [
            PendingEntry(
                partition=number,
                entry=entry.decode(),
                worker="" if owner in (PARKED, HOLDER) else _worker_of(owner),
                idle_ms=int(idle),
                attempt=int(attempt),
                held=owner == HOLDER,
            )
            for number, rows in zip(numbers, replies, strict=False)
            for entry, owner, idle, attempt in rows or ()
        ]

    return Operation(commands or [(b"PING",)], parse if commands else lambda _: [], tolerated={"NOGROUP": None})


def workers(prefix: str) -> Operation[list[WorkerState]]:
    """Workers that have beaten within the last hour, oldest first."""
    commands = [
        (b"TIME",),
        (b"ZRANGE", global_key(prefix, "workers"), b"0", b"-1", b"WITHSCORES"),
        (b"HGETALL", global_key(prefix, "workers:info")),
    ]

    def parse(replies: list[Any]) -> list[WorkerState]:
        now = _ms(replies[0])
        beats, pairs = iter(replies[1]), iter(replies[2])
        infos = dict(zip(pairs, pairs, strict=True))
        found = [_worker(name, int(float(beat)), infos.get(name), now) for name, beat in zip(beats, beats, strict=True)]
        return sorted(found, key=lambda worker: worker.started_ms)

    return Operation(commands, parse)


def server() -> Operation[ServerState]:
    """Version, memory, persistence, role and clock of the server."""
    commands = [(b"INFO",), (b"CONFIG", b"GET", *_SETTINGS), (b"TIME",)]
    return Operation(commands, _server_state, tolerated={"NOPERM": None, "ERR": None})


def streams(prefix: str, partitions: Sequence[Partition]) -> Operation[list[StreamState]]:
    """Lengths and ends of the streams of each partition."""
    names = [(keys.events, keys.journal) for keys in (Keys(prefix, *partition) for partition in partitions)]
    commands = [(b"XINFO", b"STREAM", name) for pair in names for name in pair]

    def parse(replies: list[Any]) -> list[StreamState]:
        pairs = [(_flat(replies[2 * i] or []), _flat(replies[2 * i + 1] or [])) for i in range(len(partitions))]
        return [_stream_state(*both) for both in zip(partitions, pairs, strict=True)]

    return Operation(commands or [(b"PING",)], parse, tolerated={"ERR": None})


def memory(prefix: str, partitions: Sequence[Partition]) -> Operation[list[int | None]]:
    """Bytes that each partition's events take up, as the server estimates; None where it may not be asked."""
    commands = [(b"MEMORY", b"USAGE", Keys(prefix, *partition).events) for partition in partitions]
    return Operation(
        commands or [(b"PING",)],
        lambda replies: [None if reply is None else int(reply) for reply in replies[: len(partitions)]],
        tolerated={"NOPERM": None, "ERR": None},
    )


def _stream_state(partition: Partition, both: tuple[dict[str, Any], dict[str, Any]]) -> StreamState:
    events, journal = both
    return StreamState(
        topic=partition[0],
        partition=partition[1],
        events=int(events.get("length", 0)),
        added=int(events.get("entries-added", 0)),
        journal=int(journal.get("length", 0)),
        journal_added=int(journal.get("entries-added", 0)),
        oldest=_first_entry(events),
        newest=str(events.get("last-generated-id", "0-0")),
        oldest_record=_first_entry(journal),
        newest_record=str(journal.get("last-generated-id", "0-0")),
    )


def _first_entry(info: dict[str, Any]) -> str:
    first = info.get("first-entry")
    return str(first[0].decode()) if first else ""


def _server_state(replies: list[Any]) -> ServerState:
    lines = (replies[0] or b"").decode("utf-8", "replace").splitlines()
    info = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    said = _flat(replies[1] or [])
    product = "valkey" if "valkey_version" in info else "redis"
    now_ms = _ms(replies[2])

    def number(name: str) -> int:
        return int(info[name]) if info.get(name, "").isdigit() else 0

    return ServerState(
        product=product,
        version=info.get(f"{product}_version", ""),
        used_memory=number("used_memory"),
        maxmemory=number("maxmemory"),
        aof=info.get("aof_enabled") == "1",
        appendfsync=str(said.get("appendfsync", "")),
        maxmemory_policy=info.get("maxmemory_policy", ""),
        uptime_seconds=number("uptime_in_seconds"),
        now_ms=now_ms,
        offset_ms=now_ms - int(time.time() * 1000),
        run_id=info.get("run_id", ""),
        loading=info.get("loading") == "1",
        role=info.get("role", ""),
        replicas=number("connected_slaves"),
        min_replicas=int(said.get("min-replicas-to-write", 0)),
        aof_writes=info.get("aof_last_write_status", "ok") == "ok",
        snapshots=bool(said.get("save", "")),
        snapshot_saved=info.get("rdb_last_bgsave_status", "ok") == "ok",
        stops_at_failed_snapshot=said.get("stop-writes-on-bgsave-error", "yes") == "yes",
        evicted_keys=number("evicted_keys"),
        clients=number("connected_clients"),
        blocked_clients=number("blocked_clients"),
        cluster=info.get("cluster_enabled") == "1",
        settings_known=replies[1] is not None,
    )


def _state(partition: Partition, row: dict[str, Any], replies: list[Any]) -> GroupState:
    pending = replies[2] or [0, None]
    owners = pending[3] or () if len(pending) > 3 else ()
    paused, packed = replies[3]
    return GroupState(
        topic=partition[0],
        partition=partition[1],
        group=row["name"],
        last_delivered=row["last-delivered-id"],
        newest=row["newest"],
        pending=int(pending[0]),
        due=int(replies[0]),
        dead=int(replies[1]),
        discarded=int(replies[4]),
        oldest_pending=pending[1].decode() if pending[1] else "",
        held=_held(owners),
        paused_by=(paused or b"").decode("utf-8", "replace"),
        breakpoint=breakpoint_of(packed),
        stopped=sum(int(count) for owner, count in owners if owner == HOLDER),
    )


def _held(owners: Sequence[Sequence[bytes]]) -> tuple[tuple[str, int], ...]:
    """How many entries each worker holds, whatever its generations."""
    held: dict[str, int] = {}
    for owner, count in owners:
        if owner not in (PARKED, HOLDER):
            worker = _worker_of(owner)
            held[worker] = held.get(worker, 0) + int(count)
    return tuple(sorted(held.items()))


def _worker_of(owner: bytes) -> str:
    return owner.decode("utf-8", "replace").partition("#")[0]


def _worker(name: bytes, beat_ms: int, info: bytes | None, now: int) -> WorkerState:
    try:
        said = msgspec.json.decode(info or b"{}", type=WorkerInfo)
    except msgspec.DecodeError:
        said = WorkerInfo()
    return WorkerState(
        id=name.decode("utf-8", "replace"),
        host=said.host,
        pid=said.pid,
        groups=said.groups,
        started_ms=said.started_ms,
        beat_ms=beat_ms,
        alive=now - beat_ms < said.lease_ms,
        version=said.version,
    )


def _flat(flat: list[Any]) -> dict[str, Any]:
    pairs = iter(flat)
    return {
        name.decode(): value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for name, value in zip(pairs, pairs, strict=True)
    }


def _ms(time: list[bytes]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000
