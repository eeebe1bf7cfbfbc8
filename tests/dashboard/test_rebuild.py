"""The rebuild: the rows that live recording made, nothing lost that can't be made anew, resumed when cut short."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections

import bus
from bus import control, inspect, operations, tail
from bus.config import Config
from bus.event import Event
from bus.journal import Record as Line
from bus.journal import Step, pack
from bus.keys import Keys
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client, connect
from bus.subscription import Retry, Subscription
from bus.tail import Position
from bus.wire import Operation
from dashboard import recorder as recording
from dashboard.models import Attempt, Delivery, Partition, Recording, Rewind, Rollup, Tally, Total, WorkerVersion
from dashboard.models import Event as Stored
from dashboard.models import Subscription as Said
from dashboard.record import rebuild as rebuilding
from dashboard.record import shadow
from dashboard.record.presence import REBUILD, Presence
from dashboard.record.rebuild import Progress, Rebuild, RebuildRefused
from dashboard.recorder import Recorder
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record, is_recorded

TABLES = (Partition, Stored, Delivery, Attempt, Said, Rewind, Tally, Total, Rollup, WorkerVersion)
WHO = "ann"


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the read model, in an order of their own, without the numbers that only say when they were stored."""
    found = {}
    for model in TABLES:
        columns = [
            f.attname for f in model._meta.concrete_fields if (model, f.name) not in ((Said, "id"), (Rewind, "at_ms"))
        ]
        rows = model._default_manager.values_list(*columns)
        found[model.__name__] = sorted(
            (tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows), key=repr
        )
    return found


def digest() -> str:
    return hashlib.sha256(repr(everything()).encode()).hexdigest()


def made_anew(client: Client, *, from_scratch: bool = False) -> list[Progress]:
    told: list[Progress] = []
    rebuild = Rebuild(client)
    rebuild.check(from_scratch=from_scratch)
    rebuild.run(told.append)
    return told


class Workload:
    """A bus on which all happens that the journal can tell, recorded live in reads as small as can be."""

    def __init__(self, client: Client, publisher: Publisher, wait_until: WaitUntil) -> None:
        self.client, self.publisher, self.wait_until = client, publisher, wait_until
        self.keys = Keys(client.config.prefix, "orders", 0)
        self.recorder = Recorder(client)

    def publish(self, first: int, count: int) -> None:
        types = ("order_placed", "order_paid")
        numbers = range(first, first + count)
        self.publisher.publish_many(
            [self.publisher.draft("orders", types[n % 2], n, key=f"o-{n % 5}") for n in numbers]
        )

    def until(self, condition: Callable[[], object]) -> None:
        """Record, until something has come true."""

        def turned() -> bool:
            self.recorder.turn()
            return bool(condition())

        self.wait_until(turned, seconds=30)

    def is_done(self) -> bool:
        prefix = self.client.config.prefix
        groups = self.client.run(inspect.groups(prefix, [("orders", 0)]))
        states = self.client.run(inspect.details(prefix, groups))
        return len(states) == 2 and all(not s.pending and s.last_delivered == s.newest for s in states)

    def write(self, *lines: Line) -> None:
        command = (b"XADD", self.keys.journal, b"*", b"g", b"mail", b"w", b"w9#0", b"b", pack(list(lines)))
        self.client.run(Operation([command], lambda replies: replies[0]))

    def run(self, run_worker: RunWorker) -> None:
        keys, run = self.keys, self.client.run
        quick = Retry(attempts=2, base_seconds=0.01, cap_seconds=0.01)
        mail = Subscription("orders", "mail", handle, types=frozenset({"order_placed"}), start="earliest", retry=quick)
        bill = Subscription("orders", "bill", handle, start="earliest", retry=quick)
        with run_worker(mail, bill):
            self.publish(0, 30)
            self.until(self.is_done)
            ids = [letter.id for letter in run(operations.dead_letters(keys, "bill"))]
            assert len(ids) > 2
            run(operations.replay(keys, "bill", ids[:2], who=WHO, ordered=False))
            self.until(self.is_done)
            run(control.discard(keys, "bill", ids[2:], who=WHO))
            run(control.restore(keys, "bill", ids[2:3], who=WHO))
            entry = Stored.objects.order_by("id")[20].entry
            control.move(self.client, keys, "bill", entry, who=WHO)
            self.until(self.is_done)
        self.publish(30, 20)  # while no worker runs
        self.until(lambda: Stored.objects.filter(ghost=False).count() == 50)
        control.move(self.client, keys, "mail", Stored.objects.order_by("id")[45].entry, who=WHO)
        with run_worker(mail, bill):
            self.until(self.is_done)
        self.write(
            Line(int(Step.LOST), "7-0", 1),
            Line(int(Step.RECLAIMED), "8-0", 1),
            Line(int(Step.RELEASED), "9-0", 2),
        )
        self.until(lambda: is_recorded(self.client))


