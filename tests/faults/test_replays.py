"""A replay that is killed half-way, again and again, hands back each dead letter once. A million of them by hand:
`python -m tests.faults.replays --letters 1000000`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.replays import Replays
from tests.servers import Server, programs

LETTERS = 5_000


@pytest.mark.timeout(300)
def test_a_replay_that_is_killed_half_way_can_be_run_again(tmp_path: Path) -> None:
    with Server(programs()["valkey-9"], tmp_path / "server") as server:
        replays = Replays(server, tmp_path, letters=LETTERS, seed=1)
        replays.fill()
        assert any("5,000 dead letters were not replayed" in line for line in replays.findings())
        replays.replay(crashes=8)
        assert list(replays.findings()) == []
        assert replays.kills["client"] == 6
        assert replays.kills["server"] == 2
        assert replays.recorded == LETTERS
