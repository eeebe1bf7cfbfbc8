"""The credit window and the frames it puts together: bounded whatever comes, and exact in what it counts."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.journal import JournalEntry, Record, Step
from bus.tail import Chunk, Position
from dashboard.live.feed import Feed, Filter, row_of, steps_of
from dashboard.live.frames import MAX_ROWS, MAX_STEPS, Frame, TailFrame, limited
from dashboard.live.window import MAX_UNACKNOWLEDGED, Window
from dashboard.record.subscriptions import Subscribed

EVERYBODY = {"email": [Subscribed((0, 0))], "stock": [Subscribed((0, 0), frozenset({"order_shipped"}))]}


def tail(number: int, *, rows: int = 1, published: int | None = None) -> TailFrame:
    drawn = {f"r{number}.{row}": f"<tr>{number}.{row}" for row in range(rows)}
    return TailFrame("orders", f"0={number}-0/0-0", published=rows if published is None else published, rows=drawn)


def take(window: Window) -> dict[str, Any] | None:
    text = window.take()
    return None if text is None else json.loads(text)


def test_four_frames_may_be_on_their_way() -> None:
    window = Window()
    for number in range(10):
        window.put(tail(number))
        window.take()
    assert window.take() is None
    window.acknowledge(1)
    frame = take(window)
    assert frame
    assert (frame["seq"], frame["published"]) == (MAX_UNACKNOWLEDGED + 1, 6)
    assert window.take() is None


def test_only_frames_that_were_sent_can_be_acknowledged() -> None:
    window = Window()
    window.put(tail(1))
    window.take()
    assert not window.acknowledge(2)
    assert not window.acknowledge(-1)
    assert window.acknowledge(1)
    assert window.acknowledge(0), "late, and without effect"


def test_a_browser_owes_nothing_before_it_got_something() -> None:
    window = Window()
    assert not window.is_stalled()
    window.put(tail(1))
    assert not window.is_stalled()


def test_a_picture_replaces_the_one_that_waits() -> None:
    window = Window()
    window.put(Frame("overview", {"now_ms": 1}))
    window.put(Frame("overview", {"now_ms": 2}))
    assert take(window) == {"seq": 1, "kind": "overview", "now_ms": 2}
    assert take(window) is None


def test_what_was_missed_goes_before_what_came_meanwhile() -> None:
    window = Window()
    window.hold_tail()
    window.put(tail(9))
    window.put(Frame("overview", {}))
    assert (take(window) or {})["kind"] == "overview"
    assert take(window) is None
    window.release_tail(Frame("resumed", {"missed": 3}), tail(5, rows=3))
    assert (take(window) or {})["kind"] == "resumed"
    frame = take(window)
    assert frame
    assert frame["rows"] == ["<tr>5.0", "<tr>5.1", "<tr>5.2", "<tr>9.0"]
    assert frame["cursor"] == "0=9-0/0-0"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 500)), min_size=1, max_size=30))
def test_however_frames_are_put_together_their_counts_are_exact(parts: list[tuple[int, int]]) -> None:
    window = Window()
    window.hold_tail()
    for number, (rows, more) in enumerate(parts):
        window.put(tail(number, rows=min(rows, MAX_ROWS), published=rows + more))
    window.release_tail(None, None)
    frame = take(window)
    assert frame
    assert frame["published"] == sum(rows + more for rows, more in parts)
    assert frame["skipped"] == frame["published"] - len(frame["rows"])
    assert len(frame["rows"]) <= MAX_ROWS


def test_the_last_step_of_a_lane_wins() -> None:
    first = TailFrame("orders", "", steps={("r1", "email"): ("running", "Running")})
    later = TailFrame("orders", "", steps={("r1", "email"): ("succeeded", "Succeeded")})
    assert json.loads(first.merged(later).text(1))["steps"] == [
        {"row": "r1", "group": "email", "state": "succeeded", "label": "Succeeded"}
    ]


def test_steps_are_bounded_but_drawn_rows_never_keep_an_old_state() -> None:
    steps = {(f"r{number}", "email"): ("succeeded", "Succeeded") for number in range(5_000)}
    drawn = {f"r{number}": None for number in range(300)}
    kept = limited(steps, drawn)
    assert len(kept) == MAX_STEPS
    assert {(row, "email") for row in drawn} <= kept.keys()
    assert len(limited(steps, {f"r{number}": None for number in range(1_000)})) == 1_000


def event(number: int, **fields: Any) -> Event:
    usual = {"id": f"e-{number}", "type": "order_placed", "raw": b"{}", "entry": f"{number}-0"}
    return Event(**{**usual, **fields}, topic="orders")


def chunk(events: list[Event], *records: Record) -> Chunk:
    journal = [JournalEntry("999-0", "email", "w1#0", list(records))]
    return Chunk("orders", 0, events, journal, Position())


def render(row: dict[str, Any]) -> str:
    return f"{row['id']}: {', '.join(lane['label'] for lane in row['lanes'])}"


def test_a_feed_draws_the_newest_and_counts_all() -> None:
    feed = Feed(Filter("orders"))
    feed.add(chunk([event(number) for number in range(1, 101)]), EVERYBODY, {})
    frame = feed.tick({0: Position("100-0", "0-0")}, render, 100)
    assert frame
    assert (frame.published, len(frame.rows)) == (100, MAX_ROWS)
    assert list(frame.rows)[-1] == "orders:0:100-0"
    assert feed.tick({}, render, 100) is None


def test_a_row_is_drawn_with_the_steps_that_came_along() -> None:
    feed = Feed(Filter("orders"))
    both = chunk([event(1), event(2)], Record(Step.SUCCEEDED, "1-0", 1))
    feed.add(both, EVERYBODY, steps_of(both, EVERYBODY))
    frame = feed.tick({}, render, 0)
    assert frame
    assert list(frame.rows.values()) == ["e-1: Succeeded", "e-2: Waiting"]


def test_a_group_that_leaves_a_type_out_gets_no_step() -> None:
    skipped = chunk([event(1)], Record(Step.SKIPPED, "1-0", 1))
    assert steps_of(skipped, EVERYBODY) == {}


def test_steps_say_how_many_attempts_there_are() -> None:
    failed = chunk([], Record(Step.RETRY_SCHEDULED, "1-0", 2))
    histories = {"email": [Subscribed((0, 0), None, 7)]}
    assert steps_of(failed, histories) == {("orders:0:1-0", "email"): ("retrying", "Retrying 3/7")}


def test_a_row_holds_nothing_that_a_frame_cannot_carry() -> None:
    row = row_of(
        event(1, id="\ud800", key="\x00", type="\udfff", source="s" * 9_000, raw=b"\xff" * 900),
        EVERYBODY,
        {},
        with_data=True,
    )
    text = TailFrame("orders", "", rows={"r": str(row)}).text(1)
    assert json.loads(text)["rows"]
    assert len(row["source"]) == 512
