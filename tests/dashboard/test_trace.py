"""A trace: its order, its sums, its ghosts, and the whole way from the bus to the picture."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.publisher import Publisher
from bus.subscription import Retry, Subscription
from bus.tail import Chunk, Position
from dashboard import queries
from dashboard.queries.trace import build, in_causal_order
from dashboard.record.projection import Projection
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record

QUICK = Retry(attempts=3, base_seconds=0.01, cap_seconds=0.02)


def stored(number: int, *, at_ms: int = 0, cause: int | str = "") -> dict[str, Any]:
    cause_id = f"e-{cause}" if isinstance(cause, int) else cause
    return {"id": number, "event_id": f"e-{number}", "at_ms": at_ms, "at_seq": 0, "cause_id": cause_id}


def described(event_id: str, *lanes: tuple[str, int | None], at_ms: int = 1_000, cause: str = "") -> dict[str, Any]:
    shown = [{"state": state, "settled_ms": settled_ms} for state, settled_ms in lanes]
    whence = {"event": cause, "group": "g", "attempt": 1} if cause else None
    return {"id": event_id, "type": f"type of {event_id}", "at_ms": at_ms, "cause": whence, "lanes": shown}


def order(events: list[dict[str, Any]]) -> list[int]:
    return [event["id"] for event in in_causal_order(events)]


def test_events_are_in_the_order_of_their_time() -> None:
    assert order([stored(2, at_ms=5), stored(1, at_ms=3)]) == [1, 2]


def test_no_event_comes_before_its_cause_whatever_the_clocks_say() -> None:
    assert order([stored(1, at_ms=1, cause=2), stored(2, at_ms=9, cause=3), stored(3, at_ms=10)]) == [3, 2, 1]


def test_causes_that_go_in_a_circle_end() -> None:
    assert sorted(order([stored(1, cause=2), stored(2, cause=1), stored(3, cause=3)])) == [1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), max_size=12))
def test_every_event_is_placed_once(links: list[tuple[int, int]]) -> None:
    events = [stored(number, at_ms=at_ms, cause=cause) for number, (at_ms, cause) in enumerate(links)]
    assert sorted(order(events)) == list(range(len(links)))


def test_sums_count_lanes_by_state() -> None:
    events = [described("a", ("succeeded", 1_500), ("dead", 1_900)), described("b", ("waiting", None))]
    summary = build("t", events, of=2, now_ms=5)["summary"]
    assert (summary["events"], summary["lanes"], summary["succeeded"], summary["dead"], summary["waiting"]) == (
        2, 3, 1, 1, 1,
    )  # fmt: skip


def test_an_open_lane_keeps_the_trace_open() -> None:
    open_trace = build("t", [described("a", ("succeeded", 1_500), ("retrying", None))], of=1, now_ms=5)
    assert (open_trace["complete"], open_trace["summary"]["took_ms"]) == (False, None)


def test_a_closed_trace_took_until_its_last_lane_was_settled() -> None:
    closed = build("t", [described("a", ("succeeded", 1_500), ("dead", 1_900))], of=1, now_ms=5)
    assert (closed["complete"], closed["summary"]["took_ms"]) == (True, 900)


def test_a_trace_that_nobody_subscribed_to_took_no_time_that_is_known() -> None:
    alone = build("t", [described("a")], of=1, now_ms=5)
    assert (alone["complete"], alone["summary"]["took_ms"], alone["title"]) == (True, None, "type of a")


def test_a_cause_that_is_not_recorded_is_a_ghost() -> None:
    events = [described("b", cause="a"), described("c", cause="a"), described("d", cause="b")]
    shown = build("t", events, of=3, now_ms=5)
    assert [(event["id"], event.get("ghost", False)) for event in shown["events"]] == [
        ("a", True), ("b", False), ("c", False), ("d", False),
    ]  # fmt: skip
    assert shown["title"] == "type of b"
    assert shown["summary"]["events"] == 3


def test_what_is_left_out_is_said() -> None:
    assert build("t", [described("a")], of=7, now_ms=5)["truncated"] == {"shown": 1, "of": 7}
    assert build("t", [described("a")], of=1, now_ms=5)["truncated"] is None


@pytest.mark.parametrize("unknown", ["", "nothing", "\x00", "\ud800", "x" * 5_000, "' OR 1=1 --"])
def test_a_trace_of_which_nothing_is_recorded_is_none(db: None, config: object, unknown: str) -> None:
    assert queries.trace(unknown) is None


def fail_twice(event: Event) -> None:
    if event.attempt < 3:
        raise ValueError("mailbox full")


def always_fail(event: Event) -> None:
    raise KeyError("sku")


def test_a_trace_tells_the_whole_fan_out(
    run_worker: RunWorker, publisher: Publisher, record: Record, wait_until: WaitUntil
) -> None:
    def pay(event: Event) -> None:
        publisher.publish(publisher.draft("payments", "payment_successful", {"order": event.key}))

    def nothing(event: Event) -> None:
        pass

    groups = [
        Subscription("orders", "payment", pay),
        Subscription("orders", "email", fail_twice, retry=QUICK),
        Subscription("orders", "stock", always_fail, retry=QUICK),
        Subscription("orders", "billing", nothing, types=frozenset({"invoice_sent"})),
        Subscription("payments", "ledger", nothing),
    ]
    with run_worker(*groups):
        event = publisher.publish(publisher.draft("orders", "order_placed", {"total": 1}, key="o-1"))
        wait_until(lambda: record() and is_complete(event.correlation_id, events=2))
    trace = queries.trace(event.correlation_id)
    assert trace
    order, payment = trace["events"]
    assert [(lane["group"], lane["label"]) for lane in order["lanes"]] == [
        ("email", "Succeeded after 2 retries"), ("payment", "Succeeded"), ("stock", "Dead"),
    ]  # fmt: skip
    assert payment["cause"] == {"event": event.id, "group": "payment", "attempt": 1}
    assert [lane["group"] for lane in payment["lanes"]] == ["ledger"]
    stock = order["lanes"][2]
    assert (stock["note"], stock["attempts_allowed"]) == ("KeyError: 'sku'", 3)
    assert [attempt["number"] for attempt in stock["attempts"]] == [1, 2, 3]
    assert trace["summary"]["took_ms"] >= 0


def is_complete(trace_id: str, *, events: int) -> bool:
    trace = queries.trace(trace_id)
    return bool(trace and trace["complete"] and trace["summary"]["events"] == events)


def test_a_lane_waits_behind_exactly_those_before_it(
    run_worker: RunWorker, publisher: Publisher, record: Record
) -> None:
    with run_worker(Subscription("orders", "email", fail_twice)):
        pass  # it has subscribed and is gone
    publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(30)])
    last = publisher.publish(publisher.draft("orders", "order_placed", 31))
    record()
    trace = queries.trace(last.correlation_id)
    assert trace
    assert [(lane["state"], lane["note"]) for lane in trace["events"][0]["lanes"]] == [
        ("waiting", "no live worker · behind 30")
    ]


def many(count: int) -> None:
    """A recorded trace of so many events, each caused by the one before."""
    projection = Projection()
    projection.load()
    projection.add([("orders", 0)])
    usual = {"topic": "orders", "type": "t", "raw": b"1", "correlation_id": "long"}
    events = [Event(id=f"e-{n}", entry=f"{1_763_000_000_000 + n}-0", **usual) for n in range(count)]  # type: ignore[arg-type]
    projection.store([Chunk("orders", 0, events, [], Position(events[-1].entry, "0-0"))])


def test_a_long_trace_is_cut_and_says_so(db: None, config: object) -> None:
    many(2_500)
    trace = queries.trace("long")
    assert trace
    assert len(trace["events"]) == 2_000
    assert trace["truncated"] == {"shown": 2_000, "of": 2_500}
    assert trace["events"][0]["id"] == "e-0"


def test_a_trace_asks_no_query_per_event(db: None, config: object) -> None:
    many(400)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        queries.trace("long")
    assert len(asked) <= 8
