"""Every trouble that a server can have, on a real one: publisher, worker, recorder and pages outlive it by themselves.

Nothing acknowledged is lost, nobody asks in a hurry, and the System page names the trouble while it lasts.
"""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from django.conf import settings
from django.db import connections

import bus
from bus.config import Config
from bus.errors import ServerError, ServerRefused
from bus.event import Event, new_id
from bus.publisher import Publisher
from bus.streams import connect
from bus.subscription import Registry, Retry, Subscription
from bus.wire import Operation
from bus.worker import Worker
from dashboard import queries
from dashboard.models import Delivery, Partition, Rewind
from dashboard.models import Event as Stored
from dashboard.recorder import Recorder
from tests.conftest import WaitUntil
from tests.servers import Server, programs

TOPIC = "orders"
GROUP = "email"
PROGRAMS = [name for name in ("valkey-9", "redis-7") if name in programs()]
RETRY = Retry(attempts=2, base_seconds=0.05, cap_seconds=0.1)
PATIENCE = 40.0
SETTLED = ["succeeded", "dead"]


class Life:
    """A worker, a recorder and a publisher on one server, in this process."""

    def __init__(self, server: Server, config: Config, caplog: pytest.LogCaptureFixture) -> None:
        self.server = server
        self.config = config
        self.handled: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.publisher = Publisher(config)
        self._caplog = caplog
        self._worker = Worker(config, registry=self._registry())
        self._recorder = Recorder(connect(config))
        self._threads = [threading.Thread(target=target) for target in (self._worker.run, self._record)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        assert self._worker.ready.wait(20)
        return self

    def __exit__(self, *exception: object) -> None:
        self.gate.set()
        self._worker.stop()
        self._recorder.stop()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        self.publisher.close()

    def publish(self, count: int) -> list[Event]:
        """Publish events with ids of their own, again until it is acknowledged: as a careful producer does."""
        drafts = [self.publisher.draft(TOPIC, "order_placed", n, id=new_id()) for n in range(count)]
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.publisher.publish_many(drafts)
            except ServerError:
                assert time.monotonic() < deadline, "the server did not come back to the publisher"
                threading.Event().wait(0.2)

    def ask(self, *words: bytes, password: str = "") -> Any:
        """What the server answers to a command, as its administrator."""
        url = self.config.url or ""
        client = connect(Config(url=url.replace("unix://", f"unix://:{password}@") if password else url))
        try:
            return client.run(Operation([words], lambda replies: replies[0]))
        finally:
            client.close()

    def are_settled(self, events: list[Event]) -> bool:
        """Whether rows say that each of these events is settled."""
        ids = [event.id for event in events]
        return Delivery.objects.filter(event__event_id__in=ids, state__in=SETTLED).count() == len(events)

    def lines(self, part: str) -> int:
        """How many warnings and errors of ours hold `part`."""
        return sum(part in line.getMessage() for line in list(self._caplog.records) if line.levelno >= logging.WARNING)

    def attempts(self, part: str) -> int:
        """How many lines of ours hold `part`, those for nobody's eyes included: a cycle's trouble is said once."""
        return sum(part in line.getMessage() for line in list(self._caplog.records))

    def _registry(self) -> Registry:
        registry = Registry()
        registry.add(Subscription(TOPIC, GROUP, self._handle, start="earliest", retry=RETRY))
        return registry

    def _handle(self, event: Event) -> None:
        self.gate.wait(PATIENCE)
        self.handled[event.id] += 1
        if event.id in self.failing:
            raise ValueError("as told")

    def _record(self) -> None:
        try:
            self._recorder.run()
        finally:
            connections.close_all()


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    return programs()[request.param]


@pytest.fixture
def start(
    program: Path, tmp_path: Path, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Life]]:
    """Starts a server with these options, and a life on it."""
    servers: list[Server] = []
    caplog.set_level(logging.INFO, "dashboard")
    caplog.set_level(logging.DEBUG, "bus")  # last: it is also the level of what is caught

    def begin(**options: Any) -> Life:
        servers.append(Server(program, tmp_path / "s", **options).start())
        config = bus.configure(
            url=servers[0].url, data_folder=tmp_path, prefix="trouble", source="tests", lease_seconds=2
        )
        return Life(servers[0], config, caplog)

    yield begin
    for server in servers:
        server.kill()
    bus.configure(**settings.BUS)


def findings() -> dict[str, str]:
    """What the System page says is wrong now, by kind."""
    return {finding.kind: finding.line for finding in queries.system()["findings"]}


def most_attempts(seconds: float) -> float:
    """How often whoever waits 0.1 s, then twice as long, then 2 s at most may ask in so many seconds."""
    return 7 + seconds / 2


def assert_nobody_hurries(life: Life, wait_until: WaitUntil, began: float, part: str) -> None:
    """Three seconds after the trouble began its log lines are those of somebody who waits longer and longer."""
    wait_until(lambda: time.monotonic() - began > 3 and life.attempts(part) >= 3, seconds=PATIENCE, what=part)
    assert life.attempts(part) <= most_attempts(time.monotonic() - began)


