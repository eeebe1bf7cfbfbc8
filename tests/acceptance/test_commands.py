"""Commands and bad input: one line that says what was expected, what came and what to do; nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.server import EmbeddedServer, address
from tests.acceptance.processes import ROOT, Ended, manage, processes_of, running

WaitUntil = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder, durability="relaxed") as running_server:
        yield running_server


@pytest.fixture
def old_server() -> Iterator[str]:
    """Something that answers as Redis 6.2 does to HELLO, CLIENT, PING and INFO."""

    class Old(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = [self._word() for _ in range(int(line[1:]))]
                info = b"# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"
                answers = {b"INFO": b"$%d\r\n%b\r\n" % (len(info), info), b"PING": b"+PONG\r\n"}
                answers[b"HELLO"] = b"-ERR unknown command 'HELLO'\r\n"
                self.wfile.write(answers.get(words[0].upper(), b"+OK\r\n"))

        def _word(self) -> bytes:
            self.rfile.readline()
            return self.rfile.readline().rstrip(b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Old) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{listening.server_address[1]}/0"
        listening.shutdown()


def assert_refused(ended: Ended, *parts: str) -> None:
    """One line on standard error that holds these parts, and an exit code that says so."""
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1, ended.err
    assert ended.code in (1, 2)
    for part in parts:
        assert part in lines[0]


def test_publish_says_where_the_event_is(server: EmbeddedServer, folder: Path) -> None:
    ended = manage(folder, "publish", "orders", "order_placed", '{"order_id": "o-1"}', "--key", "o-1")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("published order_placed on orders, partition 0: ")


def test_an_illegal_topic_is_refused(server: EmbeddedServer, folder: Path) -> None:
    assert_refused(manage(folder, "publish", "no good", "t", "{}"), "expected a topic", "'no good'")


def test_data_that_is_not_json_is_refused(server: EmbeddedServer, folder: Path) -> None:
    assert_refused(manage(folder, "publish", "orders", "t", "{order: 1}"), "expected data that is JSON", "{order: 1}")


def test_an_event_that_is_too_large_is_refused(server: EmbeddedServer, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text('"' + "x" * 300_000 + '"')
    with data.open() as text:
        assert_refused(manage(folder, "publish", "orders", "t", "-", stdin=text), "262,144", "300,002")


def test_an_unknown_option_names_the_nearest(folder: Path) -> None:
    settings = folder.parent / "odd_settings.py"
    settings.write_text("from dashboard.settings import *\nBUS = {'max_event_byte': 1}\n")
    extra = {"DJANGO_SETTINGS_MODULE": "odd_settings", "PYTHONPATH": str(folder.parent)}
    assert_refused(manage(folder, "check", extra=extra), "'max_event_byte'", "did you mean 'max_event_bytes'?")


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("DEBUG", "perhaps", "expected DEBUG to be 1 or 0"),
        ("DATABASE_URL", "mysql://root@localhost/x", "expected DATABASE_URL"),
        ("DATABASE_URL", "postgresql://me@localhost:99999/x", "port"),
    ],
)
def test_a_wrong_variable_is_refused(folder: Path, name: str, value: str, part: str) -> None:
    assert_refused(manage(folder, "check", extra={name: value}), part)


@pytest.mark.parametrize(
    "command", [["publish", "orders", "t", "{}"], ["worker", "dashboard.shop.handlers"], ["recorder"]]
)
def test_without_a_server_a_command_says_what_to_do(folder: Path, command: list[str]) -> None:
    assert_refused(manage(folder, *command), "BUS_URL")


@pytest.mark.parametrize("command", [["publish", "orders", "t", "{}"], ["worker", "dashboard.shop.handlers"], ["up"]])
def test_a_server_that_is_away_is_one_line(folder: Path, free_port: int, command: list[str]) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port}/0"
    ended = manage(folder, *command, extra={"BUS_URL": url})
    assert_refused(ended, str(free_port))
    assert "secret" not in ended.err
    assert processes_of(folder) == {}


@pytest.mark.parametrize("command", [["publish", "orders", "t", "{}"], ["up", "--port", "0"]])
def test_a_server_that_is_too_old_is_one_line(folder: Path, old_server: str, command: list[str]) -> None:
    assert_refused(manage(folder, *command, extra={"BUS_URL": old_server}), "6.2.14", "7.0")
    assert processes_of(folder) == {}


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_port_in_use_is_found_before_anything_is_started(folder: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_refused(manage(folder, command, "--port", port), f"port {port}", "--port")
    assert address(folder) is None
    assert processes_of(folder) == {}


def test_a_folder_in_use_says_who_holds_it(server: EmbeddedServer, folder: Path) -> None:
    assert_refused(manage(folder, "demo", "--port", "0"), f"process {os.getpid()}", "--data")
    assert address(folder) == server.url


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["demo", "--host", "192.0.2.1"], "this machine"),
        (["demo", "--rate", "0"], "--rate"),
        (["up", "--port", "70000"], "--port"),
        (["up", "--workers", "-1"], "--workers"),
        (["worker"], "BUS_HANDLERS"),
        (["worker", "no.such.module"], "'no.such.module'"),
        (["worker", "dashboard.shop.handlers", "--groups", "emial"], "emial"),
        (["publish", "orders", "t", "{}", "--data"], "--data"),
    ],
)
def test_a_wrong_argument_is_one_line(folder: Path, arguments: list[str], part: str) -> None:
    assert_refused(manage(folder, *arguments), part)
    assert processes_of(folder) == {}


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert_refused(manage(tmp_path / "data", "demo", "--port", "0"), "data folder", "--data")


def test_the_data_option_chooses_the_folder(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with EmbeddedServer(other):
        assert manage(folder, "publish", "orders", "t", "{}", "--data", str(other)).code == 0
        assert manage(folder, "publish", f"--data={other}", "orders", "t", "{}").code == 0
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_the_demo_and_leaves_no_process(
    folder: Path, number: signal.Signals, wait_until: WaitUntil
) -> None:
    with running(folder, "demo", "--port", "0") as demo:
        demo.wait_for_line("orders a second")
        demo.wait_for_line("worker of")
        assert len(processes_of(folder)) > 4
        assert demo.stop(number) == 0
        assert demo.lines[-1] == "stopped; nothing is left running"
        assert not [line for line in demo.lines if "Traceback" in line]
    wait_until(lambda: not processes_of(folder), what="no process left")


def test_a_killed_demo_leaves_no_process(folder: Path, wait_until: WaitUntil) -> None:
    with running(folder, "demo", "--port", "0") as demo:
        demo.wait_for_line("worker of")
        demo.kill()
        wait_until(lambda: not processes_of(folder), seconds=15, what="no process left")
    with running(folder, "demo", "--port", "0") as demo:  # and the folder is free again
        demo.wait_for_line("open: ")


def test_a_signal_while_starting_leaves_no_process(folder: Path, wait_until: WaitUntil) -> None:
    with running(folder, "demo", "--port", "0") as demo:
        demo.wait_for_line("bus: ")
        demo.stop()
    wait_until(lambda: not processes_of(folder), what="no process left")


def test_a_crashed_process_is_started_again_and_said_so(folder: Path, wait_until: WaitUntil) -> None:
    with running(folder, "demo", "--port", "0") as demo:
        demo.wait_for_line("worker of")
        (pid,) = [pid for pid, command in processes_of(folder).items() if " worker " in command]
        os.kill(pid, signal.SIGKILL)
        demo.wait_for_line("worker was killed by SIGKILL; starting it again in 1 s")
        wait_until(lambda: [line for line in demo.lines if "worker of" in line][1:], what="a second worker")


def test_up_runs_the_relay_where_there_is_an_outbox(folder: Path, wait_until: WaitUntil) -> None:
    outbox = {"DJANGO_SETTINGS_MODULE": "tests.faults.outbox_settings", "PYTHONPATH": str(ROOT)}
    code = "import bus; from django.db import transaction\nwith transaction.atomic(): bus.publish('orders', 't', 1)"

    def states() -> list[str]:
        with sqlite3.connect(folder / "fanlight.sqlite3") as database:
            return [row[0] for row in database.execute("SELECT state FROM bus_outboxentry")]

    with running(folder, "up", "--port", "0", extra=outbox) as up:
        up.wait_for_line("publishes what transactions leave in the outbox")
        assert manage(folder, "shell", "--command", code, extra=outbox).code == 0
        wait_until(lambda: states() == ["confirmed"], seconds=30, what="published and recorded")
        assert up.stop() == 0
        assert [line for line in up.lines if line.startswith("relay") and "has stopped" in line]


def test_a_relay_without_an_outbox_says_so_and_stops_when_told(server: EmbeddedServer, folder: Path) -> None:
    assert manage(folder, "migrate", "--verbosity", "0").code == 0
    with running(folder, "relay") as relay:
        relay.wait_for_line("BUS['outbox'] is off")
        relay.wait_for_line("publishes what transactions leave in the outbox")
        assert relay.stop(signal.SIGINT) == 0
