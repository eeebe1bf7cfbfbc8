"""Runs the programs of peers, each in a process of its own that ends with this one, in bounded time."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, NamedTuple

import dashboard
from bus import lifeline
from dashboard.bench.latency import Latency
from dashboard.bench.pairs import Run
from dashboard.bench.peers.catalogue import Peer
from dashboard.bench.peers.program import ANSWER

PATIENCE_SECONDS: Final = 60.0  # for one program
_ROOT: Final = str(Path(dashboard.__file__).resolve().parent.parent)


class PeerFailed(Exception):
    """A peer's program ended without a figure, or took too long; its last words say why."""


class Both(NamedTuple):
    """What one turn measured: how fast events were published one by one, and then handled."""

    published: Run
    settled: Run


def turn(peer: Peer, url: str, events: int) -> Both:
    """Publish so many, then let one worker handle them. The server must be empty."""
    with _program(peer, "publish", url, events) as publisher:
        published = _answer(publisher)
    with _program(peer, "work", url, events) as worker:
        return Both(Run(*published), Run(*_answer(worker)))


def latency(peer: Peer, url: str, events: int, per_second: float) -> Latency:
    """How long so many take from being published to the handler, at an even pace. The server must be empty."""
    with _program(peer, "pace", url, events, per_second) as publisher:
        _answer(publisher)  # what it publishes to is made; some workers would make another one
        with _program(peer, "late", url, events) as worker:
            _answer(worker)
            publisher.go_on()
            cuts = quantiles(_answer(worker), n=100)
    return Latency(cuts[49], cuts[98])


class _Running:
    """One program, its answers and its last words."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str], log: Path) -> None:
        self.peer, self.process, self.log = peer, process, log
        self.too_late = False

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.too_late = True
        self.process.kill()

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _answer(running: _Running) -> Any:
    """What it says next. Other lines are a peer's own greetings."""
    assert running.process.stdout is not None
    for line in running.process.stdout:
        if line.startswith(ANSWER):
            return json.loads(line.removeprefix(ANSWER))
    if running.too_late:
        raise PeerFailed(f"{running.peer.name}: expected an answer within {PATIENCE_SECONDS:g} s, got none")
    raise PeerFailed(f"{running.peer.name}: expected a figure, got: {running.last_words()}")


@contextmanager
def _program(peer: Peer, *words: object) -> Iterator[_Running]:
    with tempfile.TemporaryDirectory(prefix="fan") as folder, (Path(folder) / "log").open("w") as log:
        process = subprocess.Popen(
            _command(sys.executable, "-m", f"dashboard.bench.peers.{peer.module}", *map(str, words)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=_environment(Path(folder)),
        )
        running = _Running(peer, process, Path(folder) / "log")
        patience = threading.Timer(PATIENCE_SECONDS, running.end)
        patience.start()
        try:
            yield running
        finally:
            patience.cancel()
            process.kill()
            process.communicate()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-E", "-S", lifeline.__file__, str(os.getpid()), *words]


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of ours that a peer would take for its own, such as Django's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "PYTHONPATH": _ROOT, "BUS_DATA": str(folder), "PYTHONUNBUFFERED": "1", "BUS_SOURCE": "bench"}


@contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """A NATS server with JetStream on a free port, for as long as the block runs."""
    program = shutil.which("nats-server")
    assert program, "asked before"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = _command(program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise PeerFailed("nats: expected nats-server to listen within 10 s, it did not") from None
            time.sleep(0.05)
