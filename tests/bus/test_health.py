"""What is wrong with a server, from what it says of itself: words that tell what to do."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.core.checks import run_checks

import bus
from bus import health, inspect
from bus.config import Config
from bus.health import Finding
from bus.inspect import ServerState
from bus.streams import Client
from bus.wire import Operation

GOOD = ServerState(product="valkey", version="9.1.0", aof=True, appendfsync="always", maxmemory_policy="noeviction")
STRICT = Config(url="redis://127.0.0.1:6379/0")


def found(config: Config = STRICT, **changes: Any) -> list[Finding]:
    return health.findings(msgspec.structs.replace(GOOD, **changes), config)


def test_a_server_as_it_should_be_is_fine() -> None:
    [finding] = found()
    assert (finding.level, finding.seen) == ("fine", "strict: synced to disk before each answer")


@pytest.mark.parametrize(
    ("changes", "level", "kind"),
    [
        ({"loading": True}, "error", "loading"),
        ({"aof_writes": False}, "error", "disk"),
        ({"snapshots": True, "snapshot_saved": False}, "error", "snapshot"),
        ({"snapshots": True, "snapshot_saved": False, "stops_at_failed_snapshot": False}, "warning", "snapshot"),
        ({"role": "slave"}, "error", "replica"),
        ({"role": "master", "replicas": 1}, "warning", "replicas"),
        ({"used_memory": 100, "maxmemory": 100}, "error", "memory"),
        ({"used_memory": 80, "maxmemory": 100}, "warning", "memory"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 100}, "error", "eviction"),
        ({"maxmemory_policy": "allkeys-lru"}, "warning", "eviction"),
        ({"maxmemory_policy": "volatile-lru", "maxmemory": 100}, "warning", "eviction"),
        ({"aof": False}, "error", "persistence"),
        ({"appendfsync": "everysec"}, "warning", "durability"),
        ({"offset_ms": 1_001}, "warning", "clock"),
        ({"offset_ms": -1_001}, "warning", "clock"),
        ({"settings_known": False, "appendfsync": ""}, "warning", "settings"),
    ],
)
def test_each_trouble_is_found_and_says_what_to_do(changes: dict[str, Any], level: str, kind: str) -> None:
    [finding] = found(**changes)
    assert (finding.level, finding.kind) == (level, kind)
    assert finding.seen
    assert finding.advice


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "master", "replicas": 1, "min_replicas": 1},
        {"used_memory": 79, "maxmemory": 100},
        {"used_memory": 10**12},
        {"offset_ms": 999},
        {"snapshots": False, "snapshot_saved": False},
    ],
)
def test_what_is_no_trouble_is_not_said(changes: dict[str, Any]) -> None:
    assert [finding.level for finding in found(**changes)] == ["fine"]


def test_whoever_asks_for_relaxed_durability_is_not_warned_of_it() -> None:
    relaxed = replace(STRICT, durability="relaxed")
    assert [finding.level for finding in found(relaxed, appendfsync="everysec")] == ["fine"]
    assert [finding.level for finding in found(relaxed, aof=False)] == ["warning"]


@pytest.mark.parametrize(
    ("product", "version", "is_holed"),
    [
        ("redis", "7.0.15", True),
        ("redis", "7.2.10", True),
        ("redis", "7.2.11", False),
        ("redis", "7.4.5", True),
        ("redis", "8.0.4", False),
        ("redis", "8.2.2", True),
        ("redis", "8.4.0", False),
        ("valkey", "7.2.10", True),
        ("valkey", "8.0.5", True),
        ("valkey", "8.0.6", False),
        ("valkey", "8.1.4", False),
        ("valkey", "9.0.0", False),
        ("valkey", "unknown", False),
    ],
)
def test_versions_with_a_known_hole_are_named(product: str, version: str, is_holed: bool) -> None:
    kinds = [finding.kind for finding in found(product=product, version=version)]
    assert kinds == (["version"] if is_holed else ["fine"])


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("redis://redis.internal:6379/0", True),
        ("redis://:secret@redis.internal:6379/0", False),
        ("redis://localhost/0", False),
        ("unix:///run/valkey.sock", False),
        (None, False),
    ],
)
def test_a_server_on_the_network_without_a_password_is_found(url: str | None, is_open: bool) -> None:
    kinds = [finding.kind for finding in found(replace(STRICT, url=url))]
    assert kinds == (["open"] if is_open else ["fine"])


def test_errors_come_first() -> None:
    assert [finding.level for finding in found(offset_ms=9_999, role="slave")] == ["error", "warning"]


def test_a_real_server_is_checked_and_its_warnings_are_logged_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    health.report(client, logging.getLogger("bus.tests"))
    assert [line for line in caplog.messages if line.startswith("Less durable than BUS asks for: relaxed: synced once")]
    assert "The server keeps no log" not in caplog.text


def test_a_server_that_refuses_config_says_what_could_not_be_checked(client: Client) -> None:
    def refused(*command: bytes) -> Operation[None]:
        return Operation([command], lambda _: None)

    client.run(refused(b"ACL", b"SETUSER", b"shy", b"on", b"nopass", b"~*", b"+@all", b"-config"))
    try:
        operation = inspect.server()
        acting = [(b"AUTH", b"shy", b"x"), *operation.commands, (b"AUTH", b"default", b"")]
        state = client.run(
            Operation(acting, lambda replies: operation.parse(replies[1:4]), tolerated=operation.tolerated)
        )
    finally:
        client.run(refused(b"ACL", b"DELUSER", b"shy"))
    assert not state.settings_known
    assert "settings" in [finding.kind for finding in health.findings(state, client.config)]


def test_streams_tell_their_lengths_and_what_they_ever_held(client: Client) -> None:
    add = (b"XADD", f"{client.config.prefix}:{{orders/0}}".encode(), b"1-1", b"type", b"t")
    client.run(Operation([add], lambda _: None))
    orders, none = client.run(inspect.streams(client.config.prefix, [("orders", 0), ("none", 0)]))
    assert (orders.events, orders.added, orders.newest, orders.journal) == (1, 1, "1-1", 0)
    assert (none.events, none.newest) == (0, "0-0")
    [size] = client.run(inspect.memory(client.config.prefix, [("orders", 0)]))
    assert size


def test_the_deployment_check_asks_the_server_and_no_other_check_does(config: Config, tmp_path: Path) -> None:
    try:
        bus.configure(url=config.url, data_folder=tmp_path)
        [message] = run_checks(tags=["bus"], include_deployment_checks=True)
        assert (message.id, "Less durable" in message.msg) == ("bus.W002", True)
        bus.configure(data_folder=tmp_path)
        assert [message.id for message in run_checks(tags=["bus"], include_deployment_checks=True)] == ["bus.W001"]
        assert run_checks(tags=["bus"]) == []
    finally:
        bus.configure(**settings.BUS)
