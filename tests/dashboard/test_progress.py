"""How a delivery moves, step by step, and what never moves it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.journal import Failure, Record, Step
from dashboard.record.progress import SETTLED, Moment, Progress, State, advance

FAILURE = Failure("ValueError", "card declined\nsecond line", "Traceback …", "shop.py:3", "f1")


def step(
    delivery: Progress, step: Step, attempt: int = 1, *, at_ms: int = 1_000, worker: str = "w1", **fields: object
) -> bool:
    record = Record(int(step), "1-0", attempt, **fields)  # type: ignore[arg-type]  # by name
    return advance(delivery, record, Moment(at_ms, worker)).counted


def test_a_fast_success_needs_no_record_of_its_beginning() -> None:
    delivery = Progress()
    step(delivery, Step.SUCCEEDED, duration_us=200_000, ended_ago_us=100_000)
    assert (delivery.state, delivery.attempt, delivery.worker) == (State.SUCCEEDED, 1, "w1")
    assert (delivery.started_ms, delivery.settled_ms, delivery.delivered_ms) == (700, 900, 700)


def test_an_attempt_that_takes_a_while_is_running() -> None:
    delivery = Progress()
    step(delivery, Step.DELIVERED)
    assert (delivery.state, delivery.started_ms) == (State.RUNNING, 1_000)


def test_a_beginning_that_comes_after_the_end_changes_nothing() -> None:
    delivery = Progress()
    step(delivery, Step.SUCCEEDED)
    assert not step(delivery, Step.DELIVERED, at_ms=2_000)
    assert (delivery.state, delivery.moved_ms) == (State.SUCCEEDED, 1_000)


def test_a_failure_says_why_and_when_it_goes_on() -> None:
    delivery = Progress()
    step(delivery, Step.RETRY_SCHEDULED, due_in_ms=500, failure=FAILURE)
    assert (delivery.state, delivery.due_ms) == (State.RETRYING, 1_500)
    assert (delivery.error, delivery.fingerprint) == ("ValueError: card declined", "f1")


def test_a_late_beginning_of_the_failed_attempt_does_not_hide_the_retry() -> None:
    delivery = Progress()
    step(delivery, Step.RETRY_SCHEDULED, due_in_ms=500, failure=FAILURE)
    assert not step(delivery, Step.DELIVERED, attempt=1)
    assert step(delivery, Step.DELIVERED, attempt=2)
    assert (delivery.state, delivery.attempt, delivery.due_ms) == (State.RUNNING, 2, None)


def test_success_after_a_failure_forgets_the_error() -> None:
    delivery = Progress()
    step(delivery, Step.RETRY_SCHEDULED, failure=FAILURE)
    step(delivery, Step.SUCCEEDED, attempt=2)
    assert (delivery.state, delivery.attempt, delivery.ended, delivery.error) == (State.SUCCEEDED, 2, 2, "")


def test_a_dead_letter_keeps_its_reason() -> None:
    delivery = Progress()
    step(delivery, Step.DEAD_LETTERED, attempt=5, failure=FAILURE)
    assert (delivery.state, delivery.settled_ms, delivery.error) == (State.DEAD, 1_000, "ValueError: card declined")


def test_a_zombie_of_an_earlier_attempt_changes_nothing() -> None:
    delivery = Progress()
    step(delivery, Step.DELIVERED, attempt=3)
    assert not step(delivery, Step.SUCCEEDED, attempt=2, worker="zombie")
    assert not step(delivery, Step.RETRY_SCHEDULED, attempt=2, worker="zombie")
    assert (delivery.state, delivery.worker) == (State.RUNNING, "w1")


def test_a_reclaimed_attempt_ended_with_the_worker_that_ran_it() -> None:
    delivery = Progress()
    step(delivery, Step.DELIVERED, worker="dead", at_ms=1_000)
    moved = advance(delivery, Record(int(Step.RECLAIMED), "1-0", 1), Moment(9_000, "finder"))
    assert moved.ended is not None
    assert (moved.ended.worker, moved.ended.started_ms, moved.ended.ended_ms) == ("dead", 1_000, 9_000)
    assert (delivery.state, delivery.due_ms, delivery.error) == (State.RETRYING, 9_000, "its worker died")


def test_a_crash_loop_is_named() -> None:
    delivery = Progress()
    crash = Failure("CrashLoop", "its worker died 3 times while handling it", fingerprint="crash-loop")
    step(delivery, Step.RECLAIMED, attempt=1)
    step(delivery, Step.DEAD_LETTERED, attempt=2, failure=crash)
    assert delivery.error == "crash-loop: its worker died 3 times while handling it"


def test_what_is_given_back_before_it_began_waits_again() -> None:
    delivery = Progress()
    moved = advance(delivery, Record(int(Step.RELEASED), "1-0", 1), Moment(1_000, "w1"))
    assert moved.ended is None
    assert (delivery.state, delivery.attempt) == (State.WAITING, 0)
    assert step(delivery, Step.DELIVERED, attempt=1, worker="w2")
    assert (delivery.state, delivery.worker) == (State.RUNNING, "w2")


def test_what_is_given_back_while_it_ran_leaves_a_mark_but_does_not_count() -> None:
    delivery = Progress()
    step(delivery, Step.RETRY_SCHEDULED, attempt=1, failure=FAILURE)
    step(delivery, Step.DELIVERED, attempt=2)
    moved = advance(delivery, Record(int(Step.RELEASED), "1-0", 2), Moment(3_000, "w1"))
    assert moved.ended is not None
    assert (moved.ended.place, moved.ended.number) == (2, 2)
    assert (delivery.state, delivery.attempt) == (State.RETRYING, 1)
    assert step(delivery, Step.SUCCEEDED, attempt=2)
    assert delivery.ended == 3


def test_a_replay_begins_a_new_run_of_attempts() -> None:
    delivery = Progress()
    step(delivery, Step.DEAD_LETTERED, attempt=5, failure=FAILURE)
    assert step(delivery, Step.REPLAYED, attempt=5)
    assert (delivery.state, delivery.attempt, delivery.settled_ms) == (State.REPLAYING, 0, None)
    assert step(delivery, Step.SUCCEEDED, attempt=1)
    assert (delivery.state, delivery.ended) == (State.SUCCEEDED, 2)


@pytest.mark.parametrize(("left_out", "state"), [(Step.LOST, State.LOST), (Step.SKIPPED, State.SKIPPED)])
def test_what_is_left_out_is_settled(left_out: Step, state: State) -> None:
    delivery = Progress()
    step(delivery, left_out)
    assert delivery.state == state
    assert delivery.state in SETTLED


def test_a_step_of_a_later_version_is_ignored() -> None:
    delivery = Progress()
    assert not advance(delivery, Record(250, "1-0", 1), Moment(1_000, "w")).counted
    assert delivery == Progress()


records = st.builds(
    Record,
    step=st.integers(-1, 12),
    entry=st.just("1-0"),
    attempt=st.integers(-(2**63), 2**64 - 1),
    duration_us=st.integers(-(2**63), 2**64 - 1),
    ended_ago_us=st.integers(-(2**63), 2**64 - 1),
    due_in_ms=st.integers(-(2**63), 2**64 - 1),
)


@given(st.lists(records, max_size=12))
def test_no_journal_brings_numbers_that_a_database_cannot_hold(journal: list[Record]) -> None:
    delivery = Progress()
    for record in journal:
        moved = advance(delivery, record, Moment(1_763_000_000_000, "w"))
        told = [moved.ended.started_ms, moved.ended.ended_ms, moved.ended.duration_us] if moved.ended else []
        moments = (delivery.due_ms, delivery.started_ms, delivery.settled_ms, delivery.delivered_ms)
        assert all(0 <= value < 2**63 for value in (*moments, *told, delivery.duration_us) if value is not None)
        assert 0 <= delivery.attempt < 2**31


@given(st.lists(records, max_size=12))
def test_only_a_replay_brings_a_settled_delivery_back(journal: list[Record]) -> None:
    delivery = Progress()
    for record in journal:
        before = delivery.state
        advance(delivery, record, Moment(1_000, "w"))
        if before in SETTLED and delivery.state != before:
            put_aside = {before, delivery.state} == {State.DEAD, State.DISCARDED}
            assert put_aside or record.step == Step.REPLAYED
