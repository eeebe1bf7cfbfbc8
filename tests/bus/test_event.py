"""The event: what is accepted, what is refused with a clear text, and what strangers' entries become."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import DataInvalid, EventInvalid, EventTooLarge, TopicInvalid
from bus.event import (
    Cause,
    Event,
    check_headers,
    check_size,
    check_text,
    check_topic,
    encode_data,
    entry_ms,
    from_fields,
    to_fields,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


def event(**changes: object) -> Event:
    values = {"id": "e-1", "topic": "orders", "type": "order_placed", "raw": b"{}", **changes}
    return Event(**values)  # type: ignore[arg-type]  # by name


def read_back(original: Event) -> Event:
    return from_fields(to_fields(original), topic="orders", partition=0, entry="1700000000000-0")


@given(JSON)
def test_data_comes_back_as_it_went_in(data: object) -> None:
    assert read_back(event(raw=encode_data(data))).data == data


def test_every_field_survives_the_stream() -> None:
    original = event(
        key="o-1", source="web-shop", time_text="2026-11-23T10:00:00.000Z", correlation_id="a" * 32,
        cause=Cause("e-0", "payment", 2, "orders"), traceparent="00-x", headers={"tenant": "acme"},
    )  # fmt: skip
    back = read_back(original)
    assert (back.key, back.source, back.correlation_id) == ("o-1", "web-shop", "a" * 32)
    assert back.cause == Cause("e-0", "payment", 2, "orders")
    assert back.causation_id == "e-0"
    assert back.headers == {"tenant": "acme"}
    assert back.time == datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_an_entry_with_nothing_but_data_gets_stated_defaults() -> None:
    bare = from_fields([b"data", b'{"x":1}'], topic="orders", partition=3, entry="1700000000000-7")
    assert bare.id == "orders-3-1700000000000-7"
    assert (bare.type, bare.key, bare.data) == ("", None, {"x": 1})
    assert bare.time == datetime.fromtimestamp(1_700_000_000, UTC)
    assert bare.correlation_id == bare.id


def test_an_entry_of_a_uuid_starts_a_trace_of_its_own() -> None:
    bare = from_fields([b"id", b"018f0000-0000-7000-8000-000000000001"], topic="t", partition=0, entry="1-0")
    assert bare.correlation_id == "018f0000000070008000000000000001"


def test_text_that_is_not_utf8_is_shown_and_never_raises() -> None:
    odd = from_fields([b"type", b"\xff\xfe", b"k\xff", b"v", b"lonely"], topic="t", partition=0, entry="1-0")
    assert odd.type == "\\xff\\xfe"
    assert odd.headers == {"k\\xff": "v"}


@pytest.mark.parametrize("raw", [b"not json", b"\xff", b"", b"[" * 5000, b"9" * 5000 + b"x", b'"\\ud800"'])
def test_data_that_is_not_json_says_so_when_it_is_read(raw: bytes) -> None:
    with pytest.raises(DataInvalid, match="expected its data to be JSON"):
        _ = event(raw=raw).data


@pytest.mark.parametrize("topic", ["", "or ders", "-x", "a/b", "ä", "x" * 121, "{x}", "a\n", None, 5])
def test_a_topic_with_other_characters_is_refused(topic: object) -> None:
    with pytest.raises(TopicInvalid, match=r"expected a topic of 1 to 120 letters"):
        check_topic(topic)


@pytest.mark.parametrize("topic", ["orders", "a", "Orders.v2", "o-1_x", "9"])
def test_a_plain_topic_is_taken(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize(
    "data",
    [float("nan"), {"a": [float("inf")]}, object(), "\ud800", {1: {2: object()}}, {"deep": {"nan": float("nan")}}],
)
def test_data_that_json_lacks_is_refused(data: object) -> None:
    with pytest.raises(DataInvalid, match="expected data that is JSON"):
        encode_data(data)


def test_data_nested_too_deep_is_refused() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataInvalid):
        encode_data(deep)


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_the_size_limit_holds_to_the_byte(size: int, fits: bool) -> None:
    if fits:
        assert check_size(b"x" * size, limit=100)
    else:
        with pytest.raises(EventTooLarge, match="expected at most 100 bytes of data, got 101"):
            check_size(b"x" * size, limit=100)


@pytest.mark.parametrize("value", [5, "x" * 513, "\ud800", b"x"])
def test_a_text_that_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(EventInvalid, match="expected key to be text"):
        check_text("key", value)


@pytest.mark.parametrize("name", ["id", "data", "Upper", "", "a b", "x" * 65])
def test_a_header_may_not_be_called_like_a_field(name: str) -> None:
    with pytest.raises(EventInvalid, match="expected header names"):
        check_headers({name: "x"})


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(EventInvalid, match="at most 32 headers, got 33"):
        check_headers({f"h{n}": "x" for n in range(33)})


@pytest.mark.parametrize(
    ("entry", "ms"), [("1700-3", 1700), ("", 0), ("x-1", 0), ("18446744073709551615-1", 253402300799000)]
)
def test_the_time_of_an_entry_is_bounded(entry: str, ms: int) -> None:
    assert entry_ms(entry) == ms
