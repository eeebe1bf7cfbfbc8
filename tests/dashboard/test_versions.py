"""The code that handled an event: told by each worker when it begins, shown with what it did, and searched for."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from bus import inspect
from bus.event import Event
from bus.journal import JournalEntry
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from dashboard import queries
from dashboard.models import WorkerVersion
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.hostile import TEXTS
from tests.dashboard.recorded import Recorded


def fail(event: Event) -> None:
    raise ValueError("no")


EMAIL = Subscription("orders", "email", fail, retry=Retry(attempts=1), start="earliest")


def ids(text: str) -> list[str]:
    return sorted(row["id"] for row in queries.search(queries.parse(text))["rows"])


@pytest.fixture
def two_versions(
    bus_client: Client, publisher: Publisher, run_worker: RunWorker, record: Record, wait_until: WaitUntil
) -> list[Event]:
    """An event that v1 gave up, and one that v2 did."""
    events = []
    for number, version in enumerate(("v1", "v2")):
        with run_worker(EMAIL, version=version):
            events.append(publisher.publish(publisher.draft("orders", "order_placed", number)))
            wait_until(lambda: all(lane_of(event)["state"] == "dead" for event in events) if record() else False)
    return events


def lane_of(event: Event) -> dict[str, Any]:
    found = queries.event(event.id)
    lane: dict[str, Any] = next((lane for lane in found["lanes"] if lane["group"] == "email"), {}) if found else {}
    return lane or {"state": ""}


def test_a_worker_says_its_version_with_each_beat(bus_client: Client, run_worker: RunWorker, record: Record) -> None:
    with run_worker(EMAIL, version="2026.11") as worker:
        record()
        alive = bus_client.run(inspect.workers(bus_client.config.prefix))
        assert [(one.id, one.version) for one in alive] == [(worker.id, "2026.11")]
        assert [row["versions"] for row in queries.groups()["groups"]] == [["2026.11"]]


def test_each_attempt_tells_which_code_it_ran(two_versions: list[Event]) -> None:
    told = [[attempt["version"] for attempt in lane_of(event)["attempts"]] for event in two_versions]
    assert told == [["v1"], ["v2"]]


def test_dead_letters_tell_the_code_that_gave_up_first(two_versions: list[Event]) -> None:
    kinds = queries.dead_letters()["kinds"]
    assert [(kind["count"], kind["versions"]) for kind in kinds] == [(2, ["v1", "v2"])]
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    assert "first seen with code" in browser.get("/dead/").content.decode()


def test_a_query_finds_what_a_version_handled(two_versions: list[Event]) -> None:
    first, second = two_versions
    assert ids("version:v1") == [first.id]
    assert ids("version:v2 state:dead") == [second.id]
    assert ids("version:v1,v2") == sorted([first.id, second.id])
    assert ids("version:v3") == []
    assert ids("version!=v1 group:email") == [second.id]
    assert {one["text"] for one in queries.suggest("version:", 8)} >= {"v1", "v2"}


@pytest.mark.django_db
@pytest.mark.parametrize("text", TEXTS)
def test_whatever_a_stranger_calls_a_version_is_text(text: str, config: object) -> None:
    recorded = Recorded()
    entry = JournalEntry(recorded.entry(), "email", text[:50], [], version=text)
    recorded._store(0, [], [entry])
    assert WorkerVersion.objects.count() == 1
    assert queries.suggest("version:", 8)
