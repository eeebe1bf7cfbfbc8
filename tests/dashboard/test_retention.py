"""What the rows keep: so many events, days or bytes; removed a little at a time, on any database."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from bus.journal import Step
from dashboard.models import Delivery, Event
from dashboard.record import limits, retention
from dashboard.record.due import due
from dashboard.record.limits import DAY_MS
from dashboard.record.periods import HOUR_MS
from tests.dashboard.recorded import Recorded

pytestmark = pytest.mark.django_db


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(limits, "LEAST_EVENTS", 100)
    settings.KEEP_DAYS = 100_000


def test_the_oldest_events_go_until_the_database_is_as_small_as_was_asked(few: None, settings: Any) -> None:
    recorded = Recorded()
    for _ in range(20):
        recorded.settle(recorded.publish(100, raw=b'"%s"' % (b"x" * 2_000)), Step.SUCCEEDED)
    full = limits.size_used()
    settings.KEEP_SIZE = full + 1
    assert retention.sweep(chunks=100) == 0
    settings.KEEP_SIZE = full // 2
    while retention.sweep(chunks=1):
        pass
    assert limits.size_used() <= settings.KEEP_SIZE
    left = list(Event.objects.order_by("id").values_list("id", flat=True))
    assert 500 < len(left) < 1_100
    assert left[-1] & (2**40 - 1) == 2_000
    assert Delivery.objects.count() == len(left)


def test_pages_that_were_freed_are_used_again(few: None, settings: Any) -> None:
    recorded = Recorded()
    settings.KEEP_EVENTS = 500
    pages = []
    for _ in range(6):
        recorded.publish(500, raw=b'"%s"' % (b"x" * 2_000))
        while retention.sweep(chunks=1):
            pass
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            pages.append(cursor.fetchone()[0])
    assert pages[-1] < pages[1] * 1.2


def test_some_events_stay_however_small_the_database_should_be(few: None, settings: Any) -> None:
    Recorded().publish(300)
    settings.KEEP_SIZE = 1
    while retention.sweep(chunks=1):
        pass
    assert Event.objects.count() == 100


def test_what_goes_next_is_told_with_its_reason_and_how_full_each_limit_is(settings: Any) -> None:
    recorded = Recorded()
    now_ms = int(time.time() * 1000)
    settings.KEEP_DAYS, settings.KEEP_EVENTS, settings.KEEP_SIZE = 4, 1_000, 0
    assert due() == (None, [])
    recorded.publish(entry=f"{now_ms - 3 * DAY_MS}-0")
    recorded.publish(9, entry=f"{now_ms}-0")
    following, filled = due()
    assert following is not None
    assert (following.before_ms, following.limit) == (now_ms - 3 * DAY_MS, "KEEP_DAYS")
    assert following.at_ms == now_ms + DAY_MS
    assert [(one.limit, round(one.share, 2)) for one in filled] == [("KEEP_DAYS", 0.75), ("KEEP_EVENTS", 0.01)]


def test_a_limit_of_number_or_size_that_comes_first_is_told_first(settings: Any) -> None:
    recorded = Recorded()
    now_ms = int(time.time() * 1000)
    for ago in (20, 10, 0):
        recorded.publish(entry=f"{now_ms - ago * HOUR_MS}-0")
    settings.KEEP_DAYS, settings.KEEP_EVENTS, settings.KEEP_SIZE = 7, 4, 10**12
    following, filled = due()
    assert following is not None
    assert following.limit == "KEEP_EVENTS"
    assert 6 * HOUR_MS < following.at_ms - now_ms < 7 * HOUR_MS, "a quarter is free, and three came in twenty hours"
    assert [one.limit for one in filled] == ["KEEP_DAYS", "KEEP_EVENTS", "KEEP_SIZE"]
    settings.KEEP_SIZE = 1
    following, _ = due()
    assert following is not None
    assert following.limit == "KEEP_SIZE"
    assert following.at_ms - now_ms < HOUR_MS, "now"


def test_the_system_page_says_what_goes_next(client: Client, settings: Any, config: object) -> None:
    client.force_login(User.objects.create_user("ann"))
    assert "nothing: no event is kept" in client.get("/system/").content.decode()
    settings.KEEP_DAYS = 7
    Recorded().publish(entry=f"{int(time.time() * 1000) - 6 * DAY_MS}-0")
    page = client.get("/system/").content.decode()
    assert "in about 24 h, by KEEP_DAYS; 86 % of KEEP_DAYS, 0 % of KEEP_EVENTS" in page