def handle(event: Event) -> None:
    if event.data % 5 == 0 or (event.attempt == 1 and event.data % 3 == 0):
        raise ValueError(f"no {event.data}")


@pytest.fixture
def workload(
    bus_client: Client,
    publisher: Publisher,
    wait_until: WaitUntil,
    run_worker: RunWorker,
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Workload:
    monkeypatch.setattr(recording, "READ_COUNT", 3)
    made = Workload(bus_client, publisher, wait_until)
    made.run(run_worker)
    return made


def test_a_rebuild_makes_the_same_rows_as_live_recording(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    live, before = everything(), digest()
    states = {row[3] for row in live["Delivery"]}
    assert states >= {"succeeded", "dead", "discarded", "skipped", "lost", "retrying"}
    for count in (2, 7, 500):  # entries in one read: what the journal says may lie far from the events it says it of
        monkeypatch.setattr(rebuilding, "READ_COUNT", count)
        told = made_anew(workload.client)
        assert everything() == live
        assert digest() == before
        assert told[-1].percent == 100
        assert [one.done for one in told] == sorted(one.done for one in told)


def test_live_recording_goes_on_after_a_rebuild(workload: Workload, record: Record) -> None:
    made_anew(workload.client)
    workload.publish(50, 3)
    workload.until(lambda: Stored.objects.filter(ghost=False).count() == 53)
    live = everything()
    made_anew(workload.client)
    assert everything() == live


def test_a_rebuild_that_is_cut_short_leaves_the_rows_as_they_were(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = everything()
    monkeypatch.setattr(rebuilding, "READ_COUNT", 20)

    def cut(progress: Progress) -> None:
        raise OperationalError("the machine went off")

    with pytest.raises(OperationalError):
        Rebuild(workload.client).run(cut)
    assert everything() == live
    assert not beside()
    workload.publish(50, 1)
    workload.until(lambda: is_recorded(workload.client))


def beside() -> list[str]:
    """Tables that a rebuild left behind."""
    return [name for name in connection.introspection.table_names() if name.startswith("rebuilt_")]


@pytest.mark.parametrize("statement", [0, 3, 7, 8, 12, 15])
def test_a_crash_while_the_tables_change_places_leaves_the_old_rows(
    bus_client: Client, publisher: Publisher, record: Record, statement: int
) -> None:
    publisher.publish(publisher.draft("orders", "t", 1))
    record()
    before, count = everything(), 0

    def crash(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal count
        is_swap = sql.startswith("DROP TABLE dashboard_") or "RENAME TO dashboard_" in sql
        count += is_swap
        if is_swap and count == statement + 1:
            raise KeyboardInterrupt
        return execute(sql, *rest)

    with connection.execute_wrapper(crash), pytest.raises(KeyboardInterrupt):
        Rebuild(bus_client).run(lambda _: None)
    assert everything() == before
    made_anew(bus_client)
    assert everything() == before


def test_pages_show_the_old_rows_and_the_recorder_goes_on_while_a_rebuild_runs(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "READ_COUNT", 20)
    fresh = 50

    def meanwhile(progress: Progress) -> None:
        nonlocal fresh
        if fresh < 53:
            workload.publish(fresh, 1)
            fresh += 1
            workload.until(lambda: Stored.objects.filter(ghost=False).count() == fresh)

    Rebuild(workload.client).run(meanwhile)
    assert Stored.objects.filter(ghost=False).count() == 53
    rebuilt = everything()
    workload.publish(53, 1)
    workload.until(lambda: Stored.objects.filter(ghost=False).count() == 54)
    made_anew(workload.client)
    assert {row[:3] for row in rebuilt["Event"]} < {row[:3] for row in everything()["Event"]}


def test_a_recorder_that_runs_hands_over_and_goes_on(
    bus_client: Client, publisher: Publisher, transactional_db: None, wait_until: WaitUntil
) -> None:
    recorder = Recorder(connect(bus_client.config))

    def run() -> None:
        recorder.run()
        connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(200)])
    wait_until(lambda: Stored.objects.count() == 200)
    told = made_anew(bus_client)
    assert told[-1].percent == 100
    publisher.publish(publisher.draft("orders", "t", 1))
    wait_until(lambda: Stored.objects.count() == 201, seconds=20)
    assert not beside()
    recorder.stop()
    thread.join(20)
    assert not Recording.objects.exists()


def test_nothing_is_trimmed_while_a_rebuild_reads(bus_client: Client, publisher: Publisher, record: Record) -> None:
    few = Recorder(connect(replace(bus_client.config, retention_events=10)))
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(1_500)])
    rebuild = Presence(REBUILD)
    rebuild.beat()
    while not is_recorded(bus_client):
        few.turn()
    few._chores._next_trim = 0.0
    few.turn()
    assert events_in_stream(bus_client) == 1_500
    rebuild.leave()
    few._chores._next_trim = 0.0
    few.turn()
    assert events_in_stream(bus_client) < 1_500


