"""What is wrong with the server behind the bus, and what to do about it.

Pure, but for `report`, which asks the server and logs: from what the server says of itself to findings in words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from bus import inspect
from bus.config import Config
from bus.errors import ServerError
from bus.inspect import ServerState
from bus.streams import Client

Level = Literal["error", "warning", "fine"]

MAX_OFFSET_MS: Final = 1_000
MEMORY_SHARE: Final = 0.8
# The first release of each line in which a script can't run code on the server (CVE-2025-49844) and, in Redis 8.2,
# XACKDEL can't either (CVE-2025-62507). A line that is not named had it from its beginning, or will never get it.
PATCHED: Final = {
    "redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 3},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
_UNPATCHED: Final = {"redis": (7, 1), "valkey": (7, 1)}  # lines up to here get no more fixes


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong (or fine): what was seen, and what to do. `kind` is one word for scripts."""

    level: Level
    kind: str
    title: str
    seen: str
    advice: str = ""

    @property
    def line(self) -> str:
        """All of it in one line, for a log."""
        return f"{self.title}: {self.seen}" + (f"; {self.advice}" if self.advice else "")


def findings(state: ServerState, config: Config) -> list[Finding]:
    """What is wrong with the server, errors first; one finding that says so when nothing is."""
    found = [finding for check in _CHECKS for finding in check(state, config)]
    if not found:
        return [Finding("fine", "fine", "The server is as it should be", durability(state))]
    return sorted(found, key=lambda finding: finding.level != "error")


def away(trouble: str, *, since: str = "") -> Finding:
    """The finding when nobody answers. `since`: when somebody last did, in words."""
    seen = f"since {since}: {trouble}" if since else trouble
    return Finding(
        "error", "away", "The server does not answer", seen, "bring it back: publishers and workers go on by themselves"
    )


def durability(state: ServerState) -> str:
    """What the server's persistence settings promise, in words."""
    if not state.aof:
        return (
            "snapshots only: a restart forgets what came after the last one"
            if state.snapshots
            else "none: a restart forgets everything"
        )
    return {
        "always": "strict: synced to disk before each answer",
        "everysec": "relaxed: synced once a second, a power cut may cost the last second",
        "no": "loose: synced when the operating system likes, a power cut may cost half a minute",
    }.get(state.appendfsync, "a log on disk, synced nobody may ask how often")


def report(client: Client, log: logging.Logger) -> None:
    """Say in the log, once, what is wrong with the server: a line for each error and warning."""
    try:
        found = findings(client.run(inspect.server()), client.config)
    except ServerError as error:
        log.warning("the server could not be checked: %s", error)
        return
    for finding in found:
        if finding.level != "fine":
            log.log(logging.ERROR if finding.level == "error" else logging.WARNING, "%s", finding.line)


def _loading(state: ServerState, _config: Config) -> Iterator[Finding]:
    if state.loading:
        yield Finding("error", "loading", "The server is starting", "it reads its data and serves nobody yet", "wait")


def _disk(state: ServerState, _config: Config) -> Iterator[Finding]:
    advice = "free space on its disk, or mend it; the server goes on by itself"
    if not state.aof_writes:
        seen = "its last write to the log failed, so it refuses to change anything"
        yield Finding("error", "disk", "The server can't write to its disk", seen, advice)
    if state.snapshots and not state.snapshot_saved:
        stops = state.stops_at_failed_snapshot
        seen = "its last snapshot failed" + (", so it refuses to change anything" if stops else "")
        yield Finding("error" if stops else "warning", "snapshot", "The server can't save a snapshot", seen, advice)


def _replica(state: ServerState, _config: Config) -> Iterator[Finding]:
    if state.role == "slave":
        advice = "point BUS_URL at the primary, or make this one the primary"
        yield Finding("error", "replica", "The server is a read-only replica", "it refuses every change", advice)
    elif state.role == "master" and state.replicas and not state.min_replicas and state.settings_known:
        seen = f"{state.replicas} connected, and it answers without waiting for one: a failover forgets what came last"
        advice = "set min-replicas-to-write 1 and min-replicas-max-lag 2"
        yield Finding("warning", "replicas", "Replicas may be behind", seen, advice)


