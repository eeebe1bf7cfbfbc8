"""An event copied from the page publishes it again: each text is run as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

import bus
from bus import operations
from bus.config import Config
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.streams import Client
from dashboard.actions import tokens
from dashboard.actions.roles import Role
from dashboard.views.copying import copies
from tests.servers import programs

ROOT = Path(__file__).resolve().parents[2]
DATA = {
    "order": "o-1",
    "note": 'it\'s "quoted" $HOME `ls` \\ \n ü 🎉',
    "lines": [{"sku": "x", "n": 1.0}] * 9,
    "no": None,
}
HANDLERS = """
import bus

@bus.subscribe("orders", group="email")
def send_mail(event):
    if not isinstance(event.data["lines"][0]["n"], int):
        raise ValueError(f"expected a whole number, got {event.data['lines'][0]['n']}")
"""


def detail(**fields: Any) -> dict[str, Any]:
    usual = {"topic": "orders", "partition": 0, "type": "order_placed", "key": "o-1", "source": "web", "headers": {}}
    return {**usual, "data": DATA, "data_text": "{}", **fields}


def texts(event: dict[str, Any], lane: dict[str, Any] | None = None, *, config: Config | None = None) -> dict[str, str]:
    config = config or bus.config()
    found = copies(event, lane, handlers=["shop_of_mine.send_mail"], url=config.url, prefix=config.prefix)
    return {one["name"]: one["text"] for one in found}


def published(client: Client) -> list[Event]:
    keys = Keys(client.config.prefix, "orders", 0)
    taken = operations.take_new(keys, "reader", "w1", count=9, block_ms=None)
    return client.run(taken).events


@pytest.fixture
def reader(bus_client: Client) -> Client:
    """Somebody who subscribed before anything was published."""
    keys = Keys(bus_client.config.prefix, "orders", 0)
    bus_client.run(operations.declare_topic(bus_client.config.prefix, "orders", 1))
    bus_client.run(operations.subscribe(keys, "reader", SubscriptionRecord(), start="0-0", worker="w1"))
    return bus_client


def assert_is_the_event(client: Client, **fields: str) -> None:
    (event,) = published(client)
    assert (event.type, event.key, event.data) == ("order_placed", "o-1", DATA)
    assert event.headers == fields


def test_python_publishes_the_event(reader: Client) -> None:
    exec(texts(detail(headers={"tenant": "it's me"}))["Python"], {})  # noqa: S102  what the reader will do
    assert_is_the_event(reader, tenant="it's me")


@pytest.mark.usefixtures("server_url")
def test_redis_cli_publishes_the_event(reader: Client) -> None:
    command = texts(detail(headers={"tenant": "t-1"}), config=reader.config)["redis-cli"]
    program = shutil.which("redis-cli") or str(next(iter(_clients())))
    words = command.replace("redis-cli ", f"{program} ", 1)
    answer = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=20, check=True)
    assert "-" in answer.stdout, answer.stdout + answer.stderr
    assert_is_the_event(reader, tenant="t-1")


def _clients() -> list[Path]:
    near = [path.parent / name for path in programs().values() for name in ("redis-cli", "valkey-cli")]
    return [path for path in near if path.exists()]


def test_the_command_publishes_the_event(reader: Client, config: Config, tmp_path: Path) -> None:
    command = texts(detail())["manage.py"].replace("python ", f"{sys.executable} ", 1)
    env = {**os.environ, "BUS_URL": str(config.url), "BUS_DATA": str(tmp_path)}
    code = f"from dashboard.settings import *\nBUS = {{**BUS, 'prefix': {config.prefix!r}}}\n"
    (tmp_path / "prefixed.py").write_text(code)
    env |= {"DJANGO_SETTINGS_MODULE": "prefixed", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)  # noqa: PLW1510
    assert done.returncode == 0, done.stderr
    assert_is_the_event(reader)


@pytest.mark.usefixtures("transactional_db")
def test_curl_publishes_the_event_with_a_token(reader: Client, live_server: LiveServer) -> None:
    event, config = detail(headers={"tenant": "t-1"}), reader.config
    found = copies(event, None, handlers=[], url=config.url, prefix=config.prefix, site=live_server.url)
    command = found[-1]["text"]
    env = {**os.environ, "FANLIGHT_TOKEN": "fl_wrong"}
    wrong = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert "401" in wrong.stderr
    env["FANLIGHT_TOKEN"] = tokens.create("script", Role.OPERATOR, "orders", "tests")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_is_the_event(reader)
    assert command.startswith("# The API publishes without the event's headers.")
    assert "fl_" not in command


def run_test(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "shop_of_mine.py").write_text(HANDLERS)
    (folder / "test_copied.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", "test_copied.py"]
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)  # noqa: PLW1510


def lane(error: str | None) -> dict[str, Any]:
    return {"group": "email", "attempts": [{"number": 2, "error": error}]}


def test_the_copied_test_is_red_while_the_handler_fails_and_green_once_it_does_not(tmp_path: Path) -> None:
    text = texts(detail(), lane("ValueError: expected a\nwhole number"))["pytest"]
    assert "# Attempt 2 failed with ValueError: expected a whole number" in text
    failed = run_test(tmp_path, text)
    assert "expected a whole number, got 1.0" in failed.stdout, failed.stdout + failed.stderr
    whole = {**DATA, "lines": [{"sku": "x", "n": 1}]}
    passed = run_test(tmp_path, texts(detail(data=whole), lane(None))["pytest"])
    assert "1 passed" in passed.stdout, passed.stdout + passed.stderr


def test_what_is_no_json_or_not_kept_whole_is_not_offered() -> None:
    assert texts(detail(data=None, data_text="\\xff")) == {}
    assert "None" in texts(detail(data=None, data_text="null"))["Python"]


def test_masked_values_are_said_in_each_text() -> None:
    found = texts(detail(data={"card": "•••"}, data_text='{"card": "•••"}'))
    assert all(text.startswith("# ••• stands for") for text in found.values())


def test_names_that_are_no_names_make_no_code() -> None:
    hostile = detail(type="x'); import os; os.abort() #", topic="orders", key='\'\n"""')
    for name, text in texts(hostile, lane("E\n'''; raise SystemExit")).items():
        if name in ("Python", "pytest"):
            compile(text, name, "exec")
    assert (
        "import shop; import os"
        not in copies(hostile, lane(None), handlers=["shop; import os.x"], url=None, prefix="bus")[1]["text"]
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:///tmp/a b.sock?db=1", "redis-cli -s '/tmp/a b.sock' XADD"),
        (
            "rediss://ann:secret@example:7000/2",
            'redis-cli -h example -p 7000 -n 2 --tls --user ann -a "$BUS_PASSWORD" XADD',
        ),
        ("redis://example", "redis-cli -h example -p 6379 XADD"),
        (None, "redis-cli XADD"),
    ],
)
def test_redis_cli_is_led_to_the_server_without_its_password(url: str | None, words: str) -> None:
    text = copies(detail(), None, handlers=[], url=url, prefix="bus")[3]["text"]
    assert text.startswith(words)
    assert "secret" not in text
