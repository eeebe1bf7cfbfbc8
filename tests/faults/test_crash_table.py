"""The crash table, row by row: something dies with kill -9 at a named point, and what is then true.

Real processes and real servers. The rows before an event is published are in test_crash_outbox.py; a replay that
dies is in test_replays.py, what a lost reply does to each operation in test_lost_replies.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from bus import fsck, operations, streams
from bus.config import Config
from bus.errors import ServerError
from bus.event import Event, new_id
from bus.journal import Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher, digest
from bus.streams import Client
from bus.wire import Operation
from tests.acceptance.processes import ROOT, Running, manage, running
from tests.bus.conftest import records_of, steps_of
from tests.bus.swallower import Swallower
from tests.bus.test_operations import dead, length, pending, retry, succeeded
from tests.conftest import WaitUntil
from tests.faults.effects import SELECT
from tests.faults.evidence import SETTLED, differences, read_bus
from tests.servers import Server, programs

TOPIC = "counted"
GROUPS = {"steady", "flaky"}
EVENTS = 600
MAKES = sorted(programs())
CRASHES = Keys("bus", "crashes", 0)

Start = Callable[..., Running]


@pytest.fixture
def make() -> str:
    """Which server; most rows are asked of one, those about the server itself of every make."""
    return "valkey-9"


@pytest.fixture
def server(make: str, tmp_path: Path) -> Iterator[Server]:
    with Server(programs()[make], tmp_path / "server") as started:  # strict: what was acknowledged survives
        yield started


@pytest.fixture
def config(server: Server, tmp_path: Path) -> Config:
    return Config(url=server.url, data_folder=tmp_path / "data", source="tests")


@pytest.fixture
def client(config: Config) -> Iterator[Client]:
    with closing(streams.connect(config)) as made:
        yield made


@pytest.fixture
def folder(config: Config) -> Path:
    config.data_folder.mkdir()
    return config.data_folder


@pytest.fixture
def extra(server: Server) -> dict[str, str]:
    """The environment of every process here."""
    return {
        "BUS_URL": server.url,
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "SECRET_KEY": "x",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and no rows: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("migrated")
    extra = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "SECRET_KEY": "x"}
    assert manage(folder, "migrate", "--verbosity", "0", extra=extra).code == 0
    made = manage(
        folder, "shell", "--no-imports", "-c", "from tests.faults import effects; effects.make_table()", extra=extra
    )
    assert made.code == 0, made.err
    return folder / "fanlight.sqlite3"


@pytest.fixture
def database(folder: Path, migrated: Path) -> Path:
    return Path(shutil.copy(migrated, folder / "fanlight.sqlite3"))


@pytest.fixture
def tally(folder: Path, extra: dict[str, str]) -> Iterator[Callable[[], Running]]:
    """Starts a worker of the plain program; every one of them is stopped in the end."""
    started: list[Running] = []

    def start() -> Running:
        command = [sys.executable, "tests/faults/tally.py"]
        started.append(Running(command, folder=folder, cwd=ROOT, extra=extra))
        started[-1].wait_for_line("working")
        return started[-1]

    yield start
    for process in started:
        process.__exit__()


@pytest.fixture
def worker(database: Path, folder: Path, extra: dict[str, str]) -> Iterator[Start]:
    """Starts a worker of the program whose handlers crash; every one of them is stopped in the end."""
    started: list[Running] = []

    def start(**more: str) -> Running:
        started.append(running(folder, "worker", "tests.faults.crashing", extra={**extra, **more}))
        started[-1].wait_for_line(" handles ")
        return started[-1]

    yield start
    (folder / "gate").touch()
    for process in started:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
        process.__exit__()


@pytest.fixture
def put(config: Config) -> Iterator[Callable[..., Event]]:
    """Publishes an event of the crashing program: `put("effect", dies="always")`."""
    publisher = Publisher(config)

    def publish(type: str = "effect", *, key: str | None = "k", **data: Any) -> Event:
        return publisher.publish(publisher.draft("crashes", type, {"number": 1, **data}, key=key))

    yield publish
    publisher.close()


def rows(database: Path, query: str) -> set[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        return set(connection.execute(query).fetchall())


def effects(database: Path) -> int:
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        return len(connection.execute(SELECT).fetchall())


def ends(client: Client, topic: str = "crashes") -> list[tuple[str, int]]:
    """The journal's steps and attempts, without the announcements of what takes long."""
    return [(Step(r.step).word, r.attempt) for r in records_of(client, topic) if r.step != Step.DELIVERED]