def _memory(state: ServerState, _config: Config) -> Iterator[Finding]:
    if not state.maxmemory or state.used_memory < MEMORY_SHARE * state.maxmemory:
        return
    full = state.used_memory >= state.maxmemory
    seen = f"{_megabytes(state.used_memory)} of {_megabytes(state.maxmemory)} MB used"
    refuses = ": publishing is refused, settling goes on" if full else ": when it is full, publishing is refused"
    advice = "raise maxmemory, lower BUS['retention_events'], or let the groups that are behind catch up"
    title = "The server is out of memory" if full else "The server's memory is nearly full"
    yield Finding("error" if full else "warning", "memory", title, seen + refuses, advice)


def _eviction(state: ServerState, _config: Config) -> Iterator[Finding]:
    policy = state.maxmemory_policy
    if policy in ("", "noeviction"):
        return
    hits_streams = policy.startswith("allkeys") and state.maxmemory > 0
    what = "events and whole groups" if policy.startswith("allkeys") else "the memory of published ids"
    seen = f"maxmemory-policy {policy}: when it is full it throws away {what}"
    if state.evicted_keys:
        seen += f"; {state.evicted_keys:,} keys are gone already"
    level: Level = "error" if hits_streams else "warning"
    yield Finding(level, "eviction", "The server may throw data away", seen, "set maxmemory-policy noeviction")


def _persistence(state: ServerState, config: Config) -> Iterator[Finding]:
    strict = config.durability == "strict"
    if not state.aof:
        advice = "set appendonly yes and appendfsync always"
        level: Level = "error" if strict else "warning"
        yield Finding(level, "persistence", "The server keeps no log on disk", durability(state), advice)
    elif strict and state.appendfsync in ("everysec", "no"):
        advice = "set appendfsync always, or BUS['durability'] = \"relaxed\" where that is good enough"
        yield Finding("warning", "durability", "Less durable than BUS asks for", durability(state), advice)


def _clock(state: ServerState, _config: Config) -> Iterator[Finding]:
    if abs(state.offset_ms) > MAX_OFFSET_MS:
        which = "ahead of" if state.offset_ms > 0 else "behind"
        seen = f"its clock is {abs(state.offset_ms) / 1000:,.1f} s {which} this machine's: ages and retries look wrong"
        yield Finding("warning", "clock", "Clocks differ", seen, "run an NTP client on both machines")


def _version(state: ServerState, _config: Config) -> Iterator[Finding]:
    numbers = [int(part) for part in state.version.split(".")[:3] if part.isdigit()]
    if len(numbers) < 3:
        return
    line, patch = (numbers[0], numbers[1]), numbers[2]
    fixed = PATCHED[state.product].get(line)
    if (fixed is None and line > _UNPATCHED[state.product]) or (fixed is not None and patch >= fixed):
        return
    advice = f"upgrade to {line[0]}.{line[1]}.{fixed} or newer" if fixed is not None else "upgrade to a later line"
    advice += ", unless whoever packaged it has mended it there"
    seen = f"{state.product} {state.version} lets a script run code on the server (CVE-2025-49844)"
    yield Finding("warning", "version", "The server has a known hole", seen, advice)


def _settings(state: ServerState, _config: Config) -> Iterator[Finding]:
    if not state.settings_known:
        seen = "CONFIG GET is refused: how often it syncs and whether it waits for replicas nobody could check"
        yield Finding("warning", "settings", "Not everything could be checked", seen, "grant +config|get, or see to it")


def _open(_state: ServerState, config: Config) -> Iterator[Finding]:
    parts = urlsplit(config.url or "")
    local = parts.hostname in (None, "localhost", "::1") or str(parts.hostname).startswith("127.")
    if parts.scheme in ("redis", "rediss") and not local and not parts.password:
        seen = f"{parts.hostname} lets everybody in who reaches it"
        yield Finding("warning", "open", "The server asks for no password", seen, "set one, and put it into BUS_URL")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


_CHECKS: Final[tuple[Callable[[ServerState, Config], Iterator[Finding]], ...]] = (
    _loading, _disk, _replica, _memory, _eviction, _persistence, _clock, _version, _settings, _open,
)  # fmt: skip
