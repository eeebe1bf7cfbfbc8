"""The clients: sync and async, they run operations and turn every kind of trouble into an error of ours.

Only this module and `nodes`, its half for clusters, import redis. Nothing is ever retried here: a lost reply raises
`ServerUnavailable`, since sending XADD again would store the event twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from bus import server
from bus.config import Config
from bus.errors import ConfigError, ServerError, ServerRefused, ServerTooOld, ServerUnavailable, one_line
from bus.nodes import TROUBLE, AsyncNodes, Nodes, aread, is_clustered, patience, read
from bus.wire import Command, Operation, T, pack, with_load

REPLY_SECONDS: Final = 5.0  # how long a reply may take beyond the time that a blocking read asks for
_FLOORS: Final = {"valkey": (7, 2), "redis": (7, 0)}
_INFO: Final = (b"INFO", b"server")


class Client:
    """Runs operations, one connection per call in flight. Safe to share between threads."""

    def __init__(self, pool: redis.ConnectionPool, config: Config, reply_seconds: float = REPLY_SECONDS) -> None:
        self._pool = pool
        self._nodes: Nodes | None = None  # of a cluster
        self.config = config
        self._reply_seconds = reply_seconds

    def run(self, operation: Operation[T]) -> T:
        """Run it. Raises `ServerUnavailable` (it may have been carried out or not) or `ServerRefused`."""
        return self._end(operation, lambda: self._exchange(operation.commands, operation.block_seconds))

    def begin(self, operation: Operation[T]) -> Callable[[], T]:
        """Send it, and go on; what comes back is to be called, once, for its result. Both raise as `run` does.

        In a cluster it is run when the result is asked for: which node has it may not be known before.
        """
        if self._nodes is not None:
            return lambda: self.run(operation)
        try:
            connection = self._send(operation.commands)
        except TROUBLE as error:
            raise _unavailable(self.config, error) from None
        except redis.ResponseError as error:
            raise _refused(error) from None
        return lambda: self._end(
            operation, lambda: self._receive(connection, len(operation.commands), operation.block_seconds)
        )

    def _end(self, operation: Operation[T], exchange: Callable[[], list[Any]]) -> T:
        try:
            replies = exchange()
            missing = _missing_scripts(replies)
            if missing:
                again = self._exchange([c for index in missing for c in with_load(operation.commands[index])], 0)
                for place, index in enumerate(missing):
                    replies[index] = again[2 * place + 1]
        except TROUBLE as error:
            raise _unavailable(self.config, error) from None
        except redis.ResponseError as error:  # of the hello, not of a command
            raise _refused(error) from None
        return operation.parse(_checked(replies, operation.tolerated))

    def meet(self) -> None:
        """Check the server's version, in a cluster that of every node."""
        info = self.run(Operation([_INFO], lambda replies: replies[0]))
        check_version(info)
        if is_clustered(info):
            self._nodes = Nodes(self._pool, self._reply_seconds)
            try:
                others = self._nodes.infos()
            except TROUBLE as error:
                raise _unavailable(self.config, error) from None
            for other in others:
                check_version(other)

    def _exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        if self._nodes is not None:
            return self._nodes.exchange(commands, block_seconds)
        return self._receive(self._send(commands), len(commands), block_seconds)

    def _send(self, commands: Sequence[Command]) -> Any:
        """The connection that the commands went out on."""
        connection = self._pool.get_connection()
        try:
            connection.send_packed_command([pack(commands)], check_health=False)
        except BaseException:
            connection.disconnect()
            self._pool.release(connection)
            raise
        return connection

    def _receive(self, connection: Any, count: int, block_seconds: float) -> list[Any]:
        seconds = self._reply_seconds + block_seconds if block_seconds else None
        try:
            return [read(connection, seconds) for _ in range(count)]
        except BaseException:
            connection.disconnect()  # a reply may still come: this connection can't be used again
            raise
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        self._pool.disconnect()
        if self._nodes is not None:
            self._nodes.close()


