"""The nodes of a cluster: a pool of connections to each, and the conversations of `bus.cluster` held over them.

Sync and async. Knows connections; which node is asked what, and what its answer means, is `cluster`'s business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import redis
import redis.asyncio

from bus.cluster import Address, Answers, Cluster, Redirect, Round, Talk
from bus.wire import Command, pack

T = TypeVar("T")
TROUBLE: Final = (redis.ConnectionError, redis.TimeoutError, OSError)


class Nodes:
    """Asks the nodes of a cluster. Safe to share between threads."""

    def __init__(self, pool: redis.ConnectionPool, reply_seconds: float) -> None:
        self._seed = pool
        self._pools: dict[Address, redis.ConnectionPool] = {_address_of(pool): pool}
        self._reply_seconds = reply_seconds
        self._cluster = Cluster(_address_of(pool))

    def exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        """The replies, in the commands' order. Raises one of `TROUBLE`, or `ServerUnavailable`."""
        return self._hold(self._cluster.converse(commands, block_seconds), block_seconds)

    def infos(self) -> list[bytes]:
        """INFO of every primary that answers."""
        return self._hold(self._cluster.infos(), 0)

    def close(self) -> None:
        for pool in list(self._pools.values()):
            pool.disconnect()

    def _hold(self, talk: Talk[T], block_seconds: float) -> T:
        try:
            step = next(talk)
            while True:
                if step.wait_seconds:  # sleep(0) takes its time too
                    time.sleep(step.wait_seconds)
                step = talk.send(self._ask(step, self._reply_seconds + block_seconds))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed knows no better

    def _ask(self, step: Round, seconds: float) -> Answers:
        asked: dict[Address, Any] = {}
        answers: dict[Address, list[Any] | Exception] = {}
        try:
            for address, commands in step.requests.items():
                try:
                    asked[address] = self._pool_of(address).get_connection()
                    asked[address].send_packed_command([pack(commands)], check_health=False)
                except TROUBLE as error:
                    answers[address] = error
            for address in [address for address in asked if address not in answers]:
                try:
                    answers[address] = [told(read(asked[address], seconds)) for _ in step.requests[address]]
                except TROUBLE as error:
                    answers[address] = error
        finally:
            for address, connection in asked.items():
                if not isinstance(answers.get(address), list):
                    connection.disconnect()  # a reply may still come: this connection can't be used again
                self._pool_of(address).release(connection)
        return answers

    def _pool_of(self, address: Address) -> redis.ConnectionPool:
        return self._pools.get(address) or self._pools.setdefault(
            address, redis.ConnectionPool(**_options_at(self._seed, address, redis.Connection))
        )


class AsyncNodes:
    """Asks the nodes of a cluster from one event loop."""

    def __init__(self, pool: redis.asyncio.ConnectionPool, reply_seconds: float) -> None:
        self._seed = pool
        self._pools: dict[Address, redis.asyncio.ConnectionPool] = {_address_of(pool): pool}
        self._reply_seconds = reply_seconds
        self._cluster = Cluster(_address_of(pool))

    async def exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        """The replies, in the commands' order. Raises one of `TROUBLE`, or `ServerUnavailable`."""
        talk = self._cluster.converse(commands, block_seconds)
        try:
            step = next(talk)
            while True:
                if step.wait_seconds:
                    await asyncio.sleep(step.wait_seconds)
                step = talk.send(await self._ask(step, self._reply_seconds + block_seconds))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed knows no better

    def any_pool(self) -> redis.asyncio.ConnectionPool:
        """Connections to a node, of those that answer: what is announced on one, all hear."""
        return self._pool_of(self._cluster.node_of(None))

    async def aclose(self) -> None:
        for pool in list(self._pools.values()):
            await pool.disconnect()

    async def _ask(self, step: Round, seconds: float) -> Answers:
        asked: dict[Address, Any] = {}
        answers: dict[Address, list[Any] | Exception] = {}
        try:
            for address, commands in step.requests.items():
                try:
                    async with patience(self._reply_seconds):
                        asked[address] = await self._pool_of(address).get_connection()
                        await asked[address].send_packed_command([pack(commands)], check_health=False)
                except TROUBLE as error:
                    answers[address] = error
            for address in [address for address in asked if address not in answers]:
                try:
                    answers[address] = [told(await aread(asked[address], seconds)) for _ in step.requests[address]]
                except TROUBLE as error:
                    answers[address] = error
        finally:
            for address, connection in asked.items():
                if not isinstance(answers.get(address), list):
                    await connection.disconnect()
                await self._pool_of(address).release(connection)
        return answers

    def _pool_of(self, address: Address) -> redis.asyncio.ConnectionPool:
        return self._pools.get(address) or self._pools.setdefault(
            address, redis.asyncio.ConnectionPool(**_options_at(self._seed, address, redis.asyncio.Connection))
        )


def is_clustered(info: object) -> bool:
    """Whether INFO tells that its server is one node of a cluster."""
    return isinstance(info, bytes) and b"_mode:cluster" in info


def read(connection: Any, seconds: float | None) -> Any:
    """One reply; an error is a reply too. None: within the time that the connection was made with, which is cheaper."""
    try:
        if seconds is None:
            return connection.read_response(disconnect_on_error=False)
        return connection.read_response(timeout=seconds, disconnect_on_error=False)
    except redis.ResponseError as error:
        return error


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise `redis.TimeoutError` when what is awaited takes longer.

    Async connections have no timeout of their own: redis-py sends by `asyncio.wait_for` then, which loses
    a cancellation on Python 3.11, and a task that was to end goes on for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise redis.TimeoutError(f"nothing within {seconds:g} s") from None


async def aread(connection: Any, seconds: float) -> Any:
    """`read` for async code."""
    try:
        async with patience(seconds):
            return await connection.read_response(disconnect_on_error=False)
    except redis.ResponseError as error:
        return error


def told(reply: Any) -> Any:
    """The reply, or the redirection that it is."""
    if isinstance(reply, redis.exceptions.AskError):  # MOVED is a kind of it
        moved = isinstance(reply, redis.exceptions.MovedError)
        return Redirect((reply.host, reply.port), reply.slot_id, asking=not moved)
    return Redirect() if isinstance(reply, redis.exceptions.TryAgainError) else reply


def _address_of(pool: Any) -> Address:
    """Where a pool connects to; a unix socket is on this machine."""
    return pool.connection_kwargs.get("host", "127.0.0.1"), int(pool.connection_kwargs.get("port", 0))


def _options_at(pool: Any, address: Address, plain: type) -> dict[str, Any]:
    """The options of a pool like this one, to another address."""
    options = {name: value for name, value in pool.connection_kwargs.items() if name != "path"}
    kind = pool.connection_class if "path" not in pool.connection_kwargs else plain
    return {
        **options,
        "host": address[0],
        "port": address[1],
        "connection_class": kind,
        "max_connections": pool.max_connections,
    }
