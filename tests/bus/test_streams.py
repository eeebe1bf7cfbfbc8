"""The wire: nothing is sent twice, every kind of trouble has a clear error, clients recover."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from bus import operations
from bus.config import Config
from bus.errors import ConfigError, ServerRefused, ServerTooOld, ServerUnavailable
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client, aconnect, check_version, connect, shown
from bus.wire import Operation, pack
from tests.bus.swallower import Swallower


def length(client: Client, key: bytes) -> int:
    return client.run(Operation([(b"XLEN", key)], lambda replies: int(replies[0])))


def test_a_lost_reply_is_an_error_and_stores_the_event_once(client: Client, swallower: Swallower) -> None:
    publisher = Publisher(replace(client.config, url=swallower.url))
    publisher.publish(publisher.draft("orders", "t", 0))  # from now on the server knows the script
    swallower.swallow.set()
    with pytest.raises(ServerUnavailable):
        publisher.publish(publisher.draft("orders", "t", 1))
    assert length(client, Keys(client.config.prefix, "orders", 0).events) == 2


def test_nobody_at_the_address_says_where_and_what_to_do(config: Config, free_port: int) -> None:
    with pytest.raises(
        ServerUnavailable, match=rf"no answer from the server \(redis://127.0.0.1:{free_port}/0\).*BUS_URL"
    ):
        connect(replace(config, url=f"redis://127.0.0.1:{free_port}/0"))


def test_no_address_at_all_says_how_to_get_a_server(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ServerUnavailable, match="expected BUS_URL, or an embedded server running on"):
        connect(replace(config, url=None, data_folder=tmp_path))


@pytest.mark.parametrize("url", ["localhost:6379", "http://x", "redis:/x"])
def test_an_address_of_another_kind_is_refused(config: Config, url: str) -> None:
    with pytest.raises(ConfigError, match="expected BUS_URL like redis://"):
        connect(replace(config, url=url))


@pytest.mark.parametrize(
    ("info", "found"),
    [
        (b"redis_version:6.2.14\r\n", "redis 6.2.14"),
        (b"redis_version:7.2.4\r\nvalkey_version:7.1.0\r\n", "valkey 7.1.0"),
        (b"", "redis of unknown version"),
    ],
)
def test_a_server_that_is_too_old_is_named(info: bytes, found: str) -> None:
    with pytest.raises(ServerTooOld, match=f"got {found}"):
        check_version(info)


@pytest.mark.parametrize(
    "info", [b"redis_version:7.0.15", b"redis_version:8.2.1", b"redis_version:7.2.4\nvalkey_version:7.2.5"]
)
def test_a_server_that_is_new_enough_is_taken(info: bytes) -> None:
    check_version(info)


def test_an_error_reply_is_refused_with_advice(client: Client) -> None:
    key = Keys(client.config.prefix, "orders", 0).events
    client.run(Operation([(b"SET", key, b"1")], len))
    with pytest.raises(ServerRefused, match=r"WRONGTYPE.*choose another BUS\['prefix'\]"):
        client.run(Operation([(b"XADD", key, b"*", b"a", b"b")], len))


def test_one_refused_command_spoils_no_later_call(client: Client) -> None:
    with pytest.raises(ServerRefused):
        client.run(Operation([(b"NOSUCH",), (b"PING",)], len))
    assert client.run(Operation([(b"PING",)], lambda replies: replies[0])) == b"PONG"


def test_sync_and_async_clients_run_the_same_operations(client: Client) -> None:
    keys = Keys(client.config.prefix, "orders", 0)

    async def run() -> bool:
        aclient = aconnect(client.config)
        try:
            await aclient.run(Operation([(b"SCRIPT", b"FLUSH")], len))
            return await aclient.run(operations.subscribe(keys, "g", SubscriptionRecord(), start="$", worker="w"))
        finally:
            await aclient.aclose()

    assert asyncio.run(run())
    assert not client.run(operations.subscribe(keys, "g", SubscriptionRecord(), start="$", worker="w"))


def test_an_idle_blocking_read_outlives_the_reply_time_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.streams.REPLY_SECONDS", 0.2)
    keys = Keys(client.config.prefix, "orders", 0)
    client.run(operations.subscribe(keys, "g", SubscriptionRecord(), start="$", worker="w"))
    assert client.run(operations.take_new(keys, "g", "w#0", count=1, block_ms=600)).events == []


async def ask_for_ever(config: Config) -> None:
    """As a loop does that outlives its server."""
    while True:
        aclient = aconnect(config)
        with contextlib.suppress(ServerUnavailable):
            try:
                while True:
                    await aclient.run(Operation([(b"PING",)], len))
            finally:
                await aclient.aclose()


def test_a_task_that_is_cancelled_ends_wherever_it_was(client: Client) -> None:
    async def is_ended(turns: int) -> bool:
        task = asyncio.create_task(ask_for_ever(client.config))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.done() or not task.cancel()  # a second time, so that this test ends

    assert [turns for turns in range(60) for _ in range(5) if not asyncio.run(is_ended(turns))] == []


def test_a_reply_that_does_not_come_is_an_error_for_async_code_too(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.streams.REPLY_SECONDS", 0.2)

    async def wait_for_nothing() -> None:
        aclient = aconnect(client.config)
        try:
            await aclient.run(Operation([(b"BLPOP", b"none", b"5")], len))
        finally:
            await aclient.aclose()

    with pytest.raises(ServerUnavailable, match=r"nothing within 0\.2 s"):
        asyncio.run(wait_for_nothing())


def test_the_first_address_that_answers_is_taken(client: Client, server_url: str, free_port: int) -> None:
    nobody = replace(client.config, url=f"redis://ann:a,b%40@127.0.0.1:{free_port},127.0.0.1:{free_port}/0")
    with pytest.raises(ServerUnavailable, match=rf"redis://…@127.0.0.1:{free_port},127.0.0.1:{free_port}/0"):
        connect(nobody)
    proxy = Swallower(server_url)
    several = replace(client.config, url=f"redis://127.0.0.1:{free_port},127.0.0.1:{proxy.port}/0")
    answering = connect(several)
    assert length(answering, b"none") == 0

    async def alength() -> int:
        aclient = aconnect(several)
        try:
            return await aclient.run(Operation([(b"XLEN", b"none")], lambda replies: int(replies[0])))
        finally:
            await aclient.aclose()

    assert asyncio.run(alength()) == 0
    answering.close()
    proxy.close()


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack([(b"GET", b""), (b"SET", b"k", b"\r\n")]) == (
        b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("url", "safe"),
    [("redis://h:1/0", "redis://h:1/0"), ("redis://u:secret@h:1/0", "redis://…@h:1/0"), ("unix:///x", "unix:///x")],
)
def test_an_address_is_shown_without_its_password(url: str, safe: str) -> None:
    assert shown(url) == safe