class AsyncClient:
    """Runs operations from one event loop."""

    def __init__(self, pools: Sequence[redis.asyncio.ConnectionPool], config: Config) -> None:
        self._pool = pools[0]
        self._seeds = pools  # one for each address that BUS_URL names
        self._nodes: AsyncNodes | None = None  # of a cluster
        self._met = False
        self._meeting = asyncio.Lock()
        self.config = config

    async def run(self, operation: Operation[T]) -> T:
        """Run it. Raises `ServerUnavailable` (it may have been carried out or not) or `ServerRefused`."""
        try:
            if not self._met:
                await self._meet()
            replies = await self._exchange(operation.commands, operation.block_seconds)
            missing = _missing_scripts(replies)
            if missing:
                again = await self._exchange([c for index in missing for c in with_load(operation.commands[index])], 0)
                for place, index in enumerate(missing):
                    replies[index] = again[2 * place + 1]
        except TROUBLE as error:
            raise _unavailable(self.config, error) from None
        except redis.ResponseError as error:  # of the hello, not of a command
            raise _refused(error) from None
        return operation.parse(_checked(replies, operation.tolerated))

    async def _meet(self) -> None:
        """Find an address that answers, and learn whether it is a node of a cluster."""
        async with self._meeting:
            for number, pool in enumerate(self._seeds, 1):
                if self._met:
                    return
                self._pool = pool
                try:
                    [info] = await self._exchange([_INFO], 0)
                except TROUBLE:
                    if number == len(self._seeds):
                        raise
                    continue
                self._nodes = AsyncNodes(pool, REPLY_SECONDS) if is_clustered(info) else None
                self._met = True

    async def _exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        if self._nodes is not None:
            return await self._nodes.exchange(commands, block_seconds)
        async with patience(REPLY_SECONDS):
            connection: Any = await self._pool.get_connection()
        try:
            async with patience(REPLY_SECONDS):
                await connection.send_packed_command([pack(commands)], check_health=False)
            return [await aread(connection, REPLY_SECONDS + block_seconds) for _ in commands]
        except BaseException:
            await connection.disconnect()
            raise
        finally:
            await self._pool.release(connection)

    async def listen(self, channel: bytes) -> AsyncIterator[bytes]:
        """What is announced on `channel` from now on. Raises `ServerUnavailable` when the connection ends."""
        pool = self._nodes.any_pool() if self._nodes is not None else self._pool
        pubsub = redis.asyncio.Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
        try:
            async with patience(REPLY_SECONDS):
                await pubsub.subscribe(channel)
            async for heard in pubsub.listen():
                yield heard["data"]
        except TROUBLE as error:
            raise _unavailable(self.config, error) from None
        finally:
            await pubsub.aclose()

    async def aclose(self) -> None:
        await self._pool.disconnect()
        if self._nodes is not None:
            await self._nodes.aclose()


def connect(config: Config, *, reply_seconds: float = REPLY_SECONDS) -> Client:
    """A client of the server behind the bus, which has answered and is new enough.

    `reply_seconds`: the patience of whoever has something else to show meanwhile.
    Raises `ServerUnavailable`, `ServerTooOld` or `ServerRefused`.
    """
    *others, last = _addresses(resolve(config))
    for url in others:
        with contextlib.suppress(ServerUnavailable):
            return _met(url, config, reply_seconds)
    return _met(last, config, reply_seconds)


def _met(url: str, config: Config, reply_seconds: float) -> Client:
    pool = redis.ConnectionPool.from_url(url, max_connections=4096, **_options(reply_seconds))
    client = Client(pool, config, reply_seconds)
    client.meet()
    return client


def aconnect(config: Config) -> AsyncClient:
    """An async client; it connects with its first operation. Raises `ServerUnavailable` without an address."""
    urls = _addresses(resolve(config))
    return AsyncClient([redis.asyncio.ConnectionPool.from_url(url, **_options(None)) for url in urls], config)


def resolve(config: Config) -> str:
    """The server's URL: the one configured, else the running embedded server of the data folder."""
    url = config.url or server.address(config.data_folder)
    if url is None:
        raise ServerUnavailable(
            f"no server: expected BUS_URL, or an embedded server running on {config.data_folder}; start one"
            " with 'manage.py up', or set BUS_URL=redis://host:6379/0"
        )
    return url


