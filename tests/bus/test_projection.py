"""Projections: rows from events, each once and in order, whatever dies; a new version is built beside the live one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group as Row  # any table will do
from django.db import connection

import bus
from bus import projected, projections, projector
from bus.config import Config
from bus.errors import ProjectionInvalid
from bus.event import Event
from bus.keys import Keys
from bus.models import ProjectionPlace
from bus.projections import Projection, Projections
from bus.projector import Projector
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client
from bus.wire import Command, Operation
from tests.acceptance.processes import Running, manage, running
from tests.conftest import WaitUntil, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def write(event: Event, version: int) -> None:
    Row.objects.create(name=f"v{version}:{event.data}")


def forget(version: int) -> None:
    Row.objects.filter(name__startswith=f"v{version}:").delete()


def versioned(version: int = 1, apply: projections.Apply = write, **changes: Any) -> Projection:
    return replace(Projection("orders", "order_list", version, apply, forget), **changes)


def rows(version: int = 1) -> list[str]:
    """What the version's rows say, in the order in which they were written."""
    found = Row.objects.filter(name__startswith=f"v{version}:").order_by("pk").values_list("name", flat=True)
    return [name.partition(":")[2] for name in found]


Publish = Callable[..., list[Event]]


@pytest.fixture
def publish(publisher: Publisher) -> Publish:
    """`publish("a", "b")` puts an event for each on the topic."""

    def run(*data: str | int, type: str = "named", key: str | None = None) -> list[Event]:
        return publisher.publish_many([publisher.draft("orders", type, one, key=key) for one in data])

    return run


