"""Real processes for the acceptance tests: run a command to its end, keep one running, count what is left."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command whose data folder is `folder`: nothing of the test session's own."""
    mine = {"BUS_DATA": str(folder), "HOME": str(folder.parent), "PYTHONUNBUFFERED": "1"}
    names = ("BUS_", "DATABASE_URL", "DJANGO_SETTINGS_MODULE", "FANLIGHT_")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {**rest, **mine, **(extra or {})}


def manage(
    folder: Path, *arguments: str, extra: Mapping[str, str] | None = None, stdin: IO[str] | None = None
) -> Ended:
    """Run `manage.py` with these arguments to its end."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder, extra),
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Running:
    """A process that keeps running, and its lines."""

    def __init__(self, command: list[str], *, folder: Path, cwd: Path, extra: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._arrived: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(folder, extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_line(self, part: str, seconds: float = 60.0) -> str:
        """The first line, from now on or before, that holds `part`."""
        deadline = time.monotonic() + seconds
        while True:
            is_all = not self._reader.is_alive()  # what a process said last may be read after its death
            if found := next((line for line in list(self.lines) if part in line), ""):
                return found
            if is_all or time.monotonic() > deadline:
                pytest.fail(f"no line with {part!r}; the lines were:\n" + "\n".join(self.lines))
            with contextlib.suppress(queue.Empty):
                self._arrived.get(timeout=0.1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as a person would, and its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        with contextlib.suppress(ValueError):  # closed under us at the end
            for line in self.process.stdout:
                self.lines.append(line.rstrip())
                self._arrived.put(line)


def running(folder: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> Running:
    """Keep `manage.py` with these arguments running."""
    return Running([sys.executable, "manage.py", *arguments], folder=folder, cwd=ROOT, extra=extra)


def processes_of(folder: Path) -> dict[int, str]:
    """Every living process that has this data folder in its environment or arguments: pid → command."""
    return dict(_processes_of(str(folder).encode()))


def _processes_of(folder: bytes) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if command and (folder in command or folder in (entry / "environ").read_bytes()):
                yield int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip()
