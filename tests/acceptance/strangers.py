"""Programs of somebody else's on our streams: `redis-cli`, a service written with Node's `redis` package, and plain
redis-py with its defaults.

Real clients of other makers, which know nothing of us. Which there are depends on the machine; `tests/run.py` brings
all of them where there is apt. Node itself comes with Playwright.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol, Self

import playwright
import redis

NODE_MODULES = Path("/usr/share/nodejs")  # where Debian's packages are
SCRIPT = Path(__file__).with_name("stranger.js")


class Stranger(Protocol):
    """What a stranger does on a stream, named by its key."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...

    def add(self, stream: str, fields: dict[str, str]) -> str:
        """XADD; the entry's id."""

    def join(self, stream: str, group: str) -> None:
        """A group of its own, from the stream's first entry on."""

    def read(self, stream: str, group: str, count: int) -> list[tuple[str, dict[str, str]]]:
        """The group's next entries, which are then pending."""

    def acknowledge(self, stream: str, group: str, ids: list[str]) -> int:
        """XACK; how many were pending."""


class RedisCli:
    """One process a command, as in a shell script."""

    def __init__(self, socket: str) -> None:
        self._command = ["redis-cli", "-2", "--json", "-e", "-s", socket]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def add(self, stream: str, fields: dict[str, str]) -> str:
        return str(self._run("XADD", stream, "*", *(word for pair in fields.items() for word in pair)))

    def join(self, stream: str, group: str) -> None:
        assert self._run("XGROUP", "CREATE", stream, group, "0", "MKSTREAM") == "OK"

    def read(self, stream: str, group: str, count: int) -> list[tuple[str, dict[str, str]]]:
        words = ("GROUP", group, "cli", "COUNT", str(count), "STREAMS", stream, ">")
        found = self._run("XREADGROUP", *words) or [[stream, []]]
        return [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in found[0][1]]

    def acknowledge(self, stream: str, group: str, ids: list[str]) -> int:
        return int(self._run("XACK", stream, group, *ids))

    def _run(self, *words: str) -> Any:
        done = subprocess.run([*self._command, *words], capture_output=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class NodeService:
    """One process with one connection."""

    def __init__(self, socket: str) -> None:
        environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}
        self._process = subprocess.Popen(
            [_node(), str(SCRIPT), socket],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.communicate(timeout=20)  # the end of its input is its end

    def add(self, stream: str, fields: dict[str, str]) -> str:
        return str(self._told(deed="add", stream=stream, fields=fields))

    def join(self, stream: str, group: str) -> None:
        assert self._told(deed="join", stream=stream, group=group) == "OK"

    def read(self, stream: str, group: str, count: int) -> list[tuple[str, dict[str, str]]]:
        found = self._told(deed="read", stream=stream, group=group, who="node", count=count)
        return [(entry, fields) for entry, fields in found]

    def acknowledge(self, stream: str, group: str, ids: list[str]) -> int:
        return int(self._told(deed="acknowledge", stream=stream, group=group, ids=ids))

    def _told(self, **words: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the service has ended"
        return json.loads(line)


class RedisPy:
    """A Python program without us."""

    def __init__(self, socket: str) -> None:
        self._redis: Any = redis.Redis(unix_socket_path=socket, decode_responses=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._redis.close()

    def add(self, stream: str, fields: dict[str, str]) -> str:
        return str(self._redis.xadd(stream, fields))

    def join(self, stream: str, group: str) -> None:
        assert self._redis.xgroup_create(stream, group, "0", mkstream=True)

    def read(self, stream: str, group: str, count: int) -> list[tuple[str, dict[str, str]]]:
        found = self._redis.xreadgroup(group, "py", {stream: ">"}, count=count)
        return [(entry, fields) for _, rows in found for entry, fields in rows]

    def acknowledge(self, stream: str, group: str, ids: list[str]) -> int:
        return int(self._redis.xack(stream, group, *ids))


def strangers() -> dict[str, type[RedisCli | NodeService | RedisPy]]:
    """Those within reach on this machine, by name."""
    found: dict[str, type[RedisCli | NodeService | RedisPy]] = {"redis-py": RedisPy}
    if shutil.which("redis-cli"):
        found["redis-cli"] = RedisCli
    if _node_redis() >= 4:
        found["node"] = NodeService
    return found


def _node_redis() -> int:
    """The major version of Node's package, 0 where there is none. Before 4 it had no streams."""
    with contextlib.suppress(OSError):
        return int(json.loads((NODE_MODULES / "redis" / "package.json").read_bytes())["version"].split(".")[0])
    return 0


def _node() -> str:
    """A Node on PATH, else the one that Playwright runs on."""
    return shutil.which("node") or str(Path(playwright.__file__).parent / "driver" / "node")