def check_version(info: bytes) -> None:
    """Raise `ServerTooOld` unless INFO tells of Redis ≥ 7.0 or Valkey ≥ 7.2."""
    lines = dict(line.partition(":")[::2] for line in info.decode("utf-8", "replace").splitlines())
    product = "valkey" if "valkey_version" in lines else "redis"
    version = lines.get(f"{product}_version", "")
    floor = _FLOORS[product]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < floor:
        raise ServerTooOld(
            f"expected Redis 7.0 or newer, or Valkey 7.2 or newer, got {product} {version or 'of unknown version'};"
            " upgrade it, or unset BUS_URL to use the embedded server"
        )


def _addresses(url: str) -> list[str]:
    """One URL for each address in it: redis://a:7000,b:7000/0 names two nodes of a cluster."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(f"expected BUS_URL like redis://host:6379/0, rediss://… or unix:///path, got {url!r}")
    scheme, _, rest = url.partition("://")
    place, slash, database = rest.partition("/")
    who, at, hosts = place.rpartition("@")
    return [f"{scheme}://{who}{at}{host}{slash}{database}" for host in hosts.split(",")]


def _options(reply_seconds: float | None) -> dict[str, Any]:
    """What connections are made with. None: without a timeout of their own, see `patience`."""
    return {
        "protocol": 2,
        "socket_timeout": reply_seconds,
        "socket_connect_timeout": reply_seconds,
        "retry": RedisRetry(NoBackoff(), 0),
        "health_check_interval": 0,
    }


def _missing_scripts(replies: list[Any]) -> list[int]:
    return [index for index, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]


def _checked(replies: list[Any], tolerated: Mapping[str, Any]) -> list[Any]:
    for index, reply in enumerate(replies):
        if isinstance(reply, redis.ResponseError):
            if _code(reply) not in tolerated:
                raise _refused(reply)
            replies[index] = tolerated[_code(reply)]
    return replies


def _code(error: redis.ResponseError) -> str:
    """The error's code, as it came: redis-py cuts it off for the kinds that it has classes for."""
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return "OOM"
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return "READONLY"
    if isinstance(error, redis.exceptions.NoPermissionError):
        return "NOPERM"
    first = str(error).partition(" ")[0]
    return first if first.isupper() else "ERR"


def _refused(error: redis.ResponseError) -> ServerError:
    text = one_line(error, 300)
    if isinstance(error, redis.exceptions.ClusterDownError):
        return ServerUnavailable(f"no answer from the cluster: {text}; look at CLUSTER INFO and CLUSTER NODES")
    advice = _ADVICE.get(_code(error))
    if advice is None:
        for name, said in _ADVICE.items():
            if name in text:
                advice = said
                break
    return ServerRefused(f"the server refused: {text}" + (f"; {advice}" if advice else ""))


_CREDENTIALS: Final = "put the right user and password into BUS_URL: redis://user:password@host:6379/0"
_ADVICE: Final = {
    "OOM": "it is out of memory: raise maxmemory, or let the groups that are behind catch up",
    "MISCONF": "it can't write to its disk: free space there",
    "READONLY": "it is a replica: point BUS_URL at the primary",
    "NOAUTH": _CREDENTIALS,
    "WRONGPASS": _CREDENTIALS,
    "unauthenticated": _CREDENTIALS,  # Redis 7.0 to a stranger's long command
    "NOPERM": "grant its user the commands named in the README",
    "WRONGTYPE": "another program uses the same key: choose another BUS['prefix']",
}


def _unavailable(config: Config, error: Exception) -> ServerError:
    where = shown(config.url) if config.url else f"embedded in {config.data_folder}"
    reason = one_line(error, 200) or type(error).__name__
    if isinstance(error, redis.exceptions.AuthenticationError):  # an error of the connection, as redis-py sees it
        return ServerRefused(f"the server ({where}) refused: {reason}; {_CREDENTIALS}")
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return ServerUnavailable(f"the server ({where}) reads its data into memory and serves when that is done; wait")
    return ServerUnavailable(f"no answer from the server ({where}): {reason}; start it, or correct BUS_URL")


def shown(url: str) -> str:
    """The URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url
