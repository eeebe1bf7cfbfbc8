"""Fixtures that every test may use: a real server on a private folder, a free port, waiting with a deadline."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bus.config import Config
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.subscription import Registry, Subscription
from bus.worker import Worker

# What needs a database with several writers runs where there is one: `python -m tests.on_postgres`.
collect_ignore = [] if os.environ.get("TEST_DATABASE_URL") else ["postgres"]

T = TypeVar("T")
STEP_SECONDS = 0.02

WaitUntil = Callable[..., Any]
RunWorker = Callable[..., AbstractContextManager[Worker]]


def pytest_report_header() -> str:
    from tests.servers import programs  # which imports this module

    return f"servers: {', '.join(sorted(programs()))}, and a cluster"


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ.get("BUS_DATA", ""), ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a parallel run sends home: captured logs may hold lone surrogates, which can't be sent."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    return type(value)(map(_sendable, value)) if isinstance(value, list | tuple) else value


def wait_for(condition: Callable[[], T], *, seconds: float = 10.0, what: str = "") -> T:
    """The first true answer of `condition`; fails loudly when there is none before the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what or condition}; the last answer was {answer!r}")
        time.sleep(STEP_SECONDS)
    return answer


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """`wait_until(condition, seconds=10, what="…")`: polls, because a fixed sleep is too long or too short."""
    return wait_for


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the session's server."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server_url(server_folder: Path) -> Iterator[str]:
    """The URL of a real server that all tests of the session share: use a prefix or topics of your own.

    TEST_SERVER_URL names another one: `TEST_SERVER_URL=redis://127.0.0.1:6379/0 pytest tests/bus`.
    """
    if other := os.environ.get("TEST_SERVER_URL"):
        yield other
        return
    with EmbeddedServer(server_folder, durability="relaxed") as server:
        yield server.url


@pytest.fixture
def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def publisher(config: Config) -> Iterator[Publisher]:
    """Publishes on the bus that the folder's own `config` fixture describes."""
    made = Publisher(config)
    yield made
    made.close()


@pytest.fixture
def run_worker(config: Config) -> RunWorker:
    """`with run_worker(subscription, …) as worker:` handles deliveries in threads until the block ends."""

    @contextmanager
    def run(*subscriptions: Subscription, **changes: Any) -> Iterator[Worker]:
        registry = Registry()
        for subscription in subscriptions:
            registry.add(subscription)
        worker = Worker(replace(config, **changes), registry=registry)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        assert worker.ready.wait(10), "the worker did not start"
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(10)
            assert not thread.is_alive(), "the worker did not stop"

    return run
