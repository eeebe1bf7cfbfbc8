"""Operations as values: commands for one round trip, and what their replies mean.

An `Operation` is run by a sync or an async client (`bus.streams`), so that nothing is written twice. Knows the
protocol and how scripts are named; must not know connections.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from bus.journal import Step

T = TypeVar("T")
Command = Sequence[bytes]


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


class Framed(tuple[bytes, ...]):
    """A command that is packed already. What it holds beside says where it goes: its name and its key."""

    frame: bytes


def frame_of(head: Sequence[bytes], frame: bytes) -> Framed:
    """A command from its RESP, made by a template; `head` is its name and its key."""
    made = Framed(head)
    made.frame = frame
    return made


def template(name: str, fields: Sequence[bytes]) -> str:
    """RESP of `name key * field value…`, to be filled with length and text of the key and of every value."""
    parts = [f"*{3 + 2 * len(fields)}\r\n${len(name)}\r\n{name}\r\n$%d\r\n%s\r\n$1\r\n*\r\n"]
    return "".join(parts + [f"${len(field)}\r\n{field.decode()}\r\n$%d\r\n%s\r\n" for field in fields])


def pack(commands: Sequence[Command]) -> bytes:
    """Commands in RESP. By hand: redis-py's packer costs more than the server's own work."""
    out: list[bytes] = []
    for command in commands:
        if isinstance(command, Framed):
            out.append(command.frame)
            continue
        out.append(b"*%d\r\n" % len(command))
        out += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"".join(out)


def with_load(command: Command) -> tuple[Command, Command]:
    """A script's command behind the one that sends the script: for a server that forgot it."""
    return (b"SCRIPT", b"LOAD", _SCRIPTS[command[1]].text), command
