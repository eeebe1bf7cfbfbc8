"""How often one may ask: counted on the bus' server for all web processes; forgotten in time."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.urls import reverse

import bus
from bus import counted
from bus.streams import Client
from bus.wire import Operation
from dashboard.actions import rates
from dashboard.actions.roles import Role
from dashboard.replays.models import Replay
from tests.conftest import WaitUntil
from tests.dashboard import test_matrix as matrix

strict, keys = matrix.strict, matrix.keys  # fixtures


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    rates._asked.clear()
    monkeypatch.setattr(rates, "_away_until", 0.0)


def test_two_processes_share_one_count(bus_client: Client) -> None:
    """What another process counted is counted: it has only the server in common with this one."""
    for _ in range(3):
        bus_client.run(counted.count(bus_client.config.prefix, "user 1", 60_000))
    assert rates.wait_seconds("user 1", 4) == 0
    assert 0 < rates.wait_seconds("user 1", 4) <= 61
    assert rates._asked == {}, "nothing is counted here"
    assert rates.wait_seconds("user 2", 4) == 0
    rates.forget("user 1")
    assert rates.wait_seconds("user 1", 4) == 0


def test_many_at_once_get_no_more_than_one_after_another(bus_client: Client) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.extend(rates.wait_seconds("user 1", 25) for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(0) == 25


def test_what_was_counted_is_gone_when_its_time_is_over(bus_client: Client, wait_until: WaitUntil) -> None:
    assert rates.wait_seconds("user 1", 1, 0.2) == 0
    assert rates.wait_seconds("user 1", 1, 0.2) > 0
    names = Operation([(b"KEYS", f"{{{bus_client.config.prefix}}}:counted:*".encode())], lambda replies: replies[0])
    wait_until(lambda: not bus_client.run(names), what="nothing is kept")
    assert rates.wait_seconds("user 1", 1, 0.2) == 0


def test_while_the_server_is_away_each_process_counts_for_itself(config: Any, tmp_path: Any) -> None:
    bus.configure(url="redis://127.0.0.1:1/0", data_folder=tmp_path, prefix="away", source="tests")
    assert [rates.wait_seconds("user 1", 2) for _ in range(3)][:2] == [0, 0]
    assert rates.wait_seconds("user 1", 2) > 0
    assert len(rates._asked) == 1


PAGES = ("replay-plan", "replay-confirm", "replay-cancel", "edit-replay", "alert-act", "rule-new")
API = ("api-replays", "api-replay-confirm", "api-rules", "api-rule-act", "api-alert-act", "api-act")


@pytest.mark.parametrize("name", [*PAGES, *API])
def test_whoever_acts_too_often_has_to_wait_wherever_they_act(
    keys: Any, bus_client: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    who, ann = matrix.browser(Role.OPERATOR), matrix.user(Role.OPERATOR)
    assert ann is not None
    for _ in range(rates.PER_MINUTE):
        bus_client.run(counted.count(bus_client.config.prefix, f"user {ann.pk}", 60_000))
    row, before = matrix.MATRIX[name], list(Replay.objects.values_list())
    answer = who.post(reverse(name, kwargs=dict(row.where) or None), json.dumps({}), content_type="application/json")
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 61
    assert list(Replay.objects.values_list()) == before
    assert who.get("/replays/").status_code == 200, "looking is free"
