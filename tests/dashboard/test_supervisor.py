"""The supervisor: what it says, when it starts a program again, and that it leaves none behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dashboard.supervisor import Program, Supervisor

WaitUntil = Callable[..., Any]


def interrupt_when(condition: Callable[[], bool], wait_until: WaitUntil) -> None:
    """Press Ctrl-C once the condition holds: in a thread, since the supervisor keeps the main one."""

    def press() -> None:
        try:
            wait_until(condition, seconds=30)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


def test_lines_carry_the_name_of_their_program(capfd: pytest.CaptureFixture[str], wait_until: WaitUntil) -> None:
    said: list[str] = []
    interrupt_when(lambda: len(said) >= 2, wait_until)
    Supervisor([Program("short", ["version"]), Program("longer-name", ["version"])], said.append).run()
    lines = capfd.readouterr().out.splitlines()
    assert any(line.startswith("short       | 5.2") for line in lines)
    assert any(line.startswith("longer-name | 5.2") for line in lines)


def test_a_program_that_ends_is_started_again_ever_more_slowly(wait_until: WaitUntil) -> None:
    said: list[str] = []
    interrupt_when(lambda: len(said) >= 2, wait_until)
    Supervisor([Program("broken", ["no-such-command"])], said.append).run()
    assert said[0] == "broken ended with code 1; starting it again in 1 s"
    assert said[1] == "broken ended with code 1; starting it again in 2 s"


def test_an_error_of_what_it_tends_stops_every_program(capfd: pytest.CaptureFixture[str]) -> None:
    turns: list[int] = []

    def tend() -> None:
        turns.append(1)
        if len(turns) > 3:
            raise RuntimeError("the server can't be started again")

    away = {"BUS_URL": "redis://127.0.0.1:1/0"}
    said: list[str] = []
    supervisor = Supervisor([Program("shop", ["shop"], environment=away)], said.append, tend=tend)
    with pytest.raises(RuntimeError, match="again"):
        supervisor.run()
    assert not any(child.is_running() for child in supervisor._children)
