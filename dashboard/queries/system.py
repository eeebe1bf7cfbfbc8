"""Is this tool itself healthy? The server, the recorder, workers, streams, the read model, versions."""

from __future__ import annotations

import platform
import time
import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

import django
from django.conf import settings
from django.db import connection

import bus
from bus import health, tail
from bus.event import entry_ms
from bus.inspect import ServerState, StreamState, WorkerState
from bus.operations import entry_order
from bus.streams import shown
from bus.tail import START, Position
from dashboard.queries.bus_state import AGAIN_SECONDS, BusState, BusStreams, ask, bus_state, bus_streams
from dashboard.queries.findings import everything, recordings
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.projections import projections
from dashboard.record.due import due
from dashboard.record.limits import limits, size_on_disk
from dashboard.record.presence import REBUILD, SILENT_MS
from dashboard.record.spans import count_between

MAX_ROWS: Final = 50


def system() -> dict[str, Any]:
    """Everything that the System page shows. Quick also while the server is away: then it says since when."""
    now_ms = int(time.time() * 1000)
    state, places, recorders = bus_state(), partitions(), recordings()
    streams = bus_streams()
    return {
        "now_ms": now_ms,
        "again_seconds": AGAIN_SECONDS,
        "findings": everything(state, recorders, places.values(), now_ms),
        "server": _server(state),
        "recorders": [
            {**row, "alive": now_ms - row["beat_ms"] < SILENT_MS, "rebuilds": row["name"].startswith(REBUILD)}
            for row in recorders[:MAX_ROWS]
        ],
        "partitions": _partitions(places, streams, state, now_ms + (state.server.offset_ms if state.server else 0)),
        "workers": _workers(state),
        "projections": projections(places),
        "model": _model(places.values()),
        "versions": _versions(),
    }


def _server(state: BusState) -> dict[str, Any]:
    config = bus.config()
    where = shown(config.url) if config.url else f"embedded, in {config.data_folder}"
    server: ServerState | None = state.server
    known = {} if server is None else {**_fields(server), "durability": health.durability(server)}
    return {
        "available": state.available,
        "answered_ms": state.answered_ms or None,
        "trouble": state.trouble,
        "where": where,
        "prefix": config.prefix,
        **known,
    }


def _fields(server: ServerState) -> dict[str, Any]:
    return {name: getattr(server, name) for name in server.__struct_fields__}


def _partitions(
    places: Mapping[tuple[str, int], PartitionRow], streams: BusStreams, state: BusState, now_ms: int
) -> dict[str, Any]:
    """The partitions, those that the recorder is behind on first, then the longest."""
    by_name = {(stream.topic, stream.partition): stream for stream in streams.streams}
    dead: dict[tuple[str, int], int] = {}
    for (topic, number, _), group in state.groups.items():
        dead[topic, number] = dead.get((topic, number), 0) + group.dead
    late_ms = _late_ms(places, by_name, now_ms)
    found = [
        {
            **_partition(name, places.get(name), by_name.get(name)),
            "behind_ms": late_ms.get(name, 0) if name in by_name else None,
            "dead": dead.get(name, 0) if state.available else None,
            "memory": streams.memory.get(name),
        }
        for name in sorted({*places, *by_name})
    ]
    found.sort(key=lambda row: (-(row["behind_ms"] or 0), -(row["length"] or 0)))
    return {
        "rows": found[:MAX_ROWS],
        "of": len(found),
        "known": state.available,
        "behind_ms": max(late_ms.values(), default=0),
        "behind_events": sum(row["behind_events"] or 0 for row in found),
        "late": len(late_ms),
    }


def _partition(name: tuple[str, int], place: PartitionRow | None, stream: StreamState | None) -> dict[str, Any]:
    recorded = 0 if place is None else place.newest_number - count_between(place.forgotten, 0, place.newest_number)
    spans = place.forgotten if place else ()
    return {
        "topic": name[0],
        "number": name[1],
        "recorded": recorded,
        "trimmed": place.trimmed_number if place else 0,
        "rewinds": place.epoch if place else 0,
        "rewound_ms": max((span.at_ms for span in spans), default=None),
        "forgotten": sum(span.last - span.first + 1 for span in spans),
        "length": stream.events if stream else None,
        "journal": stream.journal if stream else None,
        "behind_events": _behind_events(stream, _position(place).events, recorded) if stream else None,
    }


def _position(place: PartitionRow | None) -> Position:
    return Position(place.events_cursor, place.journal_cursor) if place else Position()


def _behind_events(stream: StreamState, cursor: str, recorded: int) -> int:
    """Events that are yet to be recorded. The server counts what was ever added, trimmed or not."""
    if entry_order(stream.newest) <= entry_order(cursor):
        return 0
    return min(max(stream.added - recorded, 1), stream.events)


def _late_ms(
    places: Mapping[tuple[str, int], PartitionRow], streams: Mapping[tuple[str, int], StreamState], now_ms: int
) -> dict[tuple[str, int], int]:
    """For partitions of which something is yet to be recorded: how old the first of that is."""
    behind = {name: at for name in streams if _is_behind(streams[name], at := _position(places.get(name)))}
    firsts = ask(lambda prefix: tail.first_after(prefix, behind)) if behind else None
    moments = {name: [entry_ms(entry) for entry in first if entry != START] for name, first in (firsts or {}).items()}
    return {name: max(now_ms - min(found), 1) for name, found in moments.items() if found}


def _is_behind(stream: StreamState, at: Position) -> bool:
    return any(
        entry_order(newest) > entry_order(cursor)
        for newest, cursor in ((stream.newest, at.events), (stream.newest_record, at.journal))
    )


def _workers(state: BusState) -> dict[str, Any]:
    found: list[WorkerState] = sorted(state.workers, key=lambda worker: (worker.alive, -worker.started_ms))
    return {
        "rows": found[:MAX_ROWS],
        "of": len(found),
        "silent": sum(not worker.alive for worker in found),
        "known": state.available,
    }


def _model(places: Collection[PartitionRow]) -> dict[str, Any]:
    keep = limits()
    following, filled = due()
    return {
        "due": following,
        "filled": filled,
        "kind": {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(connection.vendor, connection.vendor),
        "name": str(settings.DATABASES["default"]["NAME"]),
        "size": size_on_disk(),
        "events": sum(place.newest_number - place.swept_number for place in places),
        "recorded": sum(place.newest_number for place in places),
        "keep_events": keep.events,
        "keep_days": keep.days,
        "keep_size": keep.size,
        "keep_stream": bus.config().retention_events,
    }


def _versions() -> list[tuple[str, str]]:
    return [("Fanlight", _own_version()), ("Django", django.get_version()), ("Python", platform.python_version())]


@cache
def _own_version() -> str:
    """Of this checkout: it is run, not installed."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return str(project["version"])
