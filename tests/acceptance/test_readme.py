"""What the README says works, as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from bus import streams, tail
from bus.config import Config
from bus.event import Event
from bus.server import EmbeddedServer, _connect
from bus.tail import Position
from tests.acceptance.processes import ROOT, Running, environment, manage, processes_of

WaitUntil = Callable[..., Any]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
PROGRAM, TEST_KIT, IN_TRANSACTION, FOLD, PROJECTION = [text for language, text in BLOCKS if language == "python"]
SHELL = [text.strip() for language, text in BLOCKS if language == "sh"]
NOT_OURS = {"migrate", "createsuperuser", "check"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder, durability="relaxed") as started:
        yield started


def events_of(folder: Path, topic: str) -> list[Event]:
    config = Config(data_folder=folder)
    client = streams.connect(config)
    chunks = client.run(tail.read(config.prefix, {(topic, 0): Position()}, block_ms=None))
    client.close()
    return [event for chunk in chunks for event in chunk.events]


def test_the_program_publishes_and_subscribes(server: EmbeddedServer, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment(folder, {"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "readme says hello (attempt 1)\n"), done.stderr
    assert [event.data for event in events_of(folder, "greetings")] == [{"text": "hello"}]


def test_the_test_kit_needs_no_server(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "kit.py"
    script.write_text(TEST_KIT)
    extra = environment(folder, {"PYTHONPATH": str(ROOT), "BUS_URL": "redis://127.0.0.1:1/0"})
    done = subprocess.run([sys.executable, script], env=extra, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_the_row_and_its_event_commit_together(server: EmbeddedServer, folder: Path, wait_until: WaitUntil) -> None:
    outbox = {"DJANGO_SETTINGS_MODULE": "tests.faults.outbox_settings", "PYTHONPATH": str(ROOT)}
    assert manage(folder, "migrate", "--verbosity", "0", extra=outbox).code == 0
    done = manage(folder, "shell", "--command", IN_TRANSACTION, extra=outbox)
    assert done.code == 0, done.err
    assert events_of(folder, "users") == []
    with Running([sys.executable, "manage.py", "relay"], folder=folder, cwd=ROOT, extra=outbox):
        wait_until(lambda: [event.data for event in events_of(folder, "users")] == [{"name": "ada"}])


def test_the_state_of_a_key_is_what_its_events_add_up_to(server: EmbeddedServer, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "account.py"
    script.write_text(FOLD)
    extra = environment(folder, {"PYTHONPATH": str(ROOT)})
    done = subprocess.run([sys.executable, script], env=extra, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "380 2 True\n"), done.stderr


def test_the_projections_rows_follow_the_topic(server: EmbeddedServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "readme_orders.py").write_text(PROJECTION)
    extra = {"PYTHONPATH": str(tmp_path)}
    assert manage(folder, "migrate", "--verbosity", "0", extra=extra).code == 0
    for key in ("o-1", "o-2"):
        assert manage(folder, "publish", "orders", "order_placed", "{}", "--key", key, extra=extra).code == 0
    done = manage(folder, "project", "open_orders", "--modules", "readme_orders", extra=extra)
    assert (done.code, done.out) == (0, "open_orders v1: live, 2 of 2 events\n"), done.err
    asked = "import readme_orders; print(readme_orders.open_orders())"
    shown = manage(folder, "shell", "--verbosity", "0", "--command", asked, extra=extra)
    assert shown.out.splitlines()[-1] == "['o-1', 'o-2']", shown.err


def test_the_program_is_as_short_as_it_looks() -> None:
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 12
    assert "django" not in PROGRAM.lower()


def test_what_any_client_adds_is_an_event(server: EmbeddedServer, folder: Path) -> None:
    (line,) = [text for text in SHELL if text.startswith("redis-cli")]
    words = [word.encode() for word in shlex.split(line)[3:]]  # without: redis-cli -s SOCKET
    packed = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    with _connect(server.url) as connection:
        connection.sendall(packed)
        assert connection.recv(100).startswith(b"$")
    (event,) = events_of(folder, "orders")
    assert (event.type, event.key, event.data) == ("order_placed", "o-1", {"order_id": "o-1"})
    assert event.id


def test_commands_in_the_readme_exist() -> None:
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    named = set(re.findall(r"manage\.py ([a-z]+)", README))
    assert named - ours - NOT_OURS == set()


@pytest.mark.timeout(300)
def test_the_first_command_pasted_alone_ends_with_the_demo_running(tmp_path: Path, wait_until: WaitUntil) -> None:
    command = SHELL[0]
    assert command.endswith("manage.py demo")
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache"))
    home = tmp_path / "home"
    home.mkdir()
    # An empty HOME; pip's own settings stay, since a machine may reach its registry only with them.
    extra = {"HOME": str(home), "BUS_DATA": "", "PATH": _path_without_environment()}
    shell = ["bash", "-c", f"exec bash -c {shlex.quote(command + ' --port 0')}"]
    with Running(shell, folder=tmp_path / "data", cwd=clone, extra=extra) as demo:
        link = demo.wait_for_line("open: ", seconds=240).split()[1]
        with urlopen(link, timeout=30) as response:  # noqa: S310  the link that we printed
            assert b'<form method="post"' in response.read()
        demo.wait_for_line("orders a second")
        assert (home / ".local" / "share" / "fanlight" / "server.json").exists()
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C does: to the whole group of the terminal
        demo.wait_for_line("nothing is left running")
    wait_until(lambda: not processes_of(home), what="no process left")


def _path_without_environment() -> str:
    """PATH as in a fresh shell: without the environment that runs these tests."""
    mine = str(Path(sys.prefix) / "bin")
    return os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != mine)
