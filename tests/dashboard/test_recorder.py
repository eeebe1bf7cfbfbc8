"""The recorder: rows equal the journal, whatever dies when and whatever strangers wrote."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus import tail
from bus.config import from_options
from bus.event import FIELDS, Event, from_fields
from bus.journal import Control, Failure, JournalEntry, Step, SubscriptionRecord
from bus.journal import Record as Line
from bus.keys import Keys
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client, connect
from bus.subscription import Retry, Subscription
from bus.tail import Chunk, Position
from bus.wire import Operation
from dashboard.models import Attempt, Delivery, Partition, Tally, Total
from dashboard.models import Event as Stored
from dashboard.models import Subscription as Said
from dashboard.record import retention
from dashboard.record.batch import Stored as Recorded
from dashboard.record.limits import Limits
from dashboard.record.progress import Moment, Progress, advance
from dashboard.record.projection import CursorMoved, Projection
from dashboard.record.rows import MAX_PAYLOAD
from dashboard.recorder import Recorder
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record

AT_MS = 1_763_000_000_000
TABLES = (Partition, Stored, Delivery, Attempt, Said, Tally, Total)


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the read model."""
    return {model.__name__: sorted(model._default_manager.values_list(), key=repr) for model in TABLES}


def event(number: int, **fields: Any) -> Event:
    usual = {"id": f"e-{number}", "type": "order_placed", "raw": b"{}", "correlation_id": f"trace-{number}"}
    return Event(**{**usual, **fields}, topic="orders", entry=f"{AT_MS + number}-0")


def settled(number: int, step: Step, attempt: int = 1, **fields: Any) -> Line:
    return Line(int(step), f"{AT_MS + number}-0", attempt, **fields)


def chunk(events: list[Event], *lines: Line, group: str = "email", at: int = 900, since: str = "0-0") -> Chunk:
    """What one read returns: the events, and one journal entry with these lines."""
    journal = [JournalEntry(f"{AT_MS + at}-0", group, "w1#0", list(lines))] if lines else []
    read_to = events[-1].entry if events else since
    return Chunk("orders", 0, events, journal, Position(read_to, journal[-1].position if journal else "0-0"))


@pytest.fixture
def projection(db: None) -> Projection:
    made = Projection()
    made.load()
    made.add([("orders", 0)])
    return made


def full_chunk() -> Chunk:
    failure = Failure("ValueError", "card declined", "Traceback …", "shop.py:3", "f1")
    lines = [
        settled(1, Step.SUCCEEDED),
        settled(2, Step.RETRY_SCHEDULED, failure=failure, due_in_ms=100),
        settled(3, Step.DEAD_LETTERED, failure=failure, log=["WARNING shop: no"]),
        settled(77, Step.SUCCEEDED),
    ]
    return chunk([event(1), event(2), event(3)], *lines)


def test_events_are_numbered_without_gaps_in_the_order_of_their_stream(projection: Projection) -> None:
    projection.store([chunk([event(1), event(2)])])
    projection.store([chunk([event(5)], since=f"{AT_MS + 2}-0")])
    numbers = [pk & (2**40 - 1) for pk in Stored.objects.order_by("id").values_list("id", flat=True)]
    assert numbers == [1, 2, 3]
    assert Partition.objects.get().newest_number == 3


def test_the_same_chunk_stored_by_two_recorders_is_stored_once(projection: Projection) -> None:
    late = Projection()
    late.load()
    projection.store([full_chunk()])
    before = everything()
    with pytest.raises(CursorMoved):
        late.store([full_chunk()])
    assert everything() == before


def test_a_recorder_that_lost_the_race_goes_on_from_where_the_other_is(projection: Projection) -> None:
    late = Projection()
    late.load()
    projection.store([chunk([event(1)])])
    with pytest.raises(CursorMoved):
        late.store([chunk([event(1)])])
    late.load()
    late.store([chunk([event(2)], settled(1, Step.SUCCEEDED), since=f"{AT_MS + 1}-0")])
    assert Stored.objects.count() == 2
    assert Delivery.objects.get().state == "succeeded"


