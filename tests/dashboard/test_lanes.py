"""A lane has exactly one state and says why, also where nothing is recorded yet."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bus.journal import Step
from dashboard.queries.lanes import Happened, Place, Standing, label, lanes
from dashboard.record.progress import Progress, State
from dashboard.record.subscriptions import Subscribed, governing, order_of, subscribed

EVENT = Place(entry=(1_000, 0), number=42, at_ms=1_000, type="order_placed")
FROM_THE_START = [Subscribed((0, 0), None, attempts=5)]


def delivery(state: State, **fields: Any) -> dict[str, Any]:
    usual = {"attempt": 1, "worker": "w1", "delivered_ms": 1_001, "started_ms": 1_001, "error": ""}
    progress = Progress(**{**usual, **fields}, state=state)
    return {name: getattr(progress, name) for name in progress.__struct_fields__}


def ended(place: int, step: Step, number: int | None = None, **fields: Any) -> dict[str, Any]:
    usual = {
        "worker": "w1",
        "started_ms": 1_001,
        "ended_ms": 1_002,
        "duration_us": 900,
        "error_class": "",
        "message": "",
    }
    return {"place": place, "number": number or place, "step": int(step), **usual, **fields}


def standing(last_number: int | None, *, workers: int = 1) -> Standing:
    """A group that was handed the event `last_number` last; entries here are numbers × 10 ms, ours is 42 at 1,000."""
    return Standing((1_000 if last_number and last_number >= 42 else 0, 0), last_number, workers)


def lane(
    happened: Happened | None = None,
    where: Standing | None = None,
    *,
    history: list[Subscribed] = FROM_THE_START,
    away: bool = False,
) -> dict[str, Any]:
    standings = None if away else ({"email": where} if where else {})
    found = lanes(EVENT, {"email": history}, {"email": happened} if happened else {}, standings)
    assert len(found) == 1
    return found[0]


def test_an_event_that_is_next_waits_for_nothing_else() -> None:
    found = lane(where=standing(41))
    assert (found["state"], found["label"], found["note"]) == ("waiting", "Waiting", "next")


def test_an_event_waits_behind_exactly_those_before_it() -> None:
    assert lane(where=standing(1))["note"] == "behind 40"
    far = Place((1_000, 0), 1_207, 1_000, "order_placed")
    found = lanes(far, {"email": FROM_THE_START}, {}, {"email": Standing((1, 0), 2, 1)})
    assert found[0]["note"] == "behind 1,204"


def test_an_unknown_place_claims_no_number() -> None:
    assert lane(where=standing(None))["note"] == "next"


def test_nobody_works_for_the_group() -> None:
    assert lane(where=standing(41, workers=0))["note"] == "no live worker"
    assert lane(where=standing(39, workers=0))["note"] == "no live worker · behind 2"


def test_a_retry_that_nobody_will_make_says_so() -> None:
    found = lane(Happened(delivery(State.RETRYING, error="ValueError: no")), standing(42, workers=0))
    assert found["note"] == "no live worker · ValueError: no"


def test_what_a_paused_group_has_yet_to_do_says_who_paused_it() -> None:
    where = msgspec.structs.replace(standing(39), paused_by="ann")
    assert lane(where=where)["note"] == "paused by ann · behind 2"
    failed = Happened(delivery(State.RETRYING, error="ValueError: no"))
    assert lane(failed, where)["note"] == "paused by ann · ValueError: no"


def test_nothing_is_claimed_while_the_server_is_away() -> None:
    assert lane(away=True)["note"] == "server away"


def test_a_group_that_was_removed_is_named_so() -> None:
    assert lane(where=None)["note"] == "the group is gone from the server"


def test_what_was_handed_out_a_moment_ago_is_running() -> None:
    found = lane(where=standing(42))
    assert (found["state"], found["note"]) == ("running", "no record yet")


def test_what_was_given_back_waits() -> None:
    found = lane(Happened(delivery(State.WAITING, attempt=0)), standing(42))
    assert (found["state"], found["note"]) == ("waiting", "given back")


def test_a_running_attempt_is_told_by_the_delivery() -> None:
    found = lane(Happened(delivery(State.RUNNING, attempt=2), [ended(1, Step.RETRY_SCHEDULED)]), standing(42))
    assert [attempt["state"] for attempt in found["attempts"]] == ["failed", "running"]
    assert found["attempts"][1]["ended_ms"] is None


def test_success_at_once_has_one_attempt() -> None:
    found = lane(Happened(delivery(State.SUCCEEDED, ended=1, settled_ms=1_003, duration_us=2_000)))
    assert (found["label"], len(found["attempts"])) == ("Succeeded", 1)
    assert found["attempts"][0] == {
        "number": 1, "state": "succeeded", "worker": "w1", "started_ms": 1_001, "ended_ms": 1_003,
        "duration_us": 2_000, "error": None,
    }  # fmt: skip


def test_a_success_that_logged_something_is_told_once() -> None:
    happened = Happened(delivery(State.SUCCEEDED, ended=1), [ended(1, Step.SUCCEEDED)])
    assert [attempt["state"] for attempt in lane(happened)["attempts"]] == ["succeeded"]


@pytest.mark.parametrize(
    ("state", "attempt", "words"),
    [
        (State.SUCCEEDED, 1, "Succeeded"),
        (State.SUCCEEDED, 2, "Succeeded after 1 retry"),
        (State.SUCCEEDED, 3, "Succeeded after 2 retries"),
        (State.RETRYING, 1, "Retrying 2/5"),
        (State.RETRYING, 7, "Retrying 8/8"),
        (State.DEAD, 5, "Dead"),
        (State.WAITING, 0, "Waiting"),
        (State.REPLAYING, 0, "Replaying"),
    ],
)
def test_states_are_said_in_the_words_of_the_screen(state: State, attempt: int, words: str) -> None:
    assert label(state, attempt, 5) == words


def test_a_dead_lane_says_why() -> None:
    attempts = [ended(1, Step.DEAD_LETTERED, error_class="ValueError", message="card declined\nmore")]
    found = lane(Happened(delivery(State.DEAD, error="ValueError: card declined"), attempts))
    assert (found["note"], found["attempts"][0]["error"]) == ("ValueError: card declined", "ValueError: card declined")


def test_marks_tell_how_each_attempt_ended() -> None:
    steps = (Step.RECLAIMED, Step.RELEASED, Step.RETRY_SCHEDULED)
    attempts = [ended(place, step) for place, step in enumerate(steps, 1)]
    found = lane(Happened(delivery(State.RETRYING, attempt=3), attempts))
    assert [attempt["state"] for attempt in found["attempts"]] == ["reclaimed", "released", "failed"]


def test_no_effect_is_shown_before_its_cause() -> None:
    early = delivery(State.SUCCEEDED, ended=1, started_ms=998, delivered_ms=998, settled_ms=999)
    found = lane(Happened(early))
    assert (found["delivered_ms"], found["settled_ms"], found["attempts"][0]["started_ms"]) == (1_000, 1_000, 1_000)


def test_a_group_that_does_not_take_the_type_has_no_lane() -> None:
    assert lanes(EVENT, {"mail": [Subscribed((0, 0), frozenset({"mail_sent"}))]}, {}, {}) == []


def test_a_group_that_subscribed_later_has_no_lane() -> None:
    assert lanes(EVENT, {"late": [Subscribed((1_000, 0), None)]}, {}, {}) == []
    assert len(lanes(EVENT, {"in time": [Subscribed((999, 9), None)]}, {}, {})) == 1


def test_what_happened_has_a_lane_even_where_none_was_expected() -> None:
    found = lanes(EVENT, {}, {"stranger": Happened(delivery(State.SUCCEEDED))}, {})
    assert [one["group"] for one in found] == ["stranger"]


def test_lanes_are_in_the_order_of_their_names() -> None:
    histories = dict.fromkeys(("stock", "email", "fraud"), FROM_THE_START)
    assert [one["group"] for one in lanes(EVENT, histories, {}, {})] == ["email", "fraud", "stock"]


def test_the_newest_subscription_that_starts_before_the_event_governs_it() -> None:
    first, second, third = (Subscribed((start, 0), None, attempts=start) for start in (1, 5, 9))
    assert governing([first, second, third], (6, 0)) is second
    assert governing([first, second, third], (9, 0)) is second
    assert governing([first], (1, 0)) is None
    assert governing([], (1, 0)) is None


def test_attempts_allowed_are_those_of_the_subscription_in_force() -> None:
    history = [Subscribed((0, 0), None, attempts=3), Subscribed((2_000, 0), None, attempts=9)]
    assert lane(Happened(delivery(State.RETRYING)), history=history)["label"] == "Retrying 2/3"


def test_stored_subscriptions_are_read_back() -> None:
    assert subscribed("5-1", '["a","b"]', 3) == Subscribed((5, 1), frozenset({"a", "b"}), 3)
    assert subscribed("5-1", "", 3).admits("anything")
    assert order_of("$") == (0, 0)
