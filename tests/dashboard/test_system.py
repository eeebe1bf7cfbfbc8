"""The System page: what is wrong and what to do, honest also while the server is away; the alarm of other pages."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

import bus
from bus import inspect, operations
from bus.config import Config
from bus.inspect import ServerState
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import Operation
from dashboard import queries
from dashboard.models import Partition, Recording, Rewind
from dashboard.queries import findings
from dashboard.queries.bus_state import BusState, bus_state
from dashboard.record.presence import Presence
from dashboard.recorder import Recorder
from tests.conftest import WaitUntil
from tests.dashboard.conftest import Record
from tests.servers import Server, programs

GOOD = BusState(available=True, server=ServerState(aof=True, appendfsync="always", version="8.4.0"))
LONG = 3_600.0


@pytest.fixture
def reader(transactional_db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    return browser


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, which the pages then ask."""
    with Server(programs()["valkey-9"], tmp_path / "s") as server:
        bus.configure(url=server.url, data_folder=tmp_path, prefix="own", source="tests")
        yield server
    bus.configure(**settings.BUS)


def connections_of(server: Server) -> int:
    """How many connections the server was ever asked for."""
    client = connect(Config(url=server.url))
    info = client.run(Operation([(b"INFO", b"stats")], lambda replies: replies[0].decode()))
    client.close()
    return int(info.partition("total_connections_received:")[2].split()[0])


def now_ms() -> int:
    return int(time.time() * 1000)


def recording(*, ago_ms: int = 0, trouble: str = "", name: str = "host-1") -> dict[str, Any]:
    return {"name": name, "started_ms": 0, "beat_ms": 1_000_000 - ago_ms, "stored_ms": 0, "trouble": trouble}


def of_recorders(*recorders: dict[str, Any], state: BusState = GOOD, seconds: float = LONG) -> list[tuple[str, str]]:
    found = findings.of_recorders(recorders, state, 1_000_000, seconds)
    return [(finding.level, finding.title) for finding in found]


def test_a_recorder_that_beats_is_fine() -> None:
    assert of_recorders(recording(ago_ms=9_000)) == []


def test_no_recorder_is_an_error_once_it_had_time_to_start() -> None:
    assert of_recorders(recording(ago_ms=11_000)) == [("error", "No recorder runs")]
    assert of_recorders() == [("error", "No recorder runs")]
    assert of_recorders(seconds=5) == []


def test_two_recorders_are_fine_and_a_troubled_one_is_said() -> None:
    assert of_recorders(recording(), recording(name="host-2")) == [], "one records, the other waits"
    troubled = recording(trouble="database is locked")
    assert of_recorders(troubled) == [("error", "The recorder can't record")]
    assert of_recorders(troubled, state=BusState(trouble="away")) == [], "the server's own finding says it"


def test_silent_workers_are_named() -> None:
    silent = inspect.WorkerState(id="w-1", host="h", pid=1, groups=[], started_ms=0, beat_ms=0, alive=False)
    [finding] = findings.of_workers(msgspec.structs.replace(GOOD, workers=[silent]))
    assert (finding.level, finding.title) == ("warning", "A worker is silent")
    assert "w-1" in finding.seen


def test_the_page_tells_server_recorder_workers_and_streams(
    reader: Browser, record: Record, publisher: Publisher, bus_client: Client
) -> None:
    info = msgspec.json.encode(inspect.WorkerInfo(host="web-1", pid=42, groups=["email"]))
    bus_client.run(operations.heartbeat(bus_client.config.prefix, "web-1-42-ab", info))
    publisher.publish(publisher.draft("orders", "order_placed", {}))
    record()
    Presence().beat()
    text = reader.get(reverse("system")).content.decode()
    for part in ("Valkey", "relaxed: synced once a second", "web-1-42-ab", ">orders<", "up to date on 1 partition"):
        assert part in text
    assert 'data-finding="durability"' in text
    assert 'data-finding="recorder"' not in text


def test_how_far_the_recorder_is_behind_is_counted(record: Record, publisher: Publisher) -> None:
    publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(3)])
    record()
    publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(4)])
    partitions = queries.system()["partitions"]
    assert (partitions["behind_events"], partitions["late"], partitions["of"]) == (4, 1, 1)
    assert partitions["behind_ms"] >= 1
    record()
    assert queries.system()["partitions"]["behind_events"] == 0