@pytest.mark.parametrize("statement", range(7))
def test_whichever_statement_a_crash_comes_at_nothing_is_half_stored(projection: Projection, statement: int) -> None:
    before, count = everything(), 0

    def crash(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal count
        is_ours = not sql.startswith(("SAVEPOINT", "ROLLBACK", "RELEASE"))
        count += is_ours
        if is_ours and count > statement:
            raise OperationalError("the machine went off")
        return execute(sql, *rest)

    with connection.execute_wrapper(crash), pytest.raises(OperationalError):
        projection.store([full_chunk()])
    assert everything() == before
    projection.load()
    projection.store([full_chunk()])
    assert (Stored.objects.count(), Delivery.objects.count(), Attempt.objects.count()) == (4, 4, 2)


def test_rows_are_the_same_however_the_reads_were_cut(projection: Projection) -> None:
    whole = full_chunk()
    projection.store([whole])
    at_once = everything()
    for model in TABLES:
        if model is not Partition:
            model._default_manager.all().delete()
    Partition.objects.update(events_cursor="0-0", journal_cursor="0-0", newest_number=0, newest_ms=0, ghosts=0)
    projection.load()
    for one in whole.events:
        projection.store([chunk([one], since=one.entry)])
    projection.load()  # memory is only a shortcut
    last = whole.events[-1].entry
    for number, line in enumerate(whole.journal[0].records):
        entry = JournalEntry(whole.journal[0].position, "email", "w1#0", [line])
        position = Position(last, entry.position if number == 3 else f"{AT_MS + 100 + number}-0")
        projection.store([Chunk("orders", 0, [], [entry], position)])
    assert {name: rows for name, rows in everything().items() if name != "Said"} == {
        name: rows for name, rows in at_once.items() if name != "Said"
    }


def test_a_record_of_an_event_that_is_gone_makes_a_ghost_that_is_not_counted(projection: Projection) -> None:
    projection.store([full_chunk()])
    ghost = Stored.objects.get(ghost=True)
    assert ghost.entry == f"{AT_MS + 77}-0"
    assert Delivery.objects.get(event=ghost).state == "succeeded"
    assert Partition.objects.get().newest_number == 3


def test_a_type_that_the_group_does_not_take_leaves_no_row(projection: Projection, record: Record) -> None:
    skipped = chunk([event(1)], settled(1, Step.SKIPPED))
    projection.store([skipped])
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        {"id": "nul\x00nul", "type": "a\x00b", "key": "\x00", "source": "\x00"},
        {"id": "x" * 5_000, "correlation_id": "y" * 5_000, "type": "z" * 100_000},
        {"raw": b"\xff\xfe\x00" * 100_000},
        {"headers": {f"h{n}": "\x00" * 3_000 for n in range(500)}, "traceparent": "t" * 9_000},
        {"id": "\ud800", "type": "'; DROP TABLE dashboard_event; --", "time_text": "\udfff"},
    ],
)
def test_what_strangers_publish_is_stored_as_far_as_a_database_can(
    projection: Projection, hostile: dict[str, Any]
) -> None:
    projection.store([chunk([event(1, **hostile)], settled(1, Step.SUCCEEDED))])
    stored = Stored.objects.get()
    assert Delivery.objects.get().event_id == stored.id
    assert len(stored.payload) <= MAX_PAYLOAD
    assert max(map(len, (stored.event_id, stored.type, stored.source, stored.correlation_id))) <= 512


fields_of_anybody = st.dictionaries(
    st.sampled_from(FIELDS) | st.binary(max_size=20), st.binary(max_size=40) | st.text().map(str.encode), max_size=14
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(fields_of_anybody, min_size=1, max_size=20))
def test_any_entry_that_a_stream_can_hold_is_stored(projection: Projection, entries: list[dict[bytes, bytes]]) -> None:
    place = projection.places["orders", 0]
    before, began = Stored.objects.count(), place.newest_number
    events = [
        from_fields(
            [part for pair in fields.items() for part in pair],
            topic="orders", partition=0, entry=f"{AT_MS + began + number}-0",
        )
        for number, fields in enumerate(entries, 1)
    ]  # fmt: skip
    projection.store([Chunk("orders", 0, events, [], Position(events[-1].entry, "0-0"))])
    assert Stored.objects.count() == before + len(entries)


