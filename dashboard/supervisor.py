"""Runs the processes of one machine as one: starts them, shows their lines, restarts a crashed one, stops all.

Knows processes; must not know what they do. Each child has its own session, so that Ctrl-C reaches the
supervisor alone, and a lifeline, so that no child outlives it, however it ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from bus import lifeline

ROOT: Final = Path(__file__).resolve().parent.parent
POLL_SECONDS: Final = 0.2
STOP_SECONDS: Final = 20.0  # a worker finishes the handlers that run
STEADY_SECONDS: Final = 60.0  # after this long a crash counts as the first one again
MAX_BACKOFF_SECONDS: Final = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """A `manage.py` command to keep running. `descriptors` are open files that it inherits."""

    name: str
    arguments: Sequence[str]
    descriptors: Sequence[int] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Child:
    """One program's process, and when to start it again."""

    def __init__(self, program: Program, width: int, lifeline_end: int) -> None:
        self.program = program
        self._prefix = f"{program.name:<{width}} | "
        self._lifeline_end = lifeline_end
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._crashes = 0
        self._due: float | None = None

    def start(self) -> None:
        """Start it; its lines appear on our standard output, each under its name."""
        self._due, self._started = None, time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *self.program.arguments],
            env={**os.environ, **self.program.environment, **self._own_environment()},
            pass_fds=[self._lifeline_end, *self.program.descriptors],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._show_lines, args=(self._process,), daemon=True)
        self._reader.start()

    def tend(self, say: Say) -> None:
        """Say when it crashed, and start it again when its time has come."""
        if self._due is not None:
            if time.monotonic() >= self._due:
                self.start()
        elif self._process is not None and (code := self._process.poll()) is not None:
            say(f"{self.program.name} {_ending(code)}; starting it again in {self._back_off():g} s")

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def show_rest(self) -> None:
        """Wait until its last lines are shown; not for ever, since a grandchild may hold its output open."""
        if self._reader is not None:
            self._reader.join(1.0)

    def _back_off(self) -> float:
        now = time.monotonic()
        self._crashes = 1 if now - self._started > STEADY_SECONDS else self._crashes + 1
        delay = min(2.0 ** (self._crashes - 1), MAX_BACKOFF_SECONDS)
        self._due = now + delay
        return delay

    def _own_environment(self) -> dict[str, str]:
        return {lifeline.PIPE_VARIABLE: str(self._lifeline_end), "PYTHONUNBUFFERED": "1"}

    def _show_lines(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                # One write a line: lines of several children never mix within one.
                sys.stdout.write(f"{self._prefix}{line.rstrip()}\n")
                sys.stdout.flush()


class Supervisor:
    """Keeps programs running until Ctrl-C or SIGTERM; then none of them is left."""

    def __init__(self, programs: Sequence[Program], say: Say, *, tend: Callable[[], None] = lambda: None) -> None:
        """`say` shows a line to the person; `tend` is called a few times a second, for what else needs care."""
        self._say = say
        self._tend_rest = tend
        reading_end, self._writing_end = os.pipe()
        width = max(len(program.name) for program in programs)
        self._children = [Child(program, width, reading_end) for program in programs]

    def run(self) -> None:
        """Start all, then watch over them. Returns when asked to stop (KeyboardInterrupt), with all stopped."""
        try:
            for child in self._children:
                child.start()
            while True:
                self._tend_rest()
                for child in self._children:
                    child.tend(self._say)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._say("stopping; once more to stop at once")
        finally:
            self._stop()

    def _stop(self) -> None:
        try:
            self._signal_and_wait(signal.SIGTERM, STOP_SECONDS)
        except KeyboardInterrupt:
            self._say("stopping at once")
        finally:
            self._signal_and_wait(signal.SIGKILL, STOP_SECONDS)
            for child in self._children:
                child.show_rest()

    def _signal_and_wait(self, number: signal.Signals, seconds: float) -> None:
        for child in self._children:
            child.signal(number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(child.is_running() for child in self._children):
            time.sleep(POLL_SECONDS / 4)


def interrupt_on_terminate() -> None:
    """Treat SIGTERM and a closed terminal like Ctrl-C, so that there is one way to stop."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
