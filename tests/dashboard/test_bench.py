"""The benches: what they reckon, what they draw, and that they refuse a run which did not do its work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from dashboard.bench import chart
from dashboard.bench.bus import Case, _compared
from dashboard.bench.load import PAYLOAD_BYTES, payload
from dashboard.bench.own import Own
from dashboard.bench.pairs import Pairs, Run, Stopwatch, alternate
from dashboard.bench.raw import Raw


@pytest.fixture
def own(server_url: str, tmp_path: Path) -> Iterator[Own]:
    made = Own(server_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def raw(server_url: str) -> Iterator[Raw]:
    made = Raw(server_url)
    yield made
    made.client.close()


def test_a_ratio_is_that_of_each_pair_and_not_of_two_series() -> None:
    pairs = Pairs([Run(100, 1, 1), Run(100, 4, 4), Run(100, 1, 1)], [Run(100, 0.5, 2), Run(100, 2, 4), Run(100, 4, 1)])
    assert (pairs.ratio.middle, pairs.ratio.low, pairs.ratio.high) == (2, 0.25, 2)
    assert str(pairs.cpu_ratio) == "1.00 (0.50–1.00)"


def test_who_begins_changes_with_every_pair_and_the_first_pair_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> Run:
        order.append(name)
        return Run(1, 1, 1)

    found = alternate(2, lambda: side("base"), lambda: side("own"))
    assert order == ["base", "own", "own", "base", "base", "own"]
    assert len(found.baseline) == len(found.ours) == 2


def test_a_stopwatch_runs_from_the_first_tick_to_the_last() -> None:
    ended: list[bool] = []
    stopwatch = Stopwatch(3, lambda: ended.append(True))
    for _ in range(3):
        assert not ended
        stopwatch.tick()
    assert ended
    assert stopwatch.run.events == 3


def test_every_payload_has_the_same_size(own: Own) -> None:
    sizes = {len(own.publisher.draft("t", "t", payload(number)).raw) for number in (0, 1, 999, 100_000)}
    assert sizes == {PAYLOAD_BYTES}


def test_both_sides_settle_and_publish_what_they_were_asked_to(own: Own, raw: Raw) -> None:
    for side in (own, raw):
        assert side.settle(250).events == side.publish(20).events + 230
        assert side.publish_many(250).events == side.settle_groups(125, 2).events == 250
        assert side.publish_async(60).events == 60
    assert own.settle_topics(250, 10).events == 250


@pytest.mark.parametrize("options", [{"is_async": True}, {"is_async": True, "concurrency": 20}, {"ordered": True}])
def test_every_way_to_settle_is_measured(own: Own, options: dict[str, Any]) -> None:
    assert own.settle(250, **options).seconds > 0


def test_a_run_that_recorded_less_than_it_handled_does_not_count(own: Own) -> None:
    assert own.settle_unrecorded(250).events == 250
    with pytest.raises(RuntimeError, match="expected 250 records of nobody, found 0"):
        own._check("nobody", 250)


def test_the_chart_has_a_bar_for_each_comparison() -> None:
    case = Case("a < b", lambda: Run(10, 1, 1), lambda: Run(10, 0.5, 1))
    drawn = chart.drawn(_compared("relaxed", [case, case], 1))
    shapes = [element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()]  # noqa: S314  # our own
    assert shapes.count("rect") == 2
    assert "a &lt; b" in drawn
