"""The bench of peers: the bus measured as if it were its own peer, by the programs that measure real ones."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.core.management import call_command

from bus.errors import ConfigError
from dashboard.bench import peers
from dashboard.bench.peers import catalogue, running
from dashboard.bench.peers.catalogue import OURS, PEERS, Peer
from dashboard.bench.peers.running import PeerFailed, turn

TWIN = Peer("twin", "ours", ["redis"], "as it comes")
MISSING = Peer("nobody", "ours", ["no-such-package"], "")


@pytest.mark.timeout(400)  # thirty programs start
def test_a_peer_is_measured_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "PEERS", (TWIN, MISSING))
    words = ["--pairs", "1", "--events", "20", "--seconds", "0.4"]
    files = ["--json", str(tmp_path / "found.json"), "--svg", str(tmp_path / "drawn.svg")]
    shown = io.StringIO()
    call_command("bench", "peers", *words, *files, stdout=shown)
    settled, published, late, about = json.loads((tmp_path / "found.json").read_text())["tables"]
    assert [row["name"] for row in settled["raw"]] == ["twin"]
    assert settled["raw"][0]["ours"][0][0] == 200  # ten times as many, since it is fast
    assert settled["raw"][0]["baseline"][0][0] == 20
    assert published["raw"][0]["baseline"][0][0] == 19  # the first connects
    assert [row["name"] for row in late["raw"]] == ["ours", "twin"]
    assert about["rows"] == [["twin", f"redis {version('redis')}", "as it comes"]]
    assert "Not run: nobody: no package no-such-package (pip install 'fanlight[peers]')." in shown.getvalue()
    assert "times as fast as the peer" in "".join(ET.parse(tmp_path / "drawn.svg").getroot().itertext())  # noqa: S314


def test_peers_that_are_not_installed_are_named_with_what_to_install() -> None:
    asked = r"expected the peers to be installed \(pip install 'fanlight\[peers\]'\), but nobody: no package no-such"
    with pytest.raises(ConfigError, match=asked):
        peers._chosen(None, (MISSING,))
    with pytest.raises(ConfigError, match=asked):
        peers._chosen(["nobody"], (TWIN, MISSING))
    assert peers._chosen(["twin"], (TWIN, MISSING)) == ([TWIN], {})


def test_a_peer_without_its_server_is_left_out() -> None:
    peer = Peer("far", "ours", ["redis"], "", program="no-such-server")
    assert peers._chosen(None, (TWIN, peer)) == ([TWIN], {"far": "no no-such-server on PATH"})


def test_a_peer_that_fails_is_told_with_its_last_words(server_url: str) -> None:
    with pytest.raises(
        PeerFailed, match=r"lost: expected a figure, got: .*No module named dashboard\.bench\.peers\.nowhere"
    ):
        turn(Peer("lost", "nowhere", [], ""), server_url, 10)


def test_a_peer_that_never_ends_is_ended(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 1.0)
    with (
        pytest.raises(PeerFailed, match="ours: expected an answer within 1 s, got none"),
        running._program(OURS, "work", server_url, 1_000_000) as worker,
    ):
        running._answer(worker)
    assert worker.process.returncode is not None


def test_every_peer_has_a_program_and_its_packages_are_in_the_extra() -> None:
    root = Path(catalogue.__file__).parent
    assert {peer.module for peer in PEERS} == {path.stem for path in root.glob("on_*.py")}
    extra = (root.parents[2] / "pyproject.toml").read_text().partition("\npeers = [")[2].partition("]\n")[0]
    assert not [peer.name for peer in PEERS if peer.packages[0] not in extra and peer.packages[-1] not in extra]
