"""The runner itself: a minute of faults breaks nothing, and each safety that is left out is found out."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.processes import ROOT
from tests.faults.schedule import FAULTS, counts_for, schedule
from tests.servers import programs

LEAST = {"worker_kills": 30, "server_kills": 5, "recorder_kills": 5, "zombies": 10}
SERVERS = sorted({"valkey-9", "redis-7"} & programs().keys())


def attack(*words: str) -> tuple[int, dict[str, Any]]:
    """Run it, and what it says: exit code and table."""
    command = [sys.executable, "-m", "tests.faults", "--json", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert ended.returncode in (0, 1), ended.stderr[-2000:]
    return ended.returncode, json.loads(ended.stdout)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_a_minute_of_faults_breaks_no_promise(server: str) -> None:
    code, said = attack("--seconds", "60", "--seed", "1", "--server", server)
    assert said["examples"] == {}
    assert (code, said["durability"]) == (0, "appendfsync always")
    assert {kind: said["faults"][kind] for kind, least in LEAST.items() if said["faults"][kind] < least} == {}
    assert said["events"] > 500
    assert said["seen"]["stale_settles"]
    assert said["seen"]["stopped_by_the_inbox"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("words", "broken"),
    [
        ("--without inbox --seconds 5 --rate 50 --server-kills 0", "effects doubled"),
        ("--without fence --seconds 6 --zombies 6 --worker-kills 0 --server-kills 0", "settled twice"),
        ("--relaxed --seconds 8 --server-kills 2 --worker-kills 0 --server-pauses 0", "lost"),
    ],
)
def test_a_safety_that_is_left_out_is_found_out(words: str, broken: str) -> None:
    code, said = attack("--seed", "2", *words.split())
    assert code == 1
    assert said["found"][broken]
    assert said["examples"][broken]


def test_a_seed_decides_the_schedule() -> None:
    counts = counts_for(60, {})
    assert schedule(7, 60, counts) == schedule(7, 60, counts)
    assert schedule(7, 60, counts) != schedule(8, 60, counts)
    assert {kind: n for kind, n in LEAST.items() if counts[kind] < n} == {}


def test_every_kind_of_fault_comes_as_often_as_asked() -> None:
    counts = {kind: number for number, kind in enumerate(FAULTS)}
    steps = [step for some in schedule(1, 10, counts).values() for step in some]
    assert {kind: sum(step.kind == kind for step in steps) for kind in FAULTS} == counts
    assert all(0 <= step.at < 10 for step in steps)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--server", "redis-1"], "expected one of "),
        (["--seconds", "0"], "expected a number above 0"),
        (["--zombies", "-1"], "expected 0 or more"),
    ],
)
def test_bad_words_are_refused(words: list[str], said: str) -> None:
    command = [sys.executable, "-m", "tests.faults", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