@pytest.mark.parametrize("entry", ["18446744073709551615-18446744073709551615", "9999999999999999-1", "1-0"])
def test_entry_ids_of_any_size_are_stored(projection: Projection, entry: str) -> None:
    odd = Event(id="odd", topic="orders", type="t", raw=b"1", entry=entry, correlation_id="c")
    projection.store([Chunk("orders", 0, [odd], [], Position(entry, "0-0"))])
    assert Stored.objects.get().entry == entry
    assert not Tally.objects.exists(), "its time is not near now"


def test_nonsense_in_the_journal_is_passed_over(projection: Projection) -> None:
    nonsense = [Line(1, "not an entry", 1), Line(99, f"{AT_MS + 1}-0", 1), Line(2, f"{AT_MS + 1}-0", 2**63)]
    entry = JournalEntry(f"{AT_MS + 900}-0", "g" * 9_000, "w\x00", nonsense)
    projection.store([Chunk("orders", 0, [event(1)], [entry], Position(event(1).entry, entry.position))])
    assert Delivery.objects.get().attempt == 2**31 - 1


def test_sources_that_nobody_can_count_are_counted_as_one(projection: Projection) -> None:
    projection.store([chunk([event(n, source=f"source {n}") for n in range(1, 1_000)])])
    assert Total.objects.count() <= 501
    assert sum(Total.objects.filter(kind="source").values_list("count", flat=True)) == 999


def fails_on_sevens(event: Event) -> None:
    if event.data % 7 == 0 and event.attempt < 3:
        raise ValueError(f"no {event.data}")
    if event.data % 31 == 0:
        raise KeyError("never")


def test_rows_equal_the_journal_of_real_traffic(
    run_worker: RunWorker, publisher: Publisher, record: Record, bus_client: Client, wait_until: WaitUntil
) -> None:
    quick = Retry(attempts=4, base_seconds=0.01)
    groups = [Subscription("orders", name, fails_on_sevens, retry=quick) for name in ("email", "stock", "fraud")]
    publisher.declare("orders", 3)
    with ExitStack() as stack:
        stack.enter_context(run_worker(*groups))
        for start in range(0, 600, 100):
            drafts = [publisher.draft("orders", "t", n, key=f"k{n}") for n in range(start, start + 100)]
            publisher.publish_many(drafts)
            record()
        wait_until(lambda: record() and Delivery.objects.filter(state__in=["succeeded", "dead"]).count() == 1_800)
    record()
    assert rows_of_deliveries() == deliveries_of_journal(bus_client)
    assert Stored.objects.count() == 600
    assert Delivery.objects.filter(state="dead").count() == 3 * len(range(0, 600, 31))


def rows_of_deliveries() -> set[tuple[Any, ...]]:
    found = Delivery.objects.select_related("event__partition")
    return {
        (d.event.partition.number, d.event.entry, d.group, d.state, d.attempt, d.ended, d.settled_ms) for d in found
    }


def deliveries_of_journal(client: Client) -> set[tuple[Any, ...]]:
    """The journal, read again from its beginning and folded."""
    prefix = client.config.prefix
    folded: dict[tuple[int, str, str], Progress] = {}
    for partition in client.run(tail.partitions(prefix)):
        for part in client.run(tail.read(prefix, {partition: Position()}, count=100_000, block_ms=None)):
            for entry in part.journal:
                for line in entry.records:
                    key = (part.partition, line.entry, entry.group)
                    advance(folded.setdefault(key, Progress()), line, Moment(entry.at_ms, entry.worker))
    return {(*key, str(d.state), d.attempt, d.ended, d.settled_ms) for key, d in folded.items()}


