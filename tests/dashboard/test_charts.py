"""The charts of a group as the server renders them: a table that needs no script, values that are never made up."""

from __future__ import annotations

import html
import json
import re
import time

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from bus.journal import Failure, Step
from bus.models import ProjectionPlace
from dashboard.models import LagSample
from dashboard.queries.lag import partitions
from dashboard.queries.projections import projections
from dashboard.templatetags.screen import measured, spark_line
from dashboard.views.charts import LEAST_POINTS, PLOTS
from tests.dashboard.recorded import Recorded

pytestmark = pytest.mark.django_db
HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture
def reader(config: object) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    return browser


@pytest.fixture
def lately() -> Recorded:
    """Ten events, half of which failed, a minute ago."""
    recorded = Recorded()
    recorded.at_ms = int(time.time() * 1000) - 60_000
    placed = recorded.publish(10)
    recorded.settle(placed[:5], Step.SUCCEEDED, duration_us=12_000)
    recorded.settle(placed[5:], Step.DEAD_LETTERED, duration_us=90_000, failure=Failure("ValueError", "no"))
    at = recorded.at_ms - recorded.at_ms % 10_000
    LagSample.objects.create(
        span_ms=10_000, start_ms=at, topic="orders", group="email", lag=1_234, age_ms=9_000, dead=5
    )
    return recorded


def page(reader: Browser, address: str) -> str:
    response = reader.get(address)
    assert response.status_code == 200, address
    return re.sub(r"\s+", " ", html.unescape(response.content.decode()))


def test_the_charts_are_a_table_without_scripts(reader: Browser, lately: Recorded) -> None:
    text = page(reader, "/consumers/orders/email/charts/")
    head, _, body = text.partition("<tbody>")[2].rpartition('<div class="scroll-points"')
    assert "order_placed" in head
    assert all(line.head in body for plot in PLOTS for line in plot.lines)
    assert ">1,234<" in body
    assert ">9.00 s<" in body
    assert '<details class="points" open>' in text


def test_the_script_gets_the_same_data(reader: Browser, lately: Recorded) -> None:
    found = reader.get("/consumers/orders/email/charts/?range=1h").content.decode()
    series = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', found)[0])
    assert series["range"] == "1h"
    assert {line.name for plot in PLOTS for line in plot.lines} <= series.keys()
    assert 1_234 in series["lag"]


def test_a_chart_begins_where_something_is_known(reader: Browser, lately: Recorded) -> None:
    LagSample.objects.update(start_ms=lately.at_ms - lately.at_ms % 10_000 - 200_000)
    found = reader.get("/consumers/orders/nobody/charts/").content.decode()
    text = reader.get("/consumers/orders/email/charts/").content.decode()
    series, empty = (
        json.loads(re.findall(r'<script type="application/json">(.*?)</script>', one)[0]) for one in (text, found)
    )
    assert LEAST_POINTS <= len(series["at_ms"]) < 40
    assert len({len(series[line.name]) for plot in PLOTS for line in plot.lines} | {len(series["at_ms"])}) == 1
    assert len(empty["at_ms"]) >= LEAST_POINTS


def test_a_range_that_is_none_shows_the_usual_one(reader: Browser, lately: Recorded) -> None:
    assert 'data-range="15m"' in page(reader, "/consumers/orders/email/charts/?range=%3Cscript%3E")


def test_a_chart_of_which_nothing_is_known_says_so(reader: Browser, lately: Recorded) -> None:
    text = page(reader, "/consumers/orders/nobody/charts/")
    assert re.search(r'data-plot="lag" data-empty', text)
    assert re.search(r'data-plot="duration" data-empty', text)
    assert reader.get("/consumers/nowhere/email/charts/").status_code == 404


def test_a_hostile_type_stays_text(reader: Browser, lately: Recorded) -> None:
    lately.settle(lately.publish(type=HOSTILE), Step.SUCCEEDED, duration_us=5)
    assert HOSTILE not in reader.get("/consumers/orders/email/charts/").content.decode()


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (None, "count", "unknown"),
        (0, "count", "0"),
        (1_234, "count", "1,234"),
        (None, "rate", "unknown"),
        (0, "rate", "0/s"),
        (0.033, "rate", "0.033/s"),
        (4.25, "rate", "4.2/s"),
        (1_234.5, "rate", "1,234/s"),
        (None, "duration", "–"),
        (41, "duration", "41 ms"),
    ],
)
def test_values_are_said_in_their_unit_and_unknown_is_never_zero(value: float | None, unit: str, words: str) -> None:
    assert measured(value, unit) == words


def test_a_sparkline_leaves_gaps_and_draws_a_lone_point() -> None:
    drawn = str(spark_line([5.0, 40.0, None, None, 7.0]))
    assert drawn.count("<polyline") == 2
    assert 'aria-label="from 5 to 7, at most 40"' in drawn
    assert "polyline" not in str(spark_line([None, None]))


def test_one_or_two_events_behind_are_no_mountain() -> None:
    heights = [float(y) for y in re.findall(r",([\d.]+)", str(spark_line([0.0, 2.0])).partition("points")[2])]
    assert min(heights) > 15


def place(version: int, number: int, *, done: bool, partition: int = 0, missing: int = 0) -> None:
    ProjectionPlace.objects.create(
        name="order_list", version=version, topic="orders", partition=partition, number=number, missing=missing,
        done_at="2026-01-01T00:00:00Z" if done else None,
    )  # fmt: skip


def test_each_version_of_a_projection_tells_how_far_it_is() -> None:
    recorded = Recorded(partitions=2)
    recorded.publish(10)
    recorded.publish(6, partition=1)
    for version, number, done in ((1, 9, True), (2, 10, True), (3, 4, False)):
        place(version, number, done=done)
        place(version, 6 if done else 0, done=done, partition=1, missing=version - 1)
    found = projections(partitions())
    told = [(row["version"], row["state"], row["done"], row["behind"], row["percent"], row["missing"]) for row in found]
    assert told == [(3, "building", 4, 12, 25, 2), (2, "live", 16, 0, 100, 1), (1, "replaced", 15, 1, 93, 0)]
    assert found[0]["live_since_ms"] is None
    assert found[1]["live_since_ms"] == 1_767_225_600_000


def test_a_projection_of_what_is_not_recorded_is_unknown_not_zero(reader: Browser) -> None:
    place(1, 5, done=False)
    assert [(row["behind"], row["percent"]) for row in projections({})] == [(None, None)]
    assert "Building" in page(reader, "/system/body/")