def events_in_stream(client: Client) -> int:
    [state] = client.run(inspect.streams(client.config.prefix, [("orders", 0)]))
    return state.events


def test_a_kept_journal_reaches_back_as_far_as_the_events(
    bus_client: Client, publisher: Publisher, record: Record
) -> None:
    entries = [event.entry for event in publisher.publish_many([publisher.draft("orders", "t", n) for n in range(300)])]
    keys, prefix = Keys(bus_client.config.prefix, "orders", 0), bus_client.config.prefix
    for entry in entries:
        line = pack([Line(int(Step.SUCCEEDED), entry, 1)])
        at = b"%d-7" % (int(entry.partition("-")[0]) - 3_600_000 + entries.index(entry))  # an hour old
        command = (b"XADD", keys.journal, at, b"g", b"mail", b"w", b"w9#0", b"b", line)
        bus_client.run(Operation([command], lambda replies: replies[0]))
    position = Position(entries[-1], "9999999999999-0")
    bus_client.run(tail.trim(prefix, ("orders", 0), position, 1_000, keep_journal=True))
    [state] = bus_client.run(inspect.streams(prefix, [("orders", 0)]))
    assert state.journal == 300
    bus_client.run(tail.trim(prefix, ("orders", 0), position, 1_000))
    [state] = bus_client.run(inspect.streams(prefix, [("orders", 0)]))
    assert state.journal < 300


@pytest.mark.parametrize("what", ["events", "journal"])
def test_rows_that_outlived_the_streams_are_kept_unless_told(workload: Workload, what: str) -> None:
    before = everything()
    command = (b"XTRIM", getattr(workload.keys, what), b"MAXLEN", b"10")
    workload.client.run(Operation([command], lambda _: None))
    with pytest.raises(RebuildRefused, match=r"orders/0: .* --from-scratch"):
        made_anew(workload.client)
    assert everything() == before
    made_anew(workload.client, from_scratch=True)
    assert is_recorded(workload.client)
    assert Stored.objects.filter(ghost=False).count() == (10 if what == "events" else 50)


def test_a_server_that_came_back_empty_takes_no_rows_along(workload: Workload) -> None:
    commands = [(b"DEL", workload.keys.events), (b"DEL", workload.keys.journal)]
    workload.client.run(Operation(commands, lambda _: None))
    with pytest.raises(RebuildRefused, match="50 events and the journal's end"):
        made_anew(workload.client)
    assert Stored.objects.filter(ghost=False).count() == 50


def test_another_recorder_that_comes_meanwhile_does_no_harm(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = everything()
    monkeypatch.setattr(rebuilding, "READ_COUNT", 10)
    other = Recorder(workload.client)

    def meanwhile(progress: Progress) -> None:
        other.turn()

    Rebuild(workload.client).run(meanwhile)
    assert everything() == live


def test_the_command_shows_how_far_it_is(workload: Workload) -> None:
    live, said = everything(), StringIO()
    call_command("recorder", rebuild=True, stdout=said)
    assert everything() == live
    assert "100 %" in said.getvalue()
    assert "rebuilt from " in said.getvalue()
    with pytest.raises(CommandError, match="together with --rebuild"):
        call_command("recorder", from_scratch=True)


def test_the_embedded_server_of_a_stopped_bus_is_started_for_it(
    tmp_path: Path, transactional_db: None, config: Config
) -> None:
    own = bus.configure(data_folder=tmp_path, prefix=config.prefix, durability="relaxed")
    with EmbeddedServer(tmp_path, durability="relaxed"):
        publisher = Publisher(own)
        publisher.publish(publisher.draft("orders", "t", 1))
        publisher.close()
    call_command("recorder", rebuild=True, stdout=StringIO())
    assert Stored.objects.count() == 1


def test_each_table_of_the_record_is_made_anew_or_says_why_not() -> None:
    of_the_record = {
        model._meta.db_table.removeprefix("dashboard_")
        for model in apps.get_app_config("dashboard").get_models()
        if model.__module__ == "dashboard.models"
    }
    assert of_the_record == {*shadow.TABLES, *shadow.KEPT}
    assert not set(shadow.TABLES) & set(shadow.KEPT)
    assert all(shadow.KEPT.values())
