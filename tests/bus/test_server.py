"""The embedded server: starts, persists, is alone on its folder, and is never left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bus import server as module
from bus.errors import ConfigError, FolderHeld, PlatformUnsupported, ServerUnavailable
from bus.server import EmbeddedServer, address

ROOT = Path(__file__).resolve().parents[2]
HOLDER = "import sys, signal; from pathlib import Path; from bus.server import EmbeddedServer;"
HOLD = HOLDER + "EmbeddedServer(Path(sys.argv[1])).start(); print('up', flush=True); signal.pause()"
WaitUntil = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder) as running:
        yield running


def ask(url: str, *words: str) -> str:
    with module._connect(url) as connection:
        connection.sendall((" ".join(words) + "\r\n").encode())
        return connection.recv(65536).decode()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_serves_on_a_private_socket_in_a_private_folder(server: EmbeddedServer, folder: Path) -> None:
    assert server.url == f"unix://{folder}/server.sock?db=0"
    assert ask(server.url, "PING") == "+PONG\r\n"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600


def test_its_address_is_known_while_it_runs_and_only_then(folder: Path) -> None:
    assert address(folder) is None
    with EmbeddedServer(folder) as server:
        assert address(folder) == server.url
    assert address(folder) is None


@pytest.mark.parametrize(("durability", "policy"), [("strict", "always"), ("relaxed", "everysec")])
def test_durability_decides_when_the_log_is_synced(folder: Path, durability: str, policy: str) -> None:
    with EmbeddedServer(folder, durability) as server:
        assert policy in ask(server.url, "CONFIG GET appendfsync")
        assert "yes" in ask(server.url, "CONFIG GET appendonly")
        assert "noeviction" in ask(server.url, "CONFIG GET maxmemory-policy")


def test_a_path_too_long_for_a_socket_gets_a_port_with_a_password(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 30) / 'with "quotes" and ümlauts'
    with EmbeddedServer(folder) as server:
        assert server.url.startswith("redis://:")
        assert address(folder) == server.url
        assert ask(server.url, "PING").startswith("-NOAUTH")


def test_the_password_is_not_in_the_arguments(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / ("long-" * 30)) as server:
        password = server.url.split(":")[2].split("@")[0]
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_what_was_written_is_there_after_a_stop(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        ask(server.url, "SET kept yes")
    with EmbeddedServer(folder) as server:
        assert "yes" in ask(server.url, "GET kept")


def test_what_was_written_is_there_after_a_kill(server: EmbeddedServer, wait_until: WaitUntil) -> None:
    assert ask(server.url, "SET kept yes") == "+OK\r\n"
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    wait_until(server.has_crashed)
    server.start()
    assert "yes" in ask(server.url, "GET kept")


def test_it_comes_back_under_the_same_address(tmp_path: Path, wait_until: WaitUntil) -> None:
    with EmbeddedServer(tmp_path / ("long-" * 30)) as server:
        url, pid = server.url, server.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until(server.has_crashed)
        assert server.start() == url
        assert server.pid != pid


def test_the_second_one_on_a_folder_says_who_holds_it(server: EmbeddedServer, folder: Path) -> None:
    with pytest.raises(FolderHeld) as caught:
        EmbeddedServer(folder).start()
    text = str(caught.value)
    assert f"process {os.getpid()}" in text
    assert "--data" in text
    assert ask(server.url, "PING") == "+PONG\r\n"


def test_the_server_dies_with_a_killed_parent_and_the_folder_is_free(folder: Path, wait_until: WaitUntil) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        pid = json.loads((folder / "server.json").read_text())["pid"]
        parent.kill()
    wait_until(lambda: not is_alive(pid), what="the server's end")
    with EmbeddedServer(folder) as server:
        assert ask(server.url, "PING") == "+PONG\r\n"


def test_a_leftover_server_is_ended_before_a_new_one_starts(folder: Path, tmp_path: Path) -> None:
    with EmbeddedServer(folder) as original:
        left = original._process
        assert left
        ask(original.url, "SET kept yes")
        original._process = None  # as if our parent had been killed where nothing ends the server with it
    state = {"url": original.url, "pid": left.pid}
    (folder / "server.json").write_text(json.dumps(state))
    with EmbeddedServer(folder) as server:
        assert left.wait(timeout=10) == 0
        assert "yes" in ask(server.url, "GET kept")


def test_a_server_that_can_not_start_says_why_and_leaves_nothing(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        ask(server.url, "SET kept yes")
    for log in folder.glob("appendonlydir/*.manifest"):
        log.write_text("nonsense\n")
    with pytest.raises(ServerUnavailable, match=r"server\.log") as caught:
        EmbeddedServer(folder).start()
    assert "\n" not in str(caught.value)
    assert address(folder) is None
    with pytest.raises(ServerUnavailable):  # not FolderHeld: the failed start freed the folder
        EmbeddedServer(folder).start()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--data"):
        EmbeddedServer(tmp_path / "file").start()


def test_no_program_for_the_platform_names_bus_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(PlatformUnsupported, match="BUS_URL"):
        EmbeddedServer(folder).start()
    assert not folder.exists()


@pytest.mark.parametrize("shown", ["Redis server v=6.2.14 sha=0", "no version"])
def test_a_program_on_path_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho '{shown}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PlatformUnsupported, match="7"):
        module.find_binary()


def test_the_program_on_path_serves_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "valkey-server").symlink_to(module.find_binary())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with EmbeddedServer(folder) as server:
        assert module.find_binary() == tmp_path / "valkey-server"
        assert ask(server.url, "PING") == "+PONG\r\n"


def test_an_address_of_a_server_that_is_gone_is_none(folder: Path) -> None:
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "server.json").write_text(json.dumps({"url": f"redis://127.0.0.1:{port}/0", "pid": 1}))
    assert address(folder) is None
    (folder / "server.json").write_text("{half")
    assert address(folder) is None