def assert_each_handled_once(life: Life, events: list[Event]) -> None:
    assert {event.id: life.handled[event.id] for event in events} == dict.fromkeys((e.id for e in events), 1)


def test_a_server_that_is_killed_and_comes_back_is_outlived(start: Callable[..., Life], wait_until: WaitUntil) -> None:
    with start() as life:
        before = life.publish(20)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        life.server.kill()
        began = time.monotonic()
        assert_nobody_hurries(life, wait_until, began, f"{GROUP} on {TOPIC}: no answer")
        assert life.lines(f"{GROUP} on {TOPIC}: no answer") == 1, "the group says it once"
        assert "away" in findings()
        assert life.lines("trying again") - life.lines(f"{GROUP} on {TOPIC}") == 1, "the recorder says it once"
        life.server.start()
        after = life.publish(20)
        wait_until(lambda: life.are_settled(before + after), seconds=PATIENCE)
        wait_until(lambda: "away" not in findings(), seconds=PATIENCE)
        assert_each_handled_once(life, before + after)
        assert not Rewind.objects.exists()


def test_a_server_that_hangs_for_three_seconds_costs_three_seconds(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start() as life:
        before = life.publish(20)
        life.server.signal(signal.SIGSTOP)
        began = time.monotonic()
        published: list[Event] = []
        publishing = threading.Thread(target=lambda: published.extend(life.publish(20)))
        publishing.start()
        wait_until(lambda: "away" in findings(), seconds=PATIENCE)
        wait_until(lambda: time.monotonic() - began > 3, seconds=PATIENCE)
        life.server.signal(signal.SIGCONT)
        publishing.join(PATIENCE)
        assert len(published) == 20
        wait_until(lambda: life.are_settled(before + published), seconds=PATIENCE)
        assert Stored.objects.count() == 40
        assert life.attempts("trying again") <= most_attempts(time.monotonic() - began)
        wait_until(lambda: "away" not in findings(), seconds=PATIENCE)


def test_a_server_that_comes_back_empty_gets_its_groups_again_and_what_it_forgot_is_said(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start() as life:
        before = life.publish(20)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        life.gate.clear()
        waiting = life.publish(5)
        wait_until(lambda: Stored.objects.count() == 25, seconds=PATIENCE)
        life.server.kill()
        shutil.rmtree(life.server.folder / "appendonlydir")
        life.server.start()
        life.gate.set()
        wait_until(Rewind.objects.exists, seconds=PATIENCE)
        after = life.publish(20)
        wait_until(lambda: life.are_settled(after), seconds=PATIENCE)
        assert life.lines("the group is gone from the server; it begins again") == 1
        assert life.lines("the server's history was rewound") == 1
        wait_until(lambda: "25 events" in findings().get("rewound", ""), seconds=PATIENCE)
        assert states_of(waiting) == {"lost"}
        assert states_of(before) == {"succeeded"}


def test_a_server_that_comes_back_with_an_older_log_is_noticed_and_marked(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start() as life:
        before = life.publish(20)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        shutil.copytree(life.server.folder / "appendonlydir", life.server.folder / "older")
        done = life.publish(10)
        wait_until(lambda: life.are_settled(done), seconds=PATIENCE)
        life.gate.clear()
        waiting = life.publish(3)
        wait_until(lambda: Stored.objects.count() == 33, seconds=PATIENCE)
        life.server.kill()
        shutil.rmtree(life.server.folder / "appendonlydir")
        (life.server.folder / "older").rename(life.server.folder / "appendonlydir")
        life.server.start()
        life.gate.set()
        after = life.publish(20)
        wait_until(lambda: life.are_settled(after), seconds=PATIENCE)
        rewind = Rewind.objects.get()
        assert (rewind.first, rewind.last, Partition.objects.get().newest_number) == (21, 33, 53)
        assert life.lines("13 events that were recorded after it are forgotten") == 1
        assert "13 events" in findings()["rewound"]
        assert (states_of(before), states_of(done), states_of(waiting)) == ({"succeeded"}, {"succeeded"}, {"lost"})
        [group] = queries.overview()["groups"]
        assert group["waiting"] == 0
        assert_each_handled_once(life, before + after)


def states_of(events: list[Event]) -> set[str]:
    """States of the group's lanes, as pages show them."""
    found = [queries.event(event.id) for event in events]
    return {lane["state"] for one in found if one for lane in one["lanes"] if lane["group"] == GROUP}


def test_out_of_memory_publishing_is_refused_and_settling_goes_on(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start() as life:
        life.gate.clear()
        before = life.publish(40)
        life.failing = {event.id for event in before[:10]}
        life.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
        with pytest.raises(ServerRefused, match="out of memory: raise maxmemory"):
            life.publisher.publish(life.publisher.draft(TOPIC, "order_placed", "one too many"))
        wait_until(lambda: "publishing is refused, settling goes on" in findings().get("memory", ""), seconds=PATIENCE)
        life.gate.set()
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        assert Counter(Delivery.objects.values_list("state", flat=True)) == {"succeeded": 30, "dead": 10}
        life.ask(b"CONFIG", b"SET", b"maxmemory", b"0")
        after = life.publish(10)
        wait_until(lambda: life.are_settled(after), seconds=PATIENCE)
        wait_until(lambda: "memory" not in findings(), seconds=PATIENCE)
        assert_each_handled_once(life, before[10:] + after)


def fill_disk(server: Server) -> None:
    """From now on no file of the server may grow: its next write fails as on a full disk."""
    size = max(path.stat().st_size for path in (server.folder / "appendonlydir").iterdir())
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))


def test_a_full_disk_under_everysec_refuses_every_change_and_is_outlived(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start(appendfsync="everysec") as life:
        before = life.publish(200)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        fill_disk(life.server)
        began = time.monotonic()
        refused = wait_until(lambda: refusal_of(life), seconds=PATIENCE)
        assert "it can't write to its disk: free space there" in refused
        wait_until(lambda: "disk" in findings(), seconds=PATIENCE)
        assert_nobody_hurries(life, wait_until, began, f"{GROUP} on {TOPIC}: the server refused")
        resource.prlimit(life.server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = life.publish(20)
        wait_until(lambda: life.are_settled(after), seconds=PATIENCE)
        wait_until(lambda: "disk" not in findings(), seconds=PATIENCE)
        assert_each_handled_once(life, before)


def refusal_of(life: Life) -> str:
    """Publish one event that nobody will miss, and what the server says to that."""
    try:
        life.publisher.publish(life.publisher.draft(TOPIC, "order_placed", "x" * 1_000))
    except ServerError as error:
        return str(error)
    return ""


def test_a_full_disk_under_always_ends_the_server_and_loses_nothing_acknowledged(
    start: Callable[..., Life], wait_until: WaitUntil
) -> None:
    with start() as life:
        before = life.publish(200)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        fill_disk(life.server)
        wait_until(lambda: refusal_of(life), seconds=PATIENCE)
        wait_until(lambda: "away" in findings(), seconds=PATIENCE)
        life.server.kill()
        life.server.start()
        after = life.publish(20)
        wait_until(lambda: life.are_settled(before + after), seconds=PATIENCE)
        assert_each_handled_once(life, before + after)
        assert not Rewind.objects.exists()


def test_a_primary_that_becomes_a_read_only_replica_is_named_and_outlived(
    start: Callable[..., Life], wait_until: WaitUntil, free_port: int
) -> None:
    with start() as life:
        before = life.publish(20)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        began = time.monotonic()
        life.ask(b"REPLICAOF", b"127.0.0.1", b"%d" % free_port)
        with pytest.raises(ServerRefused, match="it is a replica: point BUS_URL at the primary"):
            life.publisher.publish(life.publisher.draft(TOPIC, "order_placed", "not here"))
        wait_until(lambda: "replica" in findings(), seconds=PATIENCE)
        assert_nobody_hurries(life, wait_until, began, f"{GROUP} on {TOPIC}: the server refused")
        life.ask(b"REPLICAOF", b"NO", b"ONE")
        after = life.publish(20)
        wait_until(lambda: life.are_settled(before + after), seconds=PATIENCE)
        wait_until(lambda: "replica" not in findings(), seconds=PATIENCE)
        assert_each_handled_once(life, before + after)


def test_scripts_that_the_server_forgot_are_sent_again(start: Callable[..., Life], wait_until: WaitUntil) -> None:
    with start() as life:
        events = []
        for _ in range(5):
            life.ask(b"SCRIPT", b"FLUSH")
            events += life.publish(20)
        wait_until(lambda: life.are_settled(events), seconds=PATIENCE)
        assert_each_handled_once(life, events)
        assert life.lines("trying again") == 0


def test_a_changed_password_is_named_and_outlived(start: Callable[..., Life], wait_until: WaitUntil) -> None:
    with start() as life:
        before = life.publish(20)
        wait_until(lambda: life.are_settled(before), seconds=PATIENCE)
        asked = connections_of(life)
        began = time.monotonic()
        life.ask(b"CONFIG", b"SET", b"requirepass", b"secret")
        life.ask(b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes", password="secret")
        wait_until(lambda: "put the right user and password into BUS_URL" in refusal_of(life), seconds=PATIENCE)
        wait_until(lambda: "password" in findings().get("away", ""), seconds=PATIENCE)
        assert_nobody_hurries(life, wait_until, began, f"{GROUP} on {TOPIC}: the server")
        # The cycle, the pulse, the watch, the recorder, the publisher's first try, the pages, and this test.
        assert connections_of(life, password="secret") - asked <= 6 * most_attempts(time.monotonic() - began)
        life.ask(b"CONFIG", b"SET", b"requirepass", b"", password="secret")
        after = life.publish(20)
        wait_until(lambda: life.are_settled(before + after), seconds=PATIENCE)
        wait_until(lambda: "away" not in findings(), seconds=PATIENCE)
        assert_each_handled_once(life, before)


def connections_of(life: Life, *, password: str = "") -> int:
    """How many connections the server was ever asked for."""
    info = life.ask(b"INFO", b"stats", password=password).decode()
    return int(info.partition("total_connections_received:")[2].split()[0])
