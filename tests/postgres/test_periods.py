"""Periods: native partitions by time, made ahead, dropped whole; an odd time never stops recording."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections, transaction

from bus.event import Event
from bus.journal import Failure, JournalEntry, Step
from bus.journal import Record as Line
from bus.tail import Chunk, Position
from dashboard.models import Attempt, Delivery, Partition
from dashboard.models import Event as Stored
from dashboard.record import dropping, periods, retention
from dashboard.record.due import due
from dashboard.record.limits import DAY_MS, Limits
from dashboard.record.periods import HOUR_MS, Period
from dashboard.record.projection import Projection
from dashboard.sql import rows
from tests.conftest import WaitUntil

pytestmark = pytest.mark.django_db(transaction=True)

migration: Any = import_module("dashboard.migrations.0003_periods")


@pytest.fixture(autouse=True)
def no_periods() -> Iterator[None]:
    """Each test begins without any, and leaves none behind."""
    drop_all()
    yield
    drop_all()


def drop_all() -> None:
    with connection.cursor() as cursor:
        for period in periods.stored():
            for table in periods.TABLES:
                cursor.execute(f"DROP TABLE {period.table(table)}")


@pytest.fixture
def projection() -> Projection:
    made = Projection()
    made.load()
    made.add([("orders", 0)])
    return made


def now_ms() -> int:
    return int(time.time() * 1000)


def publish(projection: Projection, *moments: int, step: Step = Step.SUCCEEDED) -> None:
    """An event at each moment, each with what became of it."""
    events = [
        Event(id=f"e-{at}", type="t", raw=b"{}", correlation_id="trace", topic="orders", entry=f"{at}-0")
        for at in moments
    ]
    failure = None if step == Step.SUCCEEDED else Failure("ValueError", "no")
    lines = [Line(int(step), event.entry, 1, failure=failure) for event in events]
    before = projection.places["orders", 0].journal_cursor
    entry = f"{max(*moments, int(before.partition('-')[0]) + 1, 1)}-7"
    journal = [JournalEntry(entry, "mail", "w1#0", lines)]
    projection.store([Chunk("orders", 0, events, journal, Position(events[-1].entry, entry))])


def where(table: str) -> dict[str, int]:
    """How many rows lie in which table."""
    found = rows(
        f"SELECT CAST(tableoid::regclass AS text) AS name, COUNT(*) AS count FROM dashboard_{table} GROUP BY 1"  # noqa: S608
    )
    return {row["name"]: row["count"] for row in found}


def test_rows_of_each_day_have_tables_of_their_own(projection: Projection) -> None:
    now = now_ms()
    publish(projection, now - 2 * DAY_MS, now - DAY_MS, now)
    days = [Period(day - day % DAY_MS, day - day % DAY_MS + DAY_MS) for day in (now - 2 * DAY_MS, now - DAY_MS, now)]
    assert periods.stored() == days
    assert where("event") == {day.table("event"): 1 for day in days}
    assert where("delivery") == {day.table("delivery"): 1 for day in days}


@pytest.mark.parametrize("at_ms", [0, 7, 10**12, 253402300799000])
def test_an_odd_time_does_not_stop_recording(projection: Projection, at_ms: int) -> None:
    publish(projection, at_ms, step=Step.RETRY_SCHEDULED)
    publish(projection, now_ms())
    assert where("event")["dashboard_event_other"] == 1
    assert where("attempt") == {"dashboard_attempt_other": 1}
    assert Stored.objects.count() == Delivery.objects.count() == 2


def test_a_delivery_moves_on_in_the_period_of_its_event(projection: Projection) -> None:
    now = now_ms()
    publish(projection, now - DAY_MS, step=Step.RETRY_SCHEDULED)
    fresh = Projection()  # which knows nothing by heart
    fresh.load()
    line = Line(int(Step.SUCCEEDED), f"{now - DAY_MS}-0", 2)
    cursor = fresh.places["orders", 0].events_cursor
    fresh.store(
        [Chunk("orders", 0, [], [JournalEntry(f"{now}-0", "mail", "w1#0", [line])], Position(cursor, f"{now}-0"))]
    )
    assert [(one.state, one.ended, one.at_ms) for one in Delivery.objects.all()] == [("succeeded", 2, now - DAY_MS)]


def test_the_next_hour_is_covered_before_it_comes(projection: Projection) -> None:
    projection.periods.ahead()
    covered = periods.stored()
    assert any(now_ms() in period for period in covered)
    assert any(now_ms() + HOUR_MS - 1_000 in period for period in covered)
    projection.periods.ahead()
    assert periods.stored() == covered


def test_rows_that_came_before_their_period_are_moved_into_it(projection: Projection) -> None:
    now = now_ms()
    projection.periods._again = float("inf")  # as after a reader was in the way
    publish(projection, now, step=Step.DEAD_LETTERED)
    assert where("event") == {"dashboard_event_other": 1}
    projection.periods._again = 0.0
    publish(projection, now + 1)
    [period] = periods.stored()
    assert where("event") == {period.table("event"): 2}
    assert where("attempt") == {period.table("attempt"): 1}


def test_a_reader_that_holds_the_tables_delays_a_period_and_nothing_else(
    projection: Projection, wait_until: WaitUntil
) -> None:
    reading, over = threading.Event(), threading.Event()

    def read() -> None:
        with transaction.atomic():
            Stored.objects.count()
            reading.set()
            over.wait(30)
        connections.close_all()

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(10)
    publish(projection, now_ms())
    assert periods.stored() == []
    assert Stored.objects.count() == 1
    over.set()
    thread.join(10)
    projection.periods._again = 0.0
    projection.periods.ahead()
    assert where("event") == {periods.stored()[0].table("event"): 1}


def test_old_periods_go_whole_and_what_needs_somebody_stays(projection: Projection) -> None:
    now = now_ms()
    publish(projection, now - 3 * DAY_MS, now - 3 * DAY_MS + 1)
    publish(projection, now - 3 * DAY_MS + 2, step=Step.DEAD_LETTERED)
    publish(projection, now)
    assert dropping.drop_old(Limits(1_000, 1), now) == 1
    assert where("event") == {"dashboard_event_other": 1, periods.stored()[0].table("event"): 1}
    assert Attempt.objects.count() == 1
    assert Partition.objects.get().swept_number == 3
    assert dropping.drop_old(Limits(1_000, 1), now) == 0
    retention.sweep_leftovers(keep=Limits(1_000, 0.2))
    assert Stored.objects.count() == 1


def test_periods_beyond_what_is_kept_go_however_young(projection: Projection) -> None:
    now = now_ms()
    for days in (3, 2, 1):
        publish(projection, *(now - days * DAY_MS + n for n in range(10)))
    publish(projection, now)
    assert dropping.drop_old(Limits(12, 7), now) == 1
    assert Stored.objects.count() == 21
    assert dropping.drop_old(Limits(11, 7), now) == 1


def test_periods_beyond_the_size_go_and_the_newest_one_never(projection: Projection) -> None:
    now = now_ms()
    for days in (2, 1, 0):
        publish(projection, *(now - days * DAY_MS + n for n in range(10)))
    one = sum(rows(dropping._SIZE, [periods.stored()[0].table(table)])[0]["size"] for table in periods.TABLES)
    assert dropping.drop_old(Limits(1_000, 7, 3 * one), now) == 0
    assert dropping.drop_old(Limits(1_000, 7, 2 * one), now) == 1
    assert dropping.drop_old(Limits(1_000, 7, 1), now) == 1
    assert Stored.objects.count() == 10


def test_a_reader_delays_the_removal_of_a_period(projection: Projection) -> None:
    now = now_ms()
    publish(projection, now - 3 * DAY_MS)
    publish(projection, now)
    reading, over = threading.Event(), threading.Event()

    def read() -> None:
        with transaction.atomic():
            Stored.objects.count()
            reading.set()
            over.wait(30)
        connections.close_all()

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(10)
    assert dropping.drop_old(Limits(1_000, 1), now) == 0
    assert Stored.objects.count() == 2
    over.set()
    thread.join(10)
    assert dropping.drop_old(Limits(1_000, 1), now) == 1


@pytest.mark.parametrize(
    ("reach_ms", "width_ms"),
    [(7 * DAY_MS, DAY_MS), (2 * DAY_MS, 6 * HOUR_MS), (8 * HOUR_MS, HOUR_MS), (60_000, HOUR_MS // 6)],
)
def test_the_less_is_kept_the_narrower_periods_are(reach_ms: int, width_ms: int) -> None:
    assert periods.width(reach_ms) == width_ms


def test_what_was_stored_before_there_were_periods_is_divided(projection: Projection) -> None:
    now = now_ms()
    publish(projection, 7, now - 2 * DAY_MS, now, step=Step.DEAD_LETTERED)
    before = [list(model.objects.order_by("pk").values()) for model in (Stored, Delivery, Attempt)]
    undivide()
    with transaction.atomic(), connection.cursor() as cursor:
        migration.divide(cursor)
    assert [list(model.objects.order_by("pk").values()) for model in (Stored, Delivery, Attempt)] == before
    assert len(periods.stored()) == 2
    assert where("event")["dashboard_event_other"] == 1
    names = {row["indexname"] for row in rows("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")}
    models = (apps.get_model("dashboard", name) for name in ("event", "delivery", "attempt"))
    later = {"delivery_dead"}  # made by migrations that follow
    assert {index.name for model in models for index in model._meta.indexes} - later <= names
    publish(projection, now + 5)


def undivide() -> None:
    """The three tables as they were before the migration."""
    with connection.cursor() as cursor:
        for table in periods.TABLES:
            cursor.execute(f"CREATE TABLE plain (LIKE dashboard_{table})")
            cursor.execute(f"INSERT INTO plain SELECT * FROM dashboard_{table}")  # noqa: S608
            cursor.execute(f"DROP TABLE dashboard_{table}")
            cursor.execute(f"ALTER TABLE plain RENAME TO dashboard_{table}")
            if table != "event":
                cursor.execute(f"ALTER TABLE dashboard_{table} DROP COLUMN at_ms")


def test_the_period_that_goes_next_is_told_by_its_end(projection: Projection, settings: Any) -> None:
    settings.KEEP_DAYS, settings.KEEP_EVENTS, settings.KEEP_SIZE = 7, 1_000_000, 10**12
    now = now_ms()
    publish(projection, now - 2 * DAY_MS, now)
    following, filled = due()
    assert following is not None
    end_ms = periods.stored()[0].end_ms
    assert (following.before_ms, following.at_ms, following.is_whole) == (end_ms, end_ms + 7 * DAY_MS, True)
    assert [one.limit for one in filled] == ["KEEP_DAYS", "KEEP_EVENTS", "KEEP_SIZE"]
    assert 0 < filled[2].share < 0.1