def test_streams_that_strangers_wrote_by_hand_are_found(
    bus_client: Client, record: Record, wait_until: WaitUntil
) -> None:
    keys = Keys(bus_client.config.prefix, "byhand", 0)
    add = (b"XADD", keys.events, b"*", b"type", b"order_placed", b"data", b'{"by": "hand"}')
    bus_client.run(Operation([add], lambda replies: replies[0]))
    recorder = Recorder(bus_client)
    wait_until(lambda: turned(recorder) and Stored.objects.filter(partition__topic="byhand").exists())
    assert ("byhand", 0) in bus_client.run(tail.partitions(bus_client.config.prefix))


def turned(recorder: Recorder) -> bool:
    recorder.turn()
    return True


def stopped(server: EmbeddedServer) -> bool:
    server.stop()
    return True


class Watched(Recorder):
    """A recorder that, after each turn, looks whether the next step has come true, and stops after the last."""

    def __init__(self, client: Client, steps: list[Callable[[], object]]) -> None:
        super().__init__(client)
        self._steps = steps

    def turn(self) -> Recorded:
        try:
            return super().turn()
        finally:
            if self._steps[0]():
                self._steps.pop(0)
            if not self._steps:
                self.stop()


def test_a_server_that_goes_away_is_said_once_and_outlived(
    tmp_path: Path, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dashboard.recorder")

    def warnings() -> int:
        return sum(line.levelno >= logging.WARNING for line in caplog.records if line.name == "dashboard.recorder")

    with EmbeddedServer(tmp_path, durability="relaxed") as server:
        publisher = Publisher(from_options({"data_folder": tmp_path, "durability": "relaxed"}))
        steps: list[Callable[[], object]] = [
            lambda: publisher.publish(publisher.draft("orders", "t", 1)),
            lambda: Stored.objects.count() == 1,
            lambda: stopped(server),
            lambda: warnings() == 1,
            server.start,
            lambda: publisher.publish(publisher.draft("orders", "t", 2)),
            lambda: Stored.objects.count() == 2,
        ]
        Watched(connect(publisher.config), steps).run()
        publisher.close()
    assert steps == []
    assert warnings() == 1
    assert "recording again; nothing was lost meanwhile" in caplog.messages
    assert caplog.messages[-1] == "the recorder has stopped; everything that was read is stored"


def test_a_database_that_goes_away_is_outlived(
    publisher: Publisher, bus_client: Client, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 3

    def locked(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal failures
        if sql.startswith("INSERT INTO dashboard_event") and failures:
            failures -= 1
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    publisher.publish(publisher.draft("orders", "t", 1))
    with connection.execute_wrapper(locked):
        Watched(bus_client, [lambda: Stored.objects.count() == 1]).run()
    assert [m for m in caplog.messages if "database" in m] == ["database is locked; trying again"]


def test_old_events_leave_and_their_numbers_stay(projection: Projection) -> None:
    projection.store([chunk([event(n) for n in range(1, 1_201)], settled(1, Step.SUCCEEDED), at=5_000)])
    assert retention.sweep(keep=Limits(200, 100_000), chunks=10) == 1_000
    assert Stored.objects.count() == 200
    assert not Delivery.objects.exists()
    assert Partition.objects.get().newest_number == 1_200
    assert retention.sweep(keep=Limits(200, 100_000), chunks=10) == 0


def test_old_events_that_need_somebody_stay_longer(projection: Projection) -> None:
    lines = [settled(1, Step.DEAD_LETTERED), settled(2, Step.SUCCEEDED)]
    projection.store([chunk([event(1), event(2)], *lines)])
    retention.sweep(keep=Limits(1_000, 1))
    assert [stored.event_id for stored in Stored.objects.all()] == ["e-1"]
    retention.sweep_leftovers(keep=Limits(1_000, 1))
    assert [model.objects.count() for model in (Stored, Delivery, Attempt)] == [0, 0, 0]


def test_the_stream_is_trimmed_to_what_is_kept_once_it_is_recorded(
    bus_client: Client, publisher: Publisher, transactional_db: None, wait_until: WaitUntil
) -> None:
    few = connect(replace(bus_client.config, retention_events=100))
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(1_500)])
    recorder = Recorder(few)
    wait_until(lambda: turned(recorder) and Partition.objects.filter(trimmed_number__gte=1_390).exists())
    assert Stored.objects.count() == 1_500
    few.close()


def moved(before: int, after: int, at: int, lines: list[Line] | None = None) -> Chunk:
    """One journal entry that says that email was moved (0: to the beginning), and one with lines after it."""
    entries = [f"{AT_MS + number}-0" if number else "0-0" for number in (before, after)]
    journal = [JournalEntry(f"{AT_MS + at}-0", "email", "", [], control=Control("rewound", "ann", "", *entries))]
    if lines:
        journal.append(JournalEntry(f"{AT_MS + at + 1}-0", "email", "w2#0", lines))
    return Chunk("orders", 0, [], journal, Position(f"{AT_MS + 5}-0", journal[-1].position))


def states(group: str = "email") -> list[str]:
    return list(Delivery.objects.filter(group=group).order_by("event_id").values_list("state", flat=True))


@pytest.fixture
def settled_five(projection: Projection) -> Projection:
    failure = Failure("ValueError", "no")
    lines = [settled(n, Step.DEAD_LETTERED if n == 4 else Step.SUCCEEDED, failure=failure) for n in range(1, 6)]
    projection.store([chunk([event(n, type="even" if n % 2 == 0 else "odd") for n in range(1, 6)], *lines)])
    return projection


def test_a_group_moved_back_begins_anew_after_that_entry(settled_five: Projection) -> None:
    settled_five.store([moved(5, 2, at=1_000, lines=[settled(3, Step.SUCCEEDED)])])
    assert states() == ["succeeded", "succeeded", "succeeded", "waiting", "waiting"]
    settled_five.store([Chunk("orders", 0, [], [], settled_five.places["orders", 0].position)])
    again = Delivery.objects.order_by("event_id")[2]
    assert (again.attempt, again.ended, again.worker) == (1, 2, "w2")
    assert Delivery.objects.order_by("event_id")[3].error == ""


def test_what_has_left_the_stream_does_not_begin_anew(settled_five: Projection) -> None:
    settled_five.trimmed(("orders", 0), 3)
    settled_five.store([moved(5, 0, at=1_000)])
    assert states() == ["succeeded", "succeeded", "succeeded", "waiting", "waiting"]


def test_a_group_moved_forth_is_told_what_it_never_gets(projection: Projection) -> None:
    said = SubscriptionRecord(types=["odd"])
    first = chunk([event(n, type="even" if n % 2 == 0 else "odd") for n in range(1, 6)], settled(1, Step.SUCCEEDED))
    subscribed = JournalEntry(f"{AT_MS + 800}-0", "email", "w", [], subscription=said)
    projection.store([first._replace(journal=[subscribed, *first.journal])])
    projection.store([moved(1, 4, at=1_000)])
    assert states() == ["succeeded", "skipped"]  # the third event; even ones would not have come anyway
    passed = Delivery.objects.get(state="skipped")
    assert (passed.event.entry, passed.error) == (f"{AT_MS + 3}-0", "its group was moved past it")


def test_back_and_forth_leaves_nothing_waiting(settled_five: Projection) -> None:
    settled_five.store([moved(5, 0, at=1_000)])
    settled_five.store([moved(0, 5, at=2_000)])
    assert states() == ["skipped"] * 5


def test_a_dead_letter_is_put_aside_and_back(settled_five: Projection) -> None:
    at = iter(range(1_000, 2_000))
    for step, state in ((Step.DISCARDED, "discarded"), (Step.RESTORED, "dead"), (Step.DISCARDED, "discarded")):
        entry = JournalEntry(f"{AT_MS + next(at)}-0", "email", "ann", [settled(4, step)])
        settled_five.store([Chunk("orders", 0, [], [entry], Position(f"{AT_MS + 5}-0", entry.position))])
        assert Delivery.objects.order_by("event_id")[3].state == state
    assert Delivery.objects.order_by("event_id")[3].error == "ValueError: no"
