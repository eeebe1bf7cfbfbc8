"""What the rows keep: so many events, days or bytes; removed a little at a time, on any database."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from bus.journal import Step
from dashboard.models import Delivery, Event
from dashboard.record import limits, retention
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
