"""Secrets that an event marks itself, and the look at many events as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from dashboard import queries
from dashboard.live.feed import row_of
from dashboard.models import Event as Stored
from dashboard.record import data
from dashboard.record.masking import MARK, masker
from tests.dashboard.recorded import Recorded


def without(raw: str, marks: str) -> str:
    return data.without(raw.encode(), marks).decode()


@pytest.mark.parametrize(
    ("raw", "marks", "expected"),
    [
        ('{"card": {"number": 41, "n": 1.50}}', "card.number", '{"card": {"number": "•••", "n": 1.50}}'),
        ('{"card": {"number": 41}, "number": 2}', "card", '{"card": "•••", "number": 2}'),
        ('{"l": [{"x": 1, "y": 2}, {"x": [3]}]}', "l.x", '{"l": [{"x": "•••", "y": 2}, {"x": "•••"}]}'),
        ('[{"a": {"b": 1}}, 5, {"b": 2}]', " a.b , c", '[{"a": {"b": "•••"}}, 5, {"b": 2}]'),
        ('{"a": {"x": 1}, "b": [{"c": 1}, {"a": 2}]}', "b.a", '{"a": {"x": 1}, "b": [{"c": 1}, {"a": "•••"}]}'),
        ('{"a": 1, "a": 2}', "a", '{"a": "•••", "a": "•••"}'),
        ('{"\\u0061": "x\\"}"}', "a", '{"\\u0061": "•••"}'),
        ('{"a": 1}', "", '{"a": 1}'),
        ('{"a": 1}', "b", '{"a": 1}'),
        ('{"a": 1}', "*", '"•••"'),
        ("born 1970", "birthday", '"•••"'),
    ],
)
def test_what_an_event_marks_is_masked_and_nothing_else(raw: str, marks: str, expected: str) -> None:
    assert without(raw, marks) == expected


values: Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.lists(st.sampled_from(["a", "b", "a.b", "a.b.c", "c.a"]), min_size=1, max_size=3))
def test_what_is_masked_is_what_a_walk_through_the_data_finds(value: Any, paths: list[str]) -> None:
    assert json.loads(without(json.dumps(value), ",".join(paths))) == walked(value, set(paths), ())


def walked(value: Any, paths: set[str], at: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [walked(one, paths, at) for one in value]
    if isinstance(value, dict):
        return {
            name: MARK if ".".join((*at, name)) in paths else walked(one, paths, (*at, name))
            for name, one in value.items()
        }
    return value


def test_marked_values_are_in_no_row_and_on_no_live_page(db: None) -> None:
    [event] = Recorded().publish(raw=b'{"born": "1970-01-01", "city": "Graz"}', headers={"masked": "born"})
    stored = bytes(Stored.objects.get().payload).decode()
    assert stored == '{"born": "•••", "city": "Graz"}'
    assert "1970" not in json.dumps(queries.event(event.id), default=str)
    assert "1970" not in json.dumps(row_of(event, {}, {}, with_data=True), default=str)
    assert Stored.objects.get().size == len(event.raw)


RAWS = st.lists(
    st.sampled_from(
        [b'{"total": 120}', b'{"password": "x"}', b'{"a": "4', b'111111111111111"}', b'"token"', b":1", b"password",
         b"=x",
         b'{"jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"}', b"",
         b"4111111111111111"]
    ),
    max_size=200,
)  # fmt: skip


@given(RAWS)
def test_many_events_looked_at_as_one_are_masked_as_each_of_them(raws: list[bytes]) -> None:
    events = [
        Event(id=f"e-{n}", type="t", topic="orders", raw=raw, correlation_id="", entry=f"{n}-0")
        for n, raw in enumerate(raws)
    ]
    assert data.shown_all(events, 100) == [masker().payload(raw, 100) for raw in raws]
