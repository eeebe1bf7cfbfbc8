"""Processes of ours that faults are done to: killed, stopped, and started again whenever they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bus.lifeline import PIPE_VARIABLE

ROOT: Final = Path(__file__).resolve().parents[2]
STEP_SECONDS: Final = 0.02
START_AGAIN_SECONDS: Final = 0.3  # after one that ended by itself, since the server was away
STOP_SECONDS: Final = 40.0

Ready = Callable[[bytes], bool]  # from what the process has said so far


class Process:
    """`manage.py` with some arguments; what it says goes to a file. Safe to use from several threads."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], ready: Ready
    ) -> None:
        self.name = name
        self._command = [sys.executable, "manage.py", *arguments]
        self._log = folder / f"{name}.log"
        self._environment = environment
        self._says_ready = ready
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0
        self._started = 0.0
        self._is_stopped = False
        self.ends: Counter[str] = Counter()
        self._lifeline = os.pipe()  # closes with us, however we end, and then the process ends too

    def start(self) -> None:
        with self._lock, open(self._log, "ab") as log:
            self._said_before = log.tell()
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**self._environment, PIPE_VARIABLE: str(self._lifeline[0])},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self._lifeline[0]],
            )

    def is_ready(self) -> bool:
        """Whether it runs, not stopped, and has said that it does its work."""
        with self._lock:
            if self._is_stopped or self._process is None or self._process.poll() is not None:
                return False
            with open(self._log, "rb") as log:
                log.seek(self._said_before)
                return self._says_ready(log.read())

    def kill(self) -> bool:
        """kill -9, unless it is not at work. Result: whether it was."""
        with self._lock:
            if not self.is_ready() or self._process is None:
                return False
            self._process.kill()
            self._process.wait()
            self._process = None
            return True

    def freeze(self) -> bool:
        """SIGSTOP, unless it is not at work. Result: whether it was."""
        with self._lock:
            if not self.is_ready() or self._process is None:
                return False
            self._process.send_signal(signal.SIGSTOP)
            self._is_stopped = True
            return True

    def wake(self) -> None:
        with self._lock:
            if self._is_stopped and self._process:
                self._process.send_signal(signal.SIGCONT)
            self._is_stopped = False

    def keep_alive(self) -> None:
        """Start it again if it has ended."""
        with self._lock:
            code = self._process.poll() if self._process else None
            if self._process and code is not None:
                self.ends["killed itself" if code == -signal.SIGKILL else f"exit {code}"] += 1
                self._process = None
            if self._process is None and time.monotonic() - self._started > START_AGAIN_SECONDS:
                self.start()

    def stop(self) -> int | None:
        """Stop it as a person would: its exit code, or None when it had to be killed."""
        self.wake()
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def end(self) -> None:
        """Whatever happened: it must not outlive us."""
        with self._lock:
            if self._process:
                self._process.kill()
                self._process.wait()
                self._process = None
        for descriptor in self._lifeline:
            os.close(descriptor)

    def said(self, part: bytes) -> int:
        """How often its log has `part`."""
        return self._log.read_bytes().count(part) if self._log.exists() else 0


class Keeper:
    """Starts processes again whenever they end, until told to stop."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(STEP_SECONDS):
            for process in self._processes:
                process.keep_alive()