@pytest.fixture
def projecting(config: Config) -> Iterator[Callable[..., Projector]]:
    """`projecting(projection, …)` makes a projector that is closed at the end."""
    made: list[Projector] = []

    def make(*wanted: Projection, **options: Any) -> Projector:
        made.append(Projector(config, wanted, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def turns(one: Projector, count: int = 3) -> None:
    for _ in range(count):
        one.turn(block_ms=1)


def turn_until(one: Projector, condition: Callable[[], bool]) -> None:
    """How much one turn applies depends on how busy the machine is."""

    def turned() -> bool:
        one.turn(block_ms=1)
        return condition()

    wait_for(turned, seconds=60)


def ask(client: Client, *command: bytes) -> Any:
    one: Command = command
    return client.run(Operation([one], lambda replies: replies[0]))


def trim(client: Client, keep: int) -> None:
    ask(client, b"XTRIM", Keys(client.config.prefix, "orders", 0).events, b"MAXLEN", b"%d" % keep)


def test_every_event_from_the_first_becomes_rows_in_order(
    publish: Publish, projecting: Callable[..., Projector]
) -> None:
    publish(*range(1_200))
    one = projecting(versioned())
    turn_until(one, lambda: len(rows()) == 1_200)
    assert rows() == [str(number) for number in range(1_200)]
    publish("later")
    turns(one)
    assert rows()[-1] == "later"
    assert len(rows()) == 1_201


def test_other_types_are_passed_over(publish: Publish, projecting: Callable[..., Projector]) -> None:
    publish("a", type="placed")
    publish("b", "c")
    publish("d", type="placed")
    turns(projecting(versioned(types=frozenset({"named"}))))
    assert rows() == ["b", "c"]
    assert ProjectionPlace.objects.get().number == 4


def test_a_version_is_live_once_it_has_caught_up(publish: Publish, projecting: Callable[..., Projector]) -> None:
    publish(*range(600))
    one = projecting(versioned())
    turns(one, 1)
    assert projected.live_version("order_list") == 0
    turn_until(one, lambda: projected.live_version("order_list") == 1)


def test_a_topic_without_events_is_live_at_once(projecting: Callable[..., Projector]) -> None:
    turns(projecting(versioned()), 1)
    assert projected.live_version("order_list") == 1


def test_every_partition_is_projected(
    publisher: Publisher, publish: Publish, projecting: Callable[..., Projector]
) -> None:
    publisher.declare("orders", 4)
    for number in range(40):
        publish(number, key=f"o-{number}")
    turn_until(projecting(versioned()), lambda: ProjectionPlace.objects.filter(done_at__isnull=False).count() == 4)
    assert sorted(map(int, rows())) == list(range(40))


def test_rows_and_position_commit_together(publish: Publish, projecting: Callable[..., Projector]) -> None:
    def fail(event: Event, version: int) -> None:
        write(event, version)
        if event.data == 2:
            raise ValueError("after the work")

    publish(*range(5))
    turns(projecting(versioned(apply=fail)), 5)
    assert rows() == ["0", "1"]
    assert ProjectionPlace.objects.get().number == 2
    turns(projecting(versioned()))
    assert rows() == ["0", "1", "2", "3", "4"]


def test_an_event_that_fails_holds_up_its_partition_and_no_other(
    publisher: Publisher, publish: Publish, projecting: Callable[..., Projector], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event, version: int) -> None:
        if event.data == "poison":
            raise ValueError("can't be read")
        write(event, version)

    publisher.declare("orders", 2)
    publish("poison", "behind it", key="o-1")
    publish(*range(50), key="o-4")  # CRC-32: the other partition
    one = projecting(versioned(apply=fail))
    turn_until(one, lambda: len(rows()) == 50)
    assert sorted(map(int, rows())) == list(range(50))
    assert projected.live_version("order_list") == 0
    assert [r.message for r in caplog.records if "ValueError: can't be read" in r.message and "orders/" in r.message]
    assert sum("can't be read" in record.message for record in caplog.records) == 1


def test_two_projectors_apply_each_event_once(
    config: Config, publish: Publish, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "RIVAL_SECONDS", 0.01)
    publish(*range(1_000))
    both = [Projector(config, [versioned()]) for _ in range(2)]
    threads = [threading.Thread(target=one.run, daemon=True) for one in both]
    for thread in threads:
        thread.start()
    for number in range(1_000, 1_100):
        publish(number)
    try:
        wait_until(lambda: len(rows()) >= 1_100, seconds=30)
    finally:
        for one in both:
            one.stop()
        for thread in threads:
            thread.join(10)
    assert rows() == [str(number) for number in range(1_100)]
    assert ProjectionPlace.objects.get().number == 1_100


def test_of_two_that_have_read_the_same_one_applies_it(publish: Publish, projecting: Callable[..., Projector]) -> None:
    first, second = projecting(versioned()), projecting(versioned())
    turns(first)
    turns(second)
    events = publish("a", "b")
    stale = ProjectionPlace.objects.get()
    turns(first)
    with pytest.raises(projected.CursorMoved):
        projected.store(versioned(), stale, events, missing=0)
    turns(second)
    assert rows() == ["a", "b"]


def test_a_new_version_is_built_while_the_old_one_serves_and_is_kept_up_to_date(
    publish: Publish, projecting: Callable[..., Projector]
) -> None:
    publish(*range(1_200))
    turn_until(projecting(versioned()), lambda: projected.live_version("order_list") == 1)
    both = projecting(versioned(), versioned(2))
    seen = [(1, len(rows()))]

    def publishing() -> bool:
        publish(f"more {len(seen)}")
        both.turn(block_ms=1)
        live = projected.live_version("order_list")
        seen.append((live, len(rows(live))))
        return live == 2

    wait_for(publishing, seconds=60)
    published = len(seen)
    turn_until(both, lambda: len(rows(2)) == 1_200 + published - 1)
    assert [live for live, _ in seen] == sorted(live for live, _ in seen)
    assert {live for live, _ in seen} == {1, 2}
    counts = [count for _, count in seen]
    assert counts == sorted(counts), "no reader saw less than before"
    assert rows(2) == [*map(str, range(1_200)), *(f"more {number}" for number in range(1, published))]


def test_it_is_not_handed_over_while_the_old_version_is_further(
    publish: Publish, projecting: Callable[..., Projector]
) -> None:
    publish("a")
    old, new = projecting(versioned()), projecting(versioned(2))
    turns(old)
    new.turn(block_ms=1)
    ProjectionPlace.objects.filter(version=2).update(done_at=None)
    publish("b")
    turns(old)
    assert projected.hand_over(versioned(2)) == 0
    assert projected.live_version("order_list") == 1
    turns(new)
    assert projected.hand_over(versioned(2)) is None
    assert projected.live_version("order_list") == 2


def test_what_was_replaced_is_removed_later(
    publish: Publish, projecting: Callable[..., Projector], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("a", "b")
    old = projecting(versioned())
    turns(old)
    new = projecting(versioned(2))
    turns(new)
    assert rows(1) == ["a", "b"], "somebody may be reading it"
    monkeypatch.setattr(projected, "RETIRED_SECONDS", 0.0)
    monkeypatch.setattr(projector, "RETIRE_SECONDS", 0.0)
    turns(new, 1)
    new.builds[0].next_retire = 0.0
    turns(new, 1)
    assert (rows(1), rows(2)) == ([], ["a", "b"])
    publish("c")
    turns(old)
    turns(new)
    assert (rows(1), rows(2)) == ([], ["a", "b", "c"])


def test_a_lower_version_than_the_live_one_is_left_alone(
    publish: Publish, projecting: Callable[..., Projector]
) -> None:
    publish("a")
    turns(projecting(versioned(2)))
    turns(projecting(versioned(1)))
    assert (rows(1), rows(2)) == ([], ["a"])
    assert projected.live_version("order_list") == 2


def test_leftover_rows_of_a_version_are_removed_before_it_is_built(
    publish: Publish, projecting: Callable[..., Projector]
) -> None:
    Row.objects.create(name="v1:left over")
    publish("a")
    turns(projecting(versioned()))
    assert rows() == ["a"]


def test_events_that_were_trimmed_before_they_were_applied_are_said(
    publish: Publish, projecting: Callable[..., Projector], client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    one = projecting(versioned())
    publish(*range(3))
    turns(one)
    publish(*range(3, 9))
    trim(client, 4)
    turns(one)
    assert rows() == ["0", "1", "2", "5", "6", "7", "8"]
    place = ProjectionPlace.objects.get()
    assert (place.missing, place.number) == (2, 9)
    assert "no longer has 2 events" in caplog.text


def test_a_version_that_lacks_what_the_live_one_has_is_handed_over_only_when_told(
    publish: Publish, projecting: Callable[..., Projector], client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    publish(*range(6))
    turns(projecting(versioned()))
    trim(client, 4)
    turns(projecting(versioned(2)))
    assert projected.live_version("order_list") == 1
    assert "lacks 2 events that the live version has" in caplog.text
    turns(projecting(versioned(2), accept_missing=True))
    assert projected.live_version("order_list") == 2


def test_a_server_that_forgot_what_is_in_the_rows_is_said(
    publish: Publish, projecting: Callable[..., Projector], client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    publish("a", "b")
    turns(projecting(versioned()))
    ask(client, b"DEL", Keys(client.config.prefix, "orders", 0).events)
    turns(projecting(versioned()), 1)
    assert "the server has forgotten events" in caplog.text


def test_a_server_that_is_away_for_a_while_is_outlived(
    tmp_path: Path, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(data_folder=tmp_path)

    def put(*data: str) -> None:
        publisher = Publisher(config)
        publisher.publish_many([publisher.draft("orders", "named", one) for one in data])
        publisher.close()

    one = Projector(config, [versioned()])
    thread = threading.Thread(target=one.run, daemon=True)
    with EmbeddedServer(tmp_path, durability="relaxed"):
        put("a", "b")
        thread.start()
        wait_until(lambda: rows() == ["a", "b"])
    wait_until(lambda: "the projections wait" in caplog.text)
    with EmbeddedServer(tmp_path, durability="relaxed"):
        put("c")
        wait_until(lambda: rows() == ["a", "b", "c"])
        one.stop()
        thread.join(10)
    assert caplog.text.count("the projections wait") == 1
    assert "has forgotten" not in caplog.text


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder with a server of its own and a database, for processes."""
    data = tmp_path / "data"
    with EmbeddedServer(data, durability="relaxed"):
        done = manage(data, "migrate", "--verbosity", "0")
        assert done.code == 0, done.err
        yield data


def named(folder: Path, version: int = 1) -> list[str]:
    """What the processes have written, in order."""
    with closing(sqlite3.connect(folder / "fanlight.sqlite3")) as database:
        found = database.execute("SELECT name FROM auth_group WHERE name LIKE ? ORDER BY id", [f"v{version}:%"])
        return [name.partition(":")[2] for (name,) in found]


def live(folder: Path) -> int | None:
    with closing(sqlite3.connect(folder / "fanlight.sqlite3")) as database:
        query = "SELECT max(version) FROM bus_projection WHERE done_at IS NOT NULL"
        found: int | None = database.execute(query).fetchone()[0]
        return found


def publish_names(folder: Path, first: int, count: int) -> None:
    publisher = Publisher(Config(data_folder=folder))
    publisher.publish_many([publisher.draft("names", "named", number) for number in range(first, first + count)])
    publisher.close()


MODULE = "tests.bus.name_list"
NEXT = "tests.bus.name_list_next"


def kill_in_the_middle(process: Running, progress: Callable[[], int], more: int, wait_until: WaitUntil) -> None:
    """Kill -9, once it has written some more."""
    before = progress()
    with process:
        wait_until(lambda: progress() >= before + more, seconds=30)
        process.kill()


def test_a_worker_that_is_killed_again_and_again_loses_and_doubles_nothing(folder: Path, wait_until: WaitUntil) -> None:
    publish_names(folder, 0, 6_000)
    for more in (1, 700, 400):
        kill_in_the_middle(running(folder, "worker", MODULE), lambda: len(named(folder)), more, wait_until)
    assert len(named(folder)) < 6_000, "it was killed before the end"
    publish_names(folder, 6_000, 100)
    with running(folder, "worker", MODULE):
        wait_until(lambda: len(named(folder)) >= 6_100, seconds=60)
    assert named(folder) == [str(number) for number in range(6_100)]


def test_a_rebuild_that_is_killed_goes_on_and_hands_over_without_a_gap(folder: Path, wait_until: WaitUntil) -> None:
    publish_names(folder, 0, 3_000)
    done = manage(folder, "project", "--modules", MODULE)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "name_list v1: live, 3,000 of 3,000 events"
    with running(folder, "worker", MODULE) as old:
        rebuild = ("project", "name_list", "--modules", NEXT)
        kill_in_the_middle(running(folder, *rebuild), lambda: len(named(folder, 2)), 1, wait_until)
        assert (live(folder), len(named(folder, 2)) < 3_000) == (1, True)
        publish_names(folder, 3_000, 500)
        wait_until(lambda: len(named(folder, 1)) == 3_500, seconds=30)  # the old one goes on serving
        done = manage(folder, *rebuild)
        assert done.code == 0, done.err
        assert done.out.splitlines()[-1] == "name_list v2: live, 3,500 of 3,500 events"
        assert old.process.poll() is None
    assert live(folder) == 2
    assert named(folder, 2) == [str(number) for number in range(3_500)]


def test_a_worker_runs_projections_beside_groups_and_stops_when_told(folder: Path, wait_until: WaitUntil) -> None:
    with running(folder, "worker", MODULE, "dashboard.shop.handlers.devices") as worker:
        worker.wait_for_line("projections; Ctrl-C lets running handlers finish")
        publish_names(folder, 0, 3)
        wait_until(lambda: named(folder) == ["0", "1", "2"])
        assert worker.stop() == 0
    assert "worker stopped; nothing of it is pending" in worker.lines


def test_the_command_names_what_is_wrong(folder: Path) -> None:
    assert (
        "expected projections among name_list, got name_lst"
        in manage(folder, "project", "name_lst", "--modules", MODULE).err
    )
    assert "expected a projection, got none" in manage(folder, "project", "--modules", "json").err


def test_a_declaration_that_contradicts_itself_is_refused() -> None:
    async def later(event: Event, version: int) -> None: ...

    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "no name"}, "expected a projection's name"),
        ({"version": 0}, "expected a projection's version to be a whole number from 1, got 0"),
        ({"types": "named"}, r"write \['named'\]"),
    ]
    for changes, text in wrong:
        options: dict[str, Any] = {"name": "order_list", "version": 1, "reset": forget, **changes}
        with pytest.raises(ProjectionInvalid, match=text):
            bus.projection("orders", **options)(write)
    with pytest.raises(ProjectionInvalid, match="expected sync functions for projection order_list v1"):
        bus.projection("orders", name="order_list", version=1, reset=forget)(later)


def test_two_handlers_cannot_share_a_name_and_version() -> None:
    made = Projections()
    made.add(versioned())
    made.add(versioned())  # the same one again
    with pytest.raises(ProjectionInvalid, match="expected one handler for order_list v1"):
        made.add(versioned(apply=lambda *_: None))
    assert [one.version for one in made.wanted()] == [1]


def test_the_transaction_ends_in_time_when_handlers_are_slow(
    publish: Publish, projecting: Callable[..., Projector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projected, "TURN_SECONDS", 0.0)
    publish("a", "b", "c")
    one = projecting(versioned())
    one.turn(block_ms=1)
    assert rows() == ["a"], "one event, since the time was over"
    turns(one, 3)
    assert rows() == ["a", "b", "c"]
    assert not connection.in_atomic_block