# Redis dies inside a script: its log holds all of it or nothing.


@pytest.mark.parametrize("make", MAKES)
def test_a_script_cut_short_in_the_log_was_carried_out_wholly_or_not_at_all(
    server: Server, client: Client, config: Config, tmp_path: Path
) -> None:
    keys = Keys("bus", "orders", 0)
    publisher = Publisher(config)
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
    publisher.close()
    client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    taken = client.run(operations.take_new(keys, "email", "w#0", count=9, block_ms=None)).events
    [log] = server.folder.glob("appendonlydir/*.incr.aof")
    before = log.stat().st_size
    endings = [ending(event) for ending, event in zip((succeeded, retry, dead), taken, strict=True)]
    client.run(operations.settle(keys, "email", "w#0", endings, holds=3))
    after = log.stat().st_size
    client.close()
    server.kill()
    whole = log.read_bytes()
    outcomes = set()
    for size in [*range(before, after, max((after - before) // 12, 1)), after]:
        log.write_bytes(whole[:size])
        with server, closing(streams.connect(config)) as fresh:
            steps = len(steps_of(fresh, "orders"))
            outcomes.add((pending(fresh, keys), length(fresh, keys.dead("email")), steps))
            assert list(fsck.check(fresh)) == []
    assert outcomes == {(3, 0, 0), (1, 1, 3)}


@pytest.mark.parametrize("make", MAKES)
def test_a_server_killed_while_it_stores_a_batch_stores_all_of_it_or_nothing(
    server: Server, config: Config, wait_until: WaitUntil
) -> None:
    keys = Keys("bus", "orders", 0)
    acknowledged = 0
    for number in range(5):
        publisher = Publisher(config)
        drafts = [publisher.draft("orders", "t", n, id=f"{number}-{n}") for n in range(500)]
        began = threading.Event()

        def publish(publisher: Publisher = publisher, drafts: Any = drafts, began: Any = began) -> None:
            nonlocal acknowledged
            client = streams.connect(config)
            operation = operations.publish_batch(keys, drafts, {d.id: digest(d) for d in drafts}, 60_000)
            began.set()
            with suppress(ServerError):
                acknowledged += len(client.run(operation))

        thread = threading.Thread(target=publish)
        thread.start()
        began.wait(10)
        server.kill()
        thread.join(20)
        server.start()
        publisher.close()
    with closing(streams.connect(config)) as client:
        stored = length(client, keys.events)
    assert stored % 500 == 0
    assert stored >= acknowledged


# Redis dies after its reply: under strict nothing that was acknowledged is lost.


def publish(config: Config, count: int) -> list[Event]:
    """Publish in small batches, again with the same ids while the server is away: as a careful producer does."""
    publisher = Publisher(config)
    placed: list[Event] = []
    for start in range(0, count, 20):
        drafts = [publisher.draft(TOPIC, "number", {"number": n}, id=new_id()) for n in range(start, start + 20)]
        while True:
            try:
                placed += publisher.publish_many(drafts)
                break
            except ServerError:
                threading.Event().wait(0.05)
    publisher.close()
    return placed


def settlements(client: Client) -> Counter[tuple[str, str]]:
    """(group, entry) → how often the journal says that this delivery was settled; nothing while nobody answers."""
    try:
        _, journal = read_bus(client)
    except ServerError:
        return Counter()
    return Counter(
        (told.entry.group, record.entry) for told in journal for record in told.entry.records if record.step in SETTLED
    )


def assert_each_is_settled_once(client: Client, published: list[Event], wait_until: WaitUntil) -> None:
    events, _ = read_bus(client)
    assert sorted(event.id for event in events) == sorted(event.id for event in published)
    expected = {(group, event.entry) for group in GROUPS for event in events}
    wait_until(lambda: expected <= settlements(client).keys(), seconds=60, what=f"{len(expected)} settled deliveries")
    counts = settlements(client)
    assert counts.keys() == expected
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("make", MAKES)
def test_a_server_that_dies_after_its_reply_has_lost_nothing(
    server: Server, config: Config, client: Client, tally: Callable[[], Running], wait_until: WaitUntil
) -> None:
    tally()
    published: list[Event] = []
    producer = threading.Thread(target=lambda: published.extend(publish(config, EVENTS)))
    producer.start()
    for target in (100, 400):
        wait_until(lambda: len(settlements(client)) > target, seconds=30, what="traffic")  # noqa: B023
        server.kill()
        server.start()
    producer.join(60)
    assert len(published) == EVENTS
    assert_each_is_settled_once(client, published, wait_until)


# A worker dies after take: its lease ends, a crash is counted, the delivery comes again.


def test_a_worker_that_dies_with_what_it_took_loses_nothing(
    config: Config, client: Client, tally: Callable[[], Running], wait_until: WaitUntil
) -> None:
    published = publish(config, EVENTS)
    for _ in range(2):
        before = len(settlements(client))
        process = tally()
        wait_until(lambda: len(settlements(client)) > before + 100, what="work in progress")  # noqa: B023
        process.kill()
    assert len(settlements(client)) < EVENTS * len(GROUPS), "killed too late to prove anything"
    tally()
    assert_each_is_settled_once(client, published, wait_until)
    assert "reclaimed" in steps_of(client, TOPIC)


def test_what_a_dead_worker_took_and_never_began_is_the_next_attempt(
    client: Client, folder: Path, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    put("plain", key="a", waits=True)
    put("plain", key="b")
    first = worker()
    wait_until((folder / "waiting").exists)
    first.kill()
    worker()
    wait_until(lambda: steps_of(client, "crashes").count("succeeded") == 2, seconds=30)
    assert sorted(ends(client)) == [("reclaimed", 1), ("reclaimed", 1), ("succeeded", 2), ("succeeded", 2)]


# The take's reply is lost, a mere reconnect: given back at once without a count.


def test_what_a_lost_reply_of_take_hid_is_given_back_without_a_count(
    server: Server, client: Client, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    proxy = Swallower(server.url)
    worker(BUS_URL=proxy.url)
    count = 0
    while "released" not in steps_of(client, "crashes"):  # a reply may be lost that took nothing
        assert count < 20
        count += 1
        proxy.swallow.set()
        put("plain", key=None)
        wait_until(lambda: proxy.swallowed)
        proxy.swallow.clear()
        proxy.swallowed = 0
        wait_until(lambda n=count: steps_of(client, "crashes").count("succeeded") == n, seconds=30)
    assert {attempt for _, attempt in ends(client)} == {1}
    proxy.close()


# A worker dies in the handler: its database work is rolled back, and the delivery comes again.


def test_the_database_forgets_what_a_handler_did_whose_worker_died(
    client: Client, folder: Path, database: Path, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    put(waits=True)
    first = worker()
    wait_until((folder / "waiting").exists)
    first.kill()
    assert effects(database) == 0
    worker()
    wait_until(lambda: "succeeded" in steps_of(client, "crashes"), seconds=30)
    assert ends(client) == [("reclaimed", 1), ("succeeded", 2)]
    assert effects(database) == 1


# A worker dies after the commit and before it settles: delivered again, the inbox stops the second effect.


@pytest.mark.parametrize(("with_inbox", "count"), [("1", 1), ("0", 2)])
def test_a_worker_that_dies_between_commit_and_settle_has_one_effect(
    client: Client,
    database: Path,
    worker: Start,
    put: Callable[..., Event],
    wait_until: WaitUntil,
    with_inbox: str,
    count: int,
) -> None:
    """Without the inbox, as a control, the effect is doubled."""
    first = worker(CRASH_INBOX=with_inbox)
    put(dies="after the commit")
    wait_until(lambda: first.process.poll() is not None)
    assert (first.process.poll(), effects(database)) == (-signal.SIGKILL, 1)
    worker(CRASH_INBOX=with_inbox)
    wait_until(lambda: "succeeded" in steps_of(client, "crashes"), seconds=30)
    assert ends(client) == [("reclaimed", 1), ("succeeded", 2)]
    assert effects(database) == count


# The reply to a settle is lost: asked again it is stale, and counts as settled.


def test_a_settle_whose_reply_was_lost_is_stale_and_was_done(
    server: Server,
    client: Client,
    folder: Path,
    database: Path,
    worker: Start,
    put: Callable[..., Event],
    wait_until: WaitUntil,
) -> None:
    proxy = Swallower(server.url)
    process = worker(BUS_URL=proxy.url)
    put(number=1)
    wait_until(lambda: ends(client) == [("succeeded", 1)], seconds=30)  # the server knows the script from here on
    put(number=2, waits=True)
    wait_until((folder / "waiting").exists)
    proxy.swallow.set()
    (folder / "gate").touch()
    wait_until(lambda: ends(client) == [("succeeded", 1)] * 2, seconds=30)
    wait_until(lambda: proxy.swallowed)
    proxy.swallow.clear()
    process.wait_for_line("was settled elsewhere; this attempt changes nothing")
    put(number=3)
    wait_until(lambda: ends(client) == [("succeeded", 1)] * 3, seconds=30)
    assert effects(database) == 3
    proxy.close()


# A zombie wakes, stopped for longer than its lease: its commit fails on the inbox row, its settle is stale.


def test_a_zombie_that_wakes_changes_nothing(
    client: Client, folder: Path, database: Path, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    put("plain", key="a", waits=True)
    put("effect", key="b")
    zombie = worker()
    wait_until((folder / "waiting").exists)
    os.kill(zombie.pid, signal.SIGSTOP)
    worker()
    wait_until(lambda: steps_of(client, "crashes").count("succeeded") == 2, seconds=30)
    (folder / "gate").touch()
    os.kill(zombie.pid, signal.SIGCONT)
    zombie.wait_for_line("was done before; its effects are not repeated")
    wait_until(lambda: sum("was settled elsewhere" in line for line in zombie.lines) == 2, seconds=30)
    assert sorted(ends(client)) == [("reclaimed", 1), ("reclaimed", 1), ("succeeded", 2), ("succeeded", 2)]
    assert effects(database) == 1


# A handler kills its process each time: three crashes make a dead letter, and its key is free.


def test_a_delivery_that_kills_three_workers_is_dead_and_its_key_goes_on(
    client: Client, database: Path, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    put(dies="always")
    put(number=2)
    for _ in range(3):
        process = worker()
        wait_until(lambda: process.process.poll() is not None, seconds=30)  # noqa: B023
    worker()
    wait_until(lambda: "succeeded" in steps_of(client, "crashes"), seconds=30)
    assert ends(client) == [("reclaimed", 1), ("reclaimed", 2), ("dead_lettered", 3), ("succeeded", 1)]
    [letter] = client.run(operations.dead_letters(CRASHES, "ledger"))
    assert (letter.failure.error_class, letter.event.data["dies"]) == ("CrashLoop", "always")
    assert effects(database) == 1


def test_the_neighbours_of_a_delivery_that_kills_its_worker_are_not_given_up(
    client: Client, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    """What was taken together dies together once; after that the one that kills is taken alone."""
    put(key="a", dies="always")
    put("plain", key="b")
    put("plain", key="c")
    for _ in range(3):
        process = worker()
        wait_until(lambda: process.process.poll() is not None, seconds=30)  # noqa: B023
    worker()
    wait_until(lambda: "dead_lettered" in steps_of(client, "crashes"), seconds=30)
    wait_until(lambda: steps_of(client, "crashes").count("succeeded") == 2, seconds=30)
    assert [letter.event.key for letter in client.run(operations.dead_letters(CRASHES, "ledger"))] == ["a"]


# The recorder dies: cursor and rows are one transaction, so there is no gap and no double.


def test_a_recorder_that_dies_stores_what_the_journal_says(
    client: Client,
    config: Config,
    folder: Path,
    database: Path,
    extra: dict[str, str],
    tally: Callable[[], Running],
    wait_until: WaitUntil,
) -> None:
    def stored() -> int:
        return len(rows(database, "SELECT * FROM dashboard_delivery WHERE state IN ('succeeded', 'dead')"))

    tally()
    producer = threading.Thread(target=publish, args=(config, EVENTS))
    producer.start()
    for _ in range(3):
        before = stored()
        with running(folder, "recorder", extra=extra) as recorder:
            wait_until(lambda: stored() > before, seconds=30, what="rows")  # noqa: B023
            recorder.kill()
    producer.join(60)
    with running(folder, "recorder", extra=extra):
        wait_until(lambda: stored() == EVENTS * len(GROUPS), seconds=60, what="every delivery stored")
    assert differences(lambda query: rows(database, query), *read_bus(client)) == []


# Redis is rewound to an old log: the recorder says so, goes on, and stores what is there.


def test_a_rewound_server_is_said_and_recorded_on(
    server: Server,
    client: Client,
    folder: Path,
    database: Path,
    extra: dict[str, str],
    put: Callable[..., Event],
    wait_until: WaitUntil,
) -> None:
    def stored() -> set[str]:
        return {row[0] for row in rows(database, "SELECT event_id FROM dashboard_event WHERE NOT ghost")}

    old = put()
    shutil.copytree(server.folder / "appendonlydir", folder / "old")
    forgotten = put()
    with running(folder, "recorder", extra=extra) as recorder:
        wait_until(lambda: stored() == {old.id, forgotten.id}, seconds=30)
        server.kill()
        shutil.rmtree(server.folder / "appendonlydir")
        shutil.copytree(folder / "old", server.folder / "appendonlydir")
        server.start()
        recorder.wait_for_line("history was rewound")
        fresh = put()
        wait_until(lambda: fresh.id in stored(), seconds=30)
    assert length(client, CRASHES.events) == 2


# Somebody trims events by hand that are pending: they are marked lost, and the group goes on.


def test_events_trimmed_by_hand_are_marked_lost_and_the_group_goes_on(
    client: Client, config: Config, worker: Start, put: Callable[..., Event], wait_until: WaitUntil
) -> None:
    client.run(operations.subscribe(CRASHES, "ledger", SubscriptionRecord(ordered=True), start="0-0", worker="w"))
    put("plain")
    [event] = client.run(operations.take_ordered(CRASHES, "ledger", "gone#0", count=1)).events
    failed = Record(Step.RETRY_SCHEDULED, event.entry, 1, due_in_ms=1)
    client.run(operations.settle(CRASHES, "ledger", "gone#0", [operations.Settlement(b"r", failed, "k")], holds=1))
    client.run(Operation([(b"XTRIM", CRASHES.events, b"MAXLEN", b"0")], len))
    put("plain")
    worker()
    wait_until(lambda: "succeeded" in steps_of(client, "crashes"), seconds=30)
    assert [word for word, _ in ends(client)] == ["retry_scheduled", "lost", "succeeded"]
    assert list(fsck.check(client)) == []