def test_the_page_takes_the_same_number_of_queries_for_any_number_of_partitions(
    record: Record, publisher: Publisher, django_assert_max_num_queries: Any
) -> None:
    publisher.publish(publisher.draft("one", "t", {}))
    record()
    with django_assert_max_num_queries(7):
        queries.system()
    publisher.publish_many([publisher.draft(f"topic-{n}", "t", {}) for n in range(20)])
    record()
    with django_assert_max_num_queries(7):
        assert queries.system()["partitions"]["of"] == 21


def test_a_rewound_history_is_said_for_a_day(record: Record, publisher: Publisher) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(5)])
    record()
    Presence().beat()
    Rewind.objects.create(partition=Partition.objects.get(), epoch=1, at_ms=now_ms(), first=3, last=5)
    [finding] = [finding for finding in queries.system()["findings"] if finding.kind == "rewound"]
    assert "orders/0" in finding.seen
    assert "3 events" in finding.seen
    Rewind.objects.update(at_ms=now_ms() - 2 * 86_400_000)
    assert "rewound" not in [finding.kind for finding in queries.system()["findings"]]


def test_a_server_that_hangs_is_told_at_once_and_again_when_it_is_back(
    reader: Browser, own_server: Server, wait_until: WaitUntil
) -> None:
    assert bus_state().available
    asked = connections_of(own_server)
    own_server.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not bus_state().available)
        pages = [reader.get(reverse(name)) for name in ("system", "system-body", "topics", "overview") * 5]
    finally:
        own_server.signal(signal.SIGCONT)
    assert connections_of(own_server) - asked < len(pages) / 2, "only every few seconds somebody waits for it"
    assert [page.status_code for page in pages] == [200] * 20
    text = pages[0].content.decode()
    assert 'data-finding="away"' in text
    assert "no answer since" in text
    assert "unknown while the server is away" in text
    assert "The server does not answer" in pages[2].content.decode()
    wait_until(lambda: bus_state().available)
    assert 'data-finding="away"' not in reader.get(reverse("system")).content.decode()


def test_a_server_that_never_answered_is_no_error_of_the_page(reader: Browser, own_server: Server) -> None:
    own_server.kill()
    page = reader.get(reverse("system"))
    assert page.status_code == 200
    assert 'data-finding="away"' in page.content.decode()


def test_other_pages_show_one_line_while_something_is_badly_wrong(
    reader: Browser, config: Config, record: Record
) -> None:
    Recording.objects.create(name="host-1", started_ms=0, beat_ms=now_ms(), trouble="disk full")
    for name in ("topics", "overview"):
        text = reader.get(reverse(name)).content.decode()
        assert text.count('class="alarm-line"') == 1
        assert "The recorder can&#x27;t record" in text
    assert 'class="alarm-line"' not in reader.get(reverse("system")).content.decode()
    Recording.objects.update(trouble="")
    assert 'class="alarm-line"' not in reader.get(reverse("alarm")).content.decode()


def test_what_a_server_or_a_worker_says_of_itself_is_escaped(
    reader: Browser, record: Record, bus_client: Client
) -> None:
    info = msgspec.json.encode(inspect.WorkerInfo(host="<script>alert(1)</script>", groups=["<img onerror=1>"]))
    bus_client.run(operations.heartbeat(bus_client.config.prefix, "<script>x", info))
    Recording.objects.create(name="<script>y", started_ms=0, beat_ms=now_ms(), trouble="<script>z")
    text = reader.get(reverse("system")).content.decode()
    assert "<script>x" not in text
    assert "<script>y" not in text
    assert "<script>z" not in text
    assert "<script>alert" not in text


def test_the_silent_workers_figure_leads_to_the_workers(reader: Browser, config: Config) -> None:
    assert 'href="/system/#workers"' in reader.get(reverse("overview")).content.decode()


def test_a_recorder_says_that_it_lives_and_leaves_in_good_order(
    bus_client: Client, publisher: Publisher, transactional_db: None, wait_until: WaitUntil
) -> None:
    publisher.publish(publisher.draft("orders", "t", 1))
    recorder = Seen(bus_client)
    recorder.run()
    assert recorder.seen
    assert not Recording.objects.exists()


class Seen(Recorder):
    """A recorder that stops once its own row says that it has stored something."""

    seen = False

    def turn(self) -> Any:
        stored = super().turn()
        self.seen = Recording.objects.filter(stored_ms__gt=0).exists()
        if self.seen:
            self.stop()
        return stored


def test_the_page_is_for_people_who_are_logged_in(db: None) -> None:
    for name in ("system", "system-body", "alarm"):
        assert Browser().get(reverse(name)).status_code == 302
