"""The same tests on every server within reach, and on a cluster of three nodes: a server is fit when all of them pass.

Most of them are the tests of `tests/bus` again, which know nothing of the server that they run on.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bus.conftest import client, config  # noqa: F401  # fixtures
from tests.servers import Cluster, Server, programs

SERVERS = sorted(programs())
CLUSTER = "valkey-9"  # whose nodes the cluster has


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that stop sooner: here they are stopped hundreds of times."""
    monkeypatch.setattr("bus.cycle.IDLE_SECONDS", 0.2)


@pytest.fixture(scope="session", params=[*SERVERS, f"{CLUSTER}-cluster"])
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each server in turn. A cluster's is that of any node."""
    folder = tmp_path_factory.mktemp(request.param)
    name = str(request.param).removesuffix("-cluster")
    with Server(programs()[name], folder) if name == request.param else Cluster(programs()[name], folder) as server:
        yield server.url
