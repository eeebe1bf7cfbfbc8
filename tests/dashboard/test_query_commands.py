"""`manage.py events`, `trace`, `groups` and `dead`: what they print, for people and for scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

import bus
from bus import operations
from bus.config import Config
from bus.event import Cause
from bus.journal import Failure, Step, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from dashboard.management.tables import cell, span, table
from tests.conftest import WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.recorded import Recorded


@pytest.fixture
def shop(db: None, config: object) -> Recorded:
    """An order that email gave up, and the payment that it led to."""
    recorded = Recorded()
    recorded.subscribe("email")
    recorded.subscribe("payment", types=["order_placed"])
    order = recorded.publish(id="order", key="o-1")
    recorded.settle(order, Step.SUCCEEDED, group="payment")
    recorded.publish(id="paid", type="payment_successful", key="o-1", cause=Cause("order", "payment", 1))
    failure = Failure("ValueError", "no such mailbox", "Traceback …", "shop/email.py:41 in send", "f1")
    recorded.settle(order, Step.DEAD_LETTERED, failure=failure)
    return recorded


def run(*words: str, **options: Any) -> tuple[list[str], str]:
    """The lines of the answer, and the words about it."""
    out, notes = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=notes, **options)
    return out.getvalue().splitlines(), notes.getvalue()


def test_events_are_a_table_with_who_has_not_got_them_first(shop: Recorded) -> None:
    lines, notes = run("events", "key:o-1")
    assert lines[0].split()[:3] == ["PUBLISHED", "(UTC)", "TOPIC"]
    assert [line.split()[2:6] for line in lines[1:]] == [
        ["orders", "payment_successful", "o-1", "paid"],
        ["orders", "order_placed", "o-1", "order"],
    ]
    assert lines[2].endswith("email: Dead, 1 succeeded")
    assert notes == ""


def test_every_command_has_one_json_object_a_line_for_scripts(shop: Recorded) -> None:
    assert [json.loads(line)["id"] for line in run("events", "--json")[0]] == ["paid", "order"]
    assert [json.loads(line)["id"] for line in run("trace", "trace", "--json")[0]] == ["order", "paid"]
    assert [json.loads(line)["count"] for line in run("dead", "--json")[0]] == [1]
    groups = [json.loads(line) for line in run("groups", "--json")[0]]
    assert all(group["lag"] is None or group["lag"] >= 0 for group in groups)


def test_more_than_a_page_is_printed_as_one_table(shop: Recorded) -> None:
    shop.publish(700, type="many")
    lines, notes = run("events", "type:many", limit=600)
    assert (len(lines), sum("PUBLISHED" in line for line in lines)) == (601, 1)
    assert "there are more" in notes


def test_what_was_not_searched_or_not_found_is_said(shop: Recorded) -> None:
    assert run("events", "type:nothing") == ([], "no event matches\n")
    shop.publish(raw=b'{"n": "' + b"x" * 70_000 + b'"}')
    lines, notes = run("events", "payload.n:1")
    assert (lines, "1 left out: their data was not kept whole" in notes) == ([], True)


def test_a_wrong_word_is_underlined(shop: Recorded) -> None:
    with pytest.raises(CommandError) as caught:
        run("events", "type:a tpye:b")
    first, query, line = str(caught.value).splitlines()
    assert "did you mean type?" in first
    assert query[line.index("^") : line.rindex("^") + 1] == "tpye"


@pytest.mark.parametrize("limit", [0, -1, 10**9])
def test_a_limit_that_is_none_is_refused(shop: Recorded, limit: int) -> None:
    with pytest.raises(CommandError, match="expected --limit to be from 1 to"):
        run("events", limit=limit)


@pytest.mark.parametrize("wanted", ["trace", "order", "paid"])
def test_a_trace_is_found_by_its_id_or_that_of_any_of_its_events(shop: Recorded, wanted: str) -> None:
    lines, _ = run("trace", wanted)
    assert lines[0] == "trace trace: 2 events, 1 of 3 succeeded"
    assert lines[1].startswith("orders order_placed  2025-11-13 ")
    assert "  - email: Dead  (ValueError: no such mailbox)" in lines
    assert [line for line in lines if line.startswith("    orders payment_successful")]


def test_an_unknown_trace_is_an_error_with_a_reason(shop: Recorded) -> None:
    with pytest.raises(CommandError, match="got 'nothing': it may not be recorded yet"):
        run("trace", "nothing")


def test_dead_letters_are_counted_by_error(shop: Recorded) -> None:
    lines, _ = run("dead")
    assert lines[1].split()[0] == "1"
    assert lines[1].endswith("ValueError: no such mailbox")
    assert len(run("dead", "--group", "payment")[0]) == 1


def test_groups_say_how_far_they_are_behind_and_why(
    bus_client: Client, publisher: Publisher, record: Record, wait_until: WaitUntil
) -> None:
    keys = Keys(bus_client.config.prefix, "orders", 0)
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
    bus_client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    record()
    lines = wait_until(lambda: len(found := run("groups")[0]) > 2 and found)
    assert lines[0].split()[:5] == ["GROUP", "TOPIC", "BEHIND", "OLDEST", "TREND"]
    assert lines[1].split()[:3] == ["email", "orders", "3"]
    assert lines[2] == "email on orders: No live worker."


def test_without_a_server_groups_are_listed_with_what_nobody_knows(shop: Recorded, config: Config) -> None:
    bus.configure(url="unix:///nowhere/server.sock", data_folder=config.data_folder)
    lines, notes = run("groups")
    assert lines[1].split()[:3] == ["email", "orders", "?"]
    assert "the server is away" in notes


def test_what_strangers_wrote_can_not_move_the_cursor(shop: Recorded) -> None:
    shop.publish(id="x\x1b[2J\n", type="\x1b]0;evil\x07", key="\u202eevil", raw=b"{}")
    lines, _ = run("events", "--limit", "1")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert cell("x" * 100) == "x" * 43 + "…"


def test_figures_that_nobody_knows_read_as_a_question_mark() -> None:
    assert span(None) == "?"
    assert [span(ms) for ms in (0, 4_500, 125_000, 3 * 86_400_000)] == ["0 s", "4 s", "2 min", "3 d"]
    assert list(table([], [("a", str), ("b", str)])) == ["A  B"]


def test_following_prints_new_matches_until_ctrl_c(
    config: Config, publisher: Publisher, record: Record, wait_until: WaitUntil
) -> None:
    publisher.publish(publisher.draft("orders", "wanted", 1, id="old"))
    record()
    program = (
        "import sys; from django.core.management import execute_from_command_line as run;"
        "from django.conf import settings; import django; django.setup();"
        f"settings.DATABASES['default'].update({{'NAME': {str(settings.DATABASES['default']['NAME'])!r}}});"
        f"import bus; bus.configure(url={config.url!r}, prefix={config.prefix!r});"
        "run(['manage.py', 'events', 'type:wanted', '--follow', '--json'])"
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        assert json.loads(process.stdout.readline())["id"] == "old"
        publisher.publish(publisher.draft("orders", "other", 1, id="no"))
        publisher.publish(publisher.draft("orders", "wanted", 1, id="new"))
        record()
        assert json.loads(process.stdout.readline())["id"] == "new"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
