"""Two traces side by side: what is missing, ended otherwise, took longer, and what payloads differ in."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from bus.journal import Failure, Step
from dashboard.queries.compare import compare, differences, earlier
from tests.dashboard.recorded import Recorded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=2), inner, max_size=3),
)


def lane(group: str, state: str = "succeeded", settled_ms: int | None = 1_100) -> dict[str, Any]:
    return {"group": group, "state": state, "label": state.capitalize(), "settled_ms": settled_ms}


def event(event_id: str, *lanes: dict[str, Any], type: str = "order_placed", by: str = "") -> dict[str, Any]:
    cause = {"event": "x", "group": by, "attempt": 1} if by else None
    return {"id": event_id, "topic": "orders", "type": type, "cause": cause, "at_ms": 1_000, "lanes": list(lanes)}


def told(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    found = compare({"events": left}, {"events": right})
    return [(lane["group"], lane["kind"], lane["words"]) for pair in found["pairs"] for lane in pair["lanes"]]


def test_traces_that_went_alike_have_nothing_to_say() -> None:
    assert told([event("a", lane("email"))], [event("b", lane("email", settled_ms=1_110))]) == [("email", "", "")]


def test_a_lane_that_ended_otherwise_says_how() -> None:
    assert told([event("a", lane("email", "dead"))], [event("b", lane("email"))]) == [
        ("email", "state", "dead → succeeded")
    ]


def test_a_lane_that_took_much_longer_says_how_much() -> None:
    ours, theirs = [event("a", lane("email"))], [event("b", lane("email", settled_ms=1_400))]
    assert told(ours, theirs) == [("email", "time", "4.0× longer")]
    assert told(theirs, ours) == [("email", "time", "4.0× shorter")]


def test_an_event_that_only_one_has_is_missing_in_the_other_with_its_lanes() -> None:
    root = [event("a", lane("payment"))]
    more = event("c", lane("ledger"), type="paid", by="payment")
    found = compare({"events": root}, {"events": [*root, more]})
    assert [(pair["left"] is None, pair["right"] is None) for pair in found["pairs"]] == [(False, False), (True, False)]
    assert found["pairs"][1]["lanes"][0]["words"] == "only there"
    assert found["missing"] == 1


def test_events_are_paired_by_who_caused_them_in_order() -> None:
    ours = [event("a"), event("b", type="mail", by="email"), event("c", type="mail", by="stock")]
    theirs = [event("A"), event("C", type="mail", by="stock"), event("B", type="mail", by="email")]
    found = compare({"events": ours}, {"events": theirs})
    assert [(p["left"]["id"], p["right"]["id"]) for p in found["pairs"]] == [("a", "A"), ("b", "B"), ("c", "C")]


def test_what_payloads_differ_in_is_told_by_its_path() -> None:
    left, right = {"a": 1, "items": [{"sku": "x"}]}, {"a": 1.0, "items": [{"sku": "y"}, 2], "new": None}
    assert [(c["path"], c["left"], c["right"]) for c in differences(left, right)] == [
        ("a", "1", "1.0"),
        ("items[0].sku", '"x"', '"y"'),
        ("items[1]", None, "2"),
        ("new", None, "null"),
    ]


@given(JSON)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert list(differences(value, value)) == []


@given(JSON, JSON)
def test_values_that_differ_say_so(left: Any, right: Any) -> None:
    assert bool(list(differences(left, right))) == (repr(left) != repr(right) and not same(left, right))


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


FAILED = Failure("ValueError", "card declined")


@pytest.fixture
def orders(transactional_db: None, config: object) -> Recorded:
    """Three orders: one that went well, one of the same key that did not, and the one to look at."""
    recorded = Recorded()
    recorded.subscribe("email")
    for trace, key, step in (
        ("well", "o-1", Step.SUCCEEDED),
        ("dead", "o-2", Step.DEAD_LETTERED),
        ("now", "o-2", None),
    ):
        raw = b'{"total": 120}' if trace == "well" else b'{"total": "12,0"}'
        made = recorded.publish(correlation_id=trace, key=key, id=f"order of {trace}", raw=raw)
        if step:
            recorded.settle(made, step, failure=FAILED if step == Step.DEAD_LETTERED else None)
    return recorded


def test_earlier_traces_are_offered_of_the_same_key_and_of_those_that_went_well(orders: Recorded) -> None:
    offers = earlier({"id": "order of now", "key": "o-2", "type": "order_placed"}, "now")
    assert [(offer["why"], offer["correlation_id"]) for offer in offers] == [
        ("previous of the same key", "dead"),
        ("previous of this type", "dead"),
        ("newest of this type that went well", "well"),
    ]


def test_the_page_offers_traces_and_puts_two_side_by_side(admin_client: Client, orders: Recorded) -> None:
    offered = admin_client.get("/traces/dead/compare/").content.decode()
    assert "?with=well" in offered
    page = admin_client.get("/traces/dead/compare/?with=well").content.decode()
    assert "dead → succeeded" in page
    assert "&quot;12,0&quot;" in page


def test_an_event_in_the_other_trace_names_it_too(admin_client: Client, orders: Recorded) -> None:
    assert admin_client.get("/traces/dead/compare/?with=order of well").context["right"]["id"] == "well"


def test_an_id_of_which_nothing_is_recorded_is_said(admin_client: Client, orders: Recorded) -> None:
    response = admin_client.get("/traces/dead/compare/?with=<nothing>")
    assert response.status_code == 404
    assert "Nothing is recorded of this id" in response.content.decode()
    assert admin_client.get("/traces/nothing/compare/").status_code == 404
