"""The wire: operations as values, and the sync and async clients that run them.

The only module that imports redis. An `Operation` is a pipeline of packed commands and a function that
reads their replies, so nothing is written twice for sync and async. Nothing is ever retried here: a lost
reply raises `ServerUnavailable`, since sending XADD again would store the event twice.

Keys (all of one partition share a hash tag, so that one script is one slot):
  <prefix>:{<topic>/<n>}              events          stream
  <prefix>:{<topic>/<n>}:journal      journal         stream
  <prefix>:{<topic>/<n>}:meta         subscriptions   hash, `sub:<group>` → packed subscription
  <prefix>:{<topic>/<n>}:due:<g>      retries         zset, entry → due ms
  <prefix>:{<topic>/<n>}:busy:<g>     ordered groups  hash, key → the entry that has it
  <prefix>:{<topic>/<n>}:parked:<g>   ordered groups  zset of equal scores, `<digest of key>:<padded entry>`
  <prefix>:{<topic>/<n>}:dead:<g>     dead letters    stream, each with a copy of its event
  <prefix>:{<topic>/<n>}:crashes:<g>  crash counts    hash, entry → times its worker died
  <prefix>:{<topic>/<n>}:seen:<id>    publish dedupe  string with a time to live
  {<prefix>}:topics                   catalogue       hash, topic → number of partitions
  {<prefix>}:workers                  heartbeats      zset, worker → last beat in ms
  {<prefix>}:workers:info             heartbeats      hash, worker → JSON
  {<prefix>}:recorded                 announcements   pub/sub
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry

from bus import server
from bus.config import Config
from bus.errors import ConfigError, ServerError, ServerRefused, ServerTooOld, ServerUnavailable
from bus.journal import Step

T = TypeVar("T")
Command = Sequence[bytes]

REPLY_SECONDS: Final = 5.0  # how long a reply may take beyond the time that a blocking read asks for
PARKED: Final = b"~"  # the owner of entries that wait for their retry
_FLOORS: Final = {"valkey": (7, 2), "redis": (7, 0)}


@dataclass(frozen=True)
class Operation(Generic[T]):
    """Commands for one round trip, and what their replies mean.

    `tolerated`: by code, what `parse` gets in the place of an error reply instead of an exception.
    """

    commands: Sequence[Command]
    parse: Callable[[list[Any]], T]
    block_seconds: float = 0.0
    tolerated: Mapping[str, Any] = field(default_factory=dict)


def together(*operations: Operation[Any]) -> Operation[list[Any]]:
    """Several operations in one round trip; the results in their order."""

    def parse(replies: list[Any]) -> list[Any]:
        rest = iter(replies)
        return [operation.parse([next(rest) for _ in operation.commands]) for operation in operations]

    return Operation(
        [command for operation in operations for command in operation.commands],
        parse,
        block_seconds=sum(operation.block_seconds for operation in operations),
        tolerated={code: value for operation in operations for code, value in operation.tolerated.items()},
    )


@dataclass(frozen=True)
class Keys:
    """The keys of one partition of a topic."""

    prefix: str
    topic: str
    partition: int

    @property
    def events(self) -> bytes:
        return f"{self.prefix}:{{{self.topic}/{self.partition}}}".encode()

    @property
    def journal(self) -> bytes:
        return self.events + b":journal"

    @property
    def meta(self) -> bytes:
        return self.events + b":meta"

    def due(self, group: str) -> bytes:
        return self.events + b":due:" + group.encode()

    def dead(self, group: str) -> bytes:
        return self.events + b":dead:" + group.encode()

    def busy(self, group: str) -> bytes:
        return self.events + b":busy:" + group.encode()

    def parked(self, group: str) -> bytes:
        return self.events + b":parked:" + group.encode()

    def crashes(self, group: str) -> bytes:
        return self.events + b":crashes:" + group.encode()

    def seen(self, event_id: str) -> bytes:
        return self.events + b":seen:" + event_id.encode()


def global_key(prefix: str, name: str) -> bytes:
    """A key that belongs to no partition."""
    return f"{{{prefix}}}:{name}".encode()


@dataclass(frozen=True)
class Script:
    """A Lua script and its digest."""

    text: bytes
    digest: bytes


@cache
def script(name: str) -> Script:
    """The script `scripts/<name>.lua` behind the functions that all scripts share."""
    folder = Path(__file__).parent / "scripts"
    steps = ", ".join(f"{step.name} = {step.value}" for step in Step)
    parts = [(folder / part).read_bytes() for part in ("_shared.lua", f"{name}.lua")]
    return made_script(b"".join([f"local STEP = {{{steps}}}\n".encode(), *parts]))


def made_script(text: bytes) -> Script:
    """A script from its text, known to all clients: one that its server forgot is sent again."""
    made = Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())
    _SCRIPTS[made.digest] = made
    return made


_SCRIPTS: dict[bytes, Script] = {}


def call(name: str, keys: Sequence[bytes], args: Sequence[bytes]) -> Command:
    """The command that runs script `name`."""
    return (b"EVALSHA", script(name).digest, b"%d" % len(keys), *keys, *args)


def pack(commands: Sequence[Command]) -> bytes:
    """Commands in RESP. By hand: redis-py's packer costs more than the server's own work."""
    out: list[bytes] = []
    for command in commands:
        out.append(b"*%d\r\n" % len(command))
        out += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"".join(out)


class Client:
    """Runs operations, one connection per call in flight. Safe to share between threads."""

    def __init__(self, pool: redis.ConnectionPool, config: Config) -> None:
        self._pool = pool
        self.config = config

    def run(self, operation: Operation[T]) -> T:
        """Run it. Raises `ServerUnavailable` (it may have been carried out or not) or `ServerRefused`."""
        try:
            replies = self._exchange(operation.commands, operation.block_seconds)
            missing = _missing_scripts(replies)
            if missing:
                again = self._exchange([c for index in missing for c in _with_load(operation.commands[index])], 0)
                for place, index in enumerate(missing):
                    replies[index] = again[2 * place + 1]
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise _unavailable(self.config, error) from None
        return operation.parse(_checked(replies, operation.tolerated))

    def _exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        connection = self._pool.get_connection()
        try:
            connection.send_packed_command([pack(commands)], check_health=False)
            return [_read(connection, REPLY_SECONDS + block_seconds) for _ in commands]
        except BaseException:
            connection.disconnect()  # a reply may still come: this connection can't be used again
            raise
        finally:
            self._pool.release(connection)

    def close(self) -> None:
        self._pool.disconnect()


class AsyncClient:
    """Runs operations from one event loop."""

    def __init__(self, pool: redis.asyncio.ConnectionPool, config: Config) -> None:
        self._pool = pool
        self.config = config

    async def run(self, operation: Operation[T]) -> T:
        """Run it. Raises `ServerUnavailable` (it may have been carried out or not) or `ServerRefused`."""
        try:
            replies = await self._exchange(operation.commands, operation.block_seconds)
            missing = _missing_scripts(replies)
            if missing:
                again = await self._exchange([c for index in missing for c in _with_load(operation.commands[index])], 0)
                for place, index in enumerate(missing):
                    replies[index] = again[2 * place + 1]
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise _unavailable(self.config, error) from None
        return operation.parse(_checked(replies, operation.tolerated))

    async def _exchange(self, commands: Sequence[Command], block_seconds: float) -> list[Any]:
        connection: Any = await self._pool.get_connection()
        try:
            await connection.send_packed_command([pack(commands)], check_health=False)
            return [await _aread(connection, REPLY_SECONDS + block_seconds) for _ in commands]
        except BaseException:
            await connection.disconnect()
            raise
        finally:
            await self._pool.release(connection)

    async def listen(self, channel: bytes) -> AsyncIterator[bytes]:
        """What is announced on `channel` from now on. Raises `ServerUnavailable` when the connection ends."""
        pubsub = redis.asyncio.Redis(connection_pool=self._pool).pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(channel)
            async for heard in pubsub.listen():
                yield heard["data"]
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise _unavailable(self.config, error) from None
        finally:
            await pubsub.aclose()

    async def aclose(self) -> None:
        await self._pool.disconnect()


def connect(config: Config) -> Client:
    """A client of the server behind the bus, which has answered and is new enough.

    Raises `ServerUnavailable`, `ServerTooOld` or `ServerRefused`.
    """
    options = _options(resolve(config))
    pool = redis.ConnectionPool.from_url(options.pop("url"), max_connections=4096, **options)
    client = Client(pool, config)
    check_version(client.run(Operation([(b"INFO", b"server")], lambda replies: replies[0])))
    return client


def aconnect(config: Config) -> AsyncClient:
    """An async client; it connects with its first operation. Raises `ServerUnavailable` without an address."""
    options = _options(resolve(config))
    return AsyncClient(redis.asyncio.ConnectionPool.from_url(options.pop("url"), **options), config)


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


def _options(url: str) -> dict[str, Any]:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(f"expected BUS_URL like redis://host:6379/0, rediss://… or unix:///path, got {url!r}")
    return {
        "url": url,
        "protocol": 2,
        "socket_timeout": REPLY_SECONDS,
        "socket_connect_timeout": REPLY_SECONDS,
        "retry": RedisRetry(NoBackoff(), 0),
        "health_check_interval": 0,
    }


def _read(connection: Any, seconds: float) -> Any:
    try:
        return connection.read_response(timeout=seconds, disconnect_on_error=False)
    except redis.ResponseError as error:
        return error


async def _aread(connection: Any, seconds: float) -> Any:
    try:
        return await connection.read_response(timeout=seconds, disconnect_on_error=False)
    except redis.ResponseError as error:
        return error


def _missing_scripts(replies: list[Any]) -> list[int]:
    return [index for index, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]


def _with_load(command: Command) -> tuple[Command, Command]:
    return (b"SCRIPT", b"LOAD", _SCRIPTS[command[1]].text), command


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
    first = str(error).partition(" ")[0]
    return first if first.isupper() else "ERR"


def _refused(error: redis.ResponseError) -> ServerError:
    text = " ".join(str(error).split())[:300]
    advice = _ADVICE.get(_code(error))
    if advice is None:
        for name, said in _ADVICE.items():
            if name in text:
                advice = said
                break
    return ServerRefused(f"the server refused: {text}" + (f"; {advice}" if advice else ""))


_ADVICE: Final = {
    "OOM": "it is out of memory: raise maxmemory, or let the groups that are behind catch up",
    "MISCONF": "it can't write to its disk: free space there",
    "READONLY": "it is a replica: point BUS_URL at the primary",
    "NOAUTH": "put the password into BUS_URL: redis://:password@host:6379/0",
    "WRONGPASS": "put the right user and password into BUS_URL",
    "NOPERM": "grant its user the commands named in the README",
    "WRONGTYPE": "another program uses the same key: choose another BUS['prefix']",
}


def _unavailable(config: Config, error: Exception) -> ServerUnavailable:
    where = shown(config.url) if config.url else f"embedded in {config.data_folder}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ServerUnavailable(f"no answer from the server ({where}): {reason}; start it, or correct BUS_URL")


def shown(url: str) -> str:
    """The URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else url
