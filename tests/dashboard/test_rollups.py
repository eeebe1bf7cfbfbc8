"""Rollups: what happened in each ten seconds, exact whatever the batches were, bounded whatever strangers invent."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.journal import Failure, JournalEntry, Step
from bus.journal import Record as Line
from bus.tail import Chunk, Position
from dashboard.models import LagSample, Rollup, WorkerVersion
from dashboard.record import rollup_age
from dashboard.record.histogram import bounds, class_of, classes_of, packed, quantile, unpacked
from dashboard.record.rollups import MAX_GROUPS, MAX_TYPES, OTHERS, SPAN_MS
from tests.dashboard.recorded import NOW_MS, Recorded

COUNTS = ("published", "succeeded", "failed", "retried", "dead", "skipped")
FAILURE = Failure("ValueError", "no", "", "", "f")


def counts(**which: Any) -> dict[str, dict[str, int]]:
    """What is counted, by group and type, whatever the bucket."""
    found: dict[str, dict[str, int]] = {}
    for row in Rollup.objects.filter(**which):
        one = found.setdefault(f"{row.group}/{row.type}", dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            one[name] += getattr(row, name)
    return {name: {column: count for column, count in one.items() if count} for name, one in found.items()}


def everything() -> list[tuple[Any, ...]]:
    columns = ("partition_id", "group", "span_ms", "start_ms", "type", *COUNTS, "handled", "settled")
    return sorted(
        tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in Rollup.objects.values_list(*columns)
    )


@given(st.integers(0, 2**52))
def test_a_length_lies_within_its_class_which_is_narrow(length: int) -> None:
    low, high = bounds(class_of(length))
    assert low <= length < high
    assert list(classes_of([length])) == [class_of(length)]
    assert high - low <= max(low / 8, 1)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_off_by_an_eighth_at_most(lengths: list[int], share: float) -> None:
    made = Counter(map(class_of, lengths))
    assert unpacked(packed(made)) == made
    found = quantile(made, share)
    assert found is not None
    true = sorted(lengths)[math.ceil(len(lengths) * share) - 1]
    low, high = bounds(class_of(true))
    assert low - low / 8 - 1 <= found <= high + high / 8 + 1


def test_nothing_takes_no_bytes_and_has_no_quantile() -> None:
    assert packed({}) == b""
    assert unpacked(b"") == {}
    assert quantile({}, 0.5) is None


def test_a_thousand_lengths_take_few_bytes() -> None:
    some = random.Random(1)
    made = Counter(class_of(int(some.lognormvariate(9, 1))) for _ in range(1000))
    assert len(packed(made)) < 250


@pytest.mark.django_db
def test_each_group_and_type_is_counted_by_what_became_of_it() -> None:
    recorded = Recorded()
    placed, mailed = recorded.publish(3), recorded.publish(2, type="mail_sent")
    recorded.settle(placed[:1], Step.SUCCEEDED, duration_us=5_000)
    recorded.settle(placed[1:2], Step.RETRY_SCHEDULED, duration_us=9_000, failure=FAILURE)
    recorded.settle(placed[2:], Step.DEAD_LETTERED, duration_us=7_000, failure=FAILURE)
    recorded.settle(mailed, Step.SKIPPED)
    assert counts() == {
        "/order_placed": {"published": 3},
        "/mail_sent": {"published": 2},
        "email/order_placed": {"succeeded": 1, "failed": 2, "retried": 1, "dead": 1},
        "email/mail_sent": {"skipped": 2},
    }
    row = Rollup.objects.get(group="email", type="order_placed")
    handled, settled = unpacked(row.handled), unpacked(row.settled)
    assert handled == Counter(map(class_of, (5_000, 9_000, 7_000)))
    assert settled.total() == 2, "the one that is retried is not settled yet"


@pytest.mark.django_db
def test_from_publish_until_settled_is_told_in_the_time_of_the_server() -> None:
    recorded = Recorded()
    placed = recorded.publish()
    recorded.at_ms += 40_000
    recorded.settle(placed, Step.SUCCEEDED, duration_us=1_000)
    row = Rollup.objects.get(group="email")
    assert row.start_ms == recorded.at_ms - recorded.at_ms % SPAN_MS
    assert quantile(unpacked(row.settled), 0.5) == pytest.approx(40_000_000, rel=0.07)


@pytest.mark.django_db
def test_the_same_cells_come_of_one_batch_and_of_many() -> None:
    def run(sizes: list[int]) -> list[tuple[Any, ...]]:
        Rollup.objects.all().delete()
        recorded = Recorded(f"orders-{len(sizes)}")
        recorded.at_ms = NOW_MS
        events = [event for size in sizes for event in recorded.publish(size)]
        entries = [f"{recorded.at_ms + n * 3_000}-0" for n in range(4)]
        recorded.at_ms += 10_000
        lines = [Line(int(Step.SUCCEEDED), event.entry, 1, duration_us=n * 100) for n, event in enumerate(events, 1)]
        for number, at in enumerate(entries):
            recorded._store(0, [], [JournalEntry(at, "email", "w1#0", lines[number::4])])
            recorded.projection.load()  # as another recorder, or this one after trouble, would find it
        return [row[1:] for row in everything()]

    assert run([8]) == run([1, 3, 2, 2])


@pytest.mark.django_db
def test_types_beyond_a_limit_are_counted_as_one() -> None:
    recorded = Recorded()
    for number in range(MAX_TYPES + 10):
        recorded.publish(type=f"type-{number}")
    recorded.projection.load()
    recorded.publish(type="type-3")
    recorded.publish(type="one-more")
    found = counts()
    assert len(found) == MAX_TYPES + 1
    assert found["/type-3"] == {"published": 2}
    assert found[f"/{OTHERS}"] == {"published": 11}


@pytest.mark.django_db
def test_groups_beyond_a_limit_are_counted_as_one() -> None:
    recorded = Recorded()
    placed = recorded.publish()
    for number in range(MAX_GROUPS + 5):
        recorded.settle(placed, Step.SUCCEEDED, group=f"group-{number}")
    assert len({name.partition("/")[0] for name in counts()}) == MAX_GROUPS + 2  # them, nobody, and the others
    assert counts()[f"{OTHERS}/order_placed"] == {"succeeded": 5}


@pytest.mark.django_db
def test_folding_keeps_every_count_and_what_comes_late_is_added() -> None:
    recorded = Recorded()
    for _ in range(30):
        placed = recorded.publish(2)
        recorded.settle(placed, Step.SUCCEEDED, duration_us=5_000)
        recorded.at_ms += 7_000
    before, late = counts(), recorded.publish()
    later_ms = recorded.at_ms + rollup_age.KEPT_MS[0] + 60_000
    rollup_age.fold(later_ms)
    assert set(Rollup.objects.values_list("span_ms", flat=True)) == {60_000}
    assert counts()["email/order_placed"] == before["email/order_placed"]
    assert sum(unpacked(row.handled).total() for row in Rollup.objects.exclude(group="")) == 60
    recorded.settle(late, Step.SUCCEEDED, duration_us=5_000)
    rollup_age.fold(later_ms)
    assert set(Rollup.objects.values_list("span_ms", flat=True)) == {60_000}
    assert counts()["email/order_placed"] == {"succeeded": 61}
    rollup_age.fold(recorded.at_ms + rollup_age.KEPT_MS[1] + 600_000)
    assert set(Rollup.objects.values_list("span_ms", flat=True)) == {600_000}
    assert counts()["email/order_placed"] == {"succeeded": 61}
    rollup_age.fold(recorded.at_ms + rollup_age.KEPT_MS[2] + 600_000)
    assert not Rollup.objects.exists()


@pytest.mark.django_db
def test_of_folded_samples_the_worst_is_kept() -> None:
    start = NOW_MS - NOW_MS % 60_000
    for number, lag in enumerate((3, 90, 4)):
        LagSample.objects.create(
            span_ms=SPAN_MS,
            start_ms=start + number * SPAN_MS,
            topic="orders",
            group="email",
            lag=lag,
            age_ms=lag,
            dead=0,
        )
    rollup_age.fold(start + rollup_age.KEPT_MS[0] + 120_000)
    kept = LagSample.objects.get()
    assert (kept.span_ms, kept.start_ms, kept.lag, kept.age_ms) == (60_000, start, 90, 90)


@pytest.mark.django_db
def test_what_a_stranger_dated_into_the_future_is_removed() -> None:
    recorded = Recorded()
    recorded.at_ms = NOW_MS + 50 * 365 * 86_400_000
    recorded.publish()
    assert Rollup.objects.exists()
    rollup_age.fold(NOW_MS)
    assert not Rollup.objects.exists()


@pytest.mark.django_db
def test_a_worker_says_which_code_it_runs_and_the_first_word_counts() -> None:
    recorded = Recorded(partitions=2)
    for partition, at_ms in ((1, 20), (0, 10)):
        entry = JournalEntry(f"{NOW_MS + at_ms}-0", "email", "w1", [], version="v7")
        place = recorded.projection.places["orders", partition]
        recorded.projection.store(
            [Chunk("orders", partition, [], [entry], Position(place.events_cursor, entry.position))]
        )
    assert WorkerVersion.objects.values_list("worker", "since_ms", "version").get() == ("w1", NOW_MS + 10, "v7")
