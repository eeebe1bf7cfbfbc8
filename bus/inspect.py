"""How the bus is doing: groups, workers and the server, as it says itself. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bus.keys import Keys, global_key
from bus.tail import Partition
from bus.wire import Operation


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """A group's place on one partition. `due`: retries that wait; `pending` includes them."""

    topic: str
    partition: int
    group: str
    last_delivered: str
    newest: str
    pending: int
    due: int = 0
    dead: int = 0
    oldest_pending: str = ""


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
    """The server behind the bus, from INFO. `used_memory` in bytes."""

    product: str
    version: str
    used_memory: int
    aof: bool
    appendfsync: str
    maxmemory_policy: str
    uptime_seconds: int
    now_ms: int


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
        ]

    def parse(replies: list[Any]) -> list[GroupState]:
        return [_state(partition, row, replies[3 * i : 3 * i + 3]) for i, (partition, row) in enumerate(found)]

    return Operation(commands or [(b"PING",)], parse, tolerated={"NOGROUP": None})


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
    """Version, memory and persistence of the server."""

    def parse(replies: list[Any]) -> ServerState:
        info = dict(line.partition(":")[::2] for line in replies[0].decode("utf-8", "replace").splitlines())
        product = "valkey" if "valkey_version" in info else "redis"
        setting = replies[1] or []
        return ServerState(
            product=product,
            version=info.get(f"{product}_version", ""),
            used_memory=int(info.get("used_memory", 0)),
            aof=info.get("aof_enabled") == "1",
            appendfsync=setting[1].decode() if len(setting) > 1 else "",
            maxmemory_policy=info.get("maxmemory_policy", ""),
            uptime_seconds=int(info.get("uptime_in_seconds", 0)),
            now_ms=_ms(replies[2]),
        )

    commands = [(b"INFO",), (b"CONFIG", b"GET", b"appendfsync"), (b"TIME",)]
    return Operation(commands, parse, tolerated={"NOPERM": None, "ERR": None})


def _state(partition: Partition, row: dict[str, Any], replies: list[Any]) -> GroupState:
    pending = replies[2] or [0, None]
    return GroupState(
        topic=partition[0],
        partition=partition[1],
        group=row["name"],
        last_delivered=row["last-delivered-id"],
        newest=row["newest"],
        pending=int(pending[0]),
        due=int(replies[0]),
        dead=int(replies[1]),
        oldest_pending=pending[1].decode() if pending[1] else "",
    )


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
