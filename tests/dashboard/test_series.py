"""A group over time: exact where it was measured, None where nobody did, and never more points than a chart shows."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from bus.journal import Failure, Step
from dashboard.models import LagSample, Recording
from dashboard.queries.series import RANGES, lag_sparks, series
from dashboard.record import rollup_age
from dashboard.record.rollups import MAX_TYPES
from tests.dashboard.recorded import Recorded

pytestmark = pytest.mark.django_db
FAILURE = Failure("ValueError", "no", "", "", "f")
STEP_MS = 10_000


@pytest.fixture
def recorded() -> Recorded:
    """Begins at the start of ten minutes, so that points are easy to count."""
    made = Recorded()
    made.at_ms -= made.at_ms % 600_000
    return made


def told(recorded: Recorded, name: str = "15m", group: str = "email", *, until_ms: int | None = None) -> dict[str, Any]:
    now_ms = (until_ms or recorded.at_ms) + STEP_MS
    Recording.objects.update_or_create(name="me", defaults={"started_ms": 0, "beat_ms": now_ms})
    found = series("orders", group, name, now_ms=now_ms)
    assert found is not None
    return found


def sample(at_ms: int, lag: int, group: str = "email") -> None:
    LagSample.objects.create(
        span_ms=STEP_MS, start_ms=at_ms - at_ms % STEP_MS, topic="orders", group=group, lag=lag, age_ms=lag * 10, dead=0
    )


def values(found: dict[str, Any], column: str) -> dict[int, Any]:
    """What is known, by point."""
    return {at: value for at, value in zip(found["at_ms"], found[column], strict=True) if value is not None}


def test_rates_failures_and_durations_are_told_point_by_point(recorded: Recorded) -> None:
    start = recorded.at_ms
    first = recorded.publish(20)
    recorded.settle(first[:15], Step.SUCCEEDED, duration_us=20_000)
    recorded.settle(first[15:], Step.RETRY_SCHEDULED, duration_us=80_000, failure=FAILURE)
    recorded.at_ms = start + 2 * STEP_MS
    recorded.settle(first[15:], Step.DEAD_LETTERED, duration_us=80_000, failure=FAILURE)
    found = told(recorded)
    assert values(found, "coming") == {start: 2.0, start + STEP_MS: 0, start + 2 * STEP_MS: 0}
    assert values(found, "settled") == {start: 1.5, start + STEP_MS: 0, start + 2 * STEP_MS: 0.5}
    assert values(found, "failed") == {start: 0.5, start + STEP_MS: 0, start + 2 * STEP_MS: 0.5}
    assert values(found, "dead")[start + 2 * STEP_MS] == 0.5
    assert values(found, "handled_p50_ms") == pytest.approx({start: 20, start + 2 * STEP_MS: 80}, rel=0.07)
    assert values(found, "handled_p95_ms")[start] == pytest.approx(80, rel=0.07)
    assert values(found, "settled_p95_ms")[start + 2 * STEP_MS] == pytest.approx(20_000, rel=0.07)


def test_a_group_that_takes_some_types_is_told_how_many_of_those_come(recorded: Recorded) -> None:
    recorded.subscribe("email", types=["mail_asked"])
    recorded.publish(30)
    recorded.publish(10, type="mail_asked")
    found = told(recorded)
    assert list(values(found, "coming").values()) == [1.0]
    assert [row["type"] for row in found["types"]] == ["mail_asked"]


def test_with_too_many_types_nobody_can_tell_which_of_them_came(recorded: Recorded) -> None:
    recorded.subscribe("email", types=["mail_asked"])
    recorded.publish(10, type="mail_asked")
    for number in range(MAX_TYPES):
        recorded.publish(type=f"type-{number}")
    assert values(told(recorded), "coming") == {}
    assert list(values(told(recorded, group="all"), "coming").values()) == [4.0]


def test_lag_that_nobody_measured_is_unknown(recorded: Recorded) -> None:
    start = recorded.at_ms
    recorded.publish()
    sample(start + STEP_MS, 7)
    sample(start + 3 * STEP_MS, 0)
    found = told(recorded, until_ms=start + 5 * STEP_MS)
    assert values(found, "lag") == {start + STEP_MS: 7, start + 3 * STEP_MS: 0}
    assert values(found, "age_ms")[start + STEP_MS] == 70


def test_before_the_first_event_and_after_the_recorder_nothing_is_known(recorded: Recorded) -> None:
    start = recorded.at_ms
    recorded.publish()
    now_ms = start + 5 * STEP_MS
    Recording.objects.create(name="me", started_ms=0, beat_ms=now_ms - 60_000, stored_ms=start + STEP_MS + 1)
    found = series("orders", "email", now_ms=now_ms)
    assert found is not None
    assert list(values(found, "coming")) == [start, start + STEP_MS]


@pytest.mark.parametrize(("name", "points"), [("15m", 90), ("1h", 120), ("24h", 144)])
def test_each_range_has_a_bounded_number_of_points(recorded: Recorded, name: str, points: int) -> None:
    recorded.publish()
    found = told(recorded, name)
    assert len(found["at_ms"]) == points
    assert {len(found[column]) for column in ("lag", "coming", "handled_p95_ms")} == {points}
    assert found["at_ms"][-1] + found["step_ms"] <= found["now_ms"]


def test_a_day_looks_the_same_before_and_after_it_was_folded(recorded: Recorded) -> None:
    start = recorded.at_ms
    for number in range(40):
        recorded.at_ms = start + number * 400_000
        recorded.settle(recorded.publish(3), Step.SUCCEEDED, duration_us=1000 * (number + 1))
        sample(recorded.at_ms, number)
    now_ms = start + 80_000_000
    before = told(recorded, "24h", until_ms=now_ms)
    rollup_age.fold(now_ms)
    assert told(recorded, "24h", until_ms=now_ms) == before
    assert sum(values(before, "coming").values()) * 600 == pytest.approx(120, abs=0.5)


def test_a_topic_that_is_not_recorded_has_no_series() -> None:
    assert series("nowhere", "email") is None


def test_a_spark_has_a_point_for_ten_seconds_and_gaps(recorded: Recorded) -> None:
    sample(recorded.at_ms, 5)
    sample(recorded.at_ms + 2 * STEP_MS, 9)
    found = lag_sparks([("orders", "email"), ("orders", "stock")], recorded.at_ms + 4 * STEP_MS)
    assert found["orders", "email"] == [None] * 26 + [5, None, 9, None]
    assert set(found["orders", "stock"]) == {None}


def test_a_range_that_is_none_is_refused_with_those_that_are(recorded: Recorded) -> None:
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    refused = browser.get("/api/groups/orders/email/series?range=week")
    assert refused.status_code == 400
    assert all(name in refused.json()["error"]["message"] for name in RANGES)
    assert browser.get("/api/groups/nowhere/email/series").status_code == 404
