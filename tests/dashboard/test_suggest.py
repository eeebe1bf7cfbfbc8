"""Suggestions of what lies in the data and headers of the newest events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard import queries
from dashboard.queries import paths
from dashboard.record.masking import MARK, masker
from tests.dashboard.recorded import Recorded


@pytest.fixture
def recorded(db: None, config: object) -> Recorded:
    return Recorded()


def texts(text: str, **more: Any) -> list[str]:
    return [one["text"] for one in queries.suggest(text, **more)]


def raw(data: Any) -> bytes:
    return json.dumps(data).encode()


def test_paths_of_the_newest_events_are_suggested_the_most_frequent_first(recorded: Recorded) -> None:
    recorded.publish(raw=raw({"total": 120, "address": {"city": "Bremen"}, "items": [{"sku": "A1"}, {"sku": "B2"}]}))
    recorded.publish(2, raw=raw({"total": 7, "tags": ["red"]}), headers={"tenant": "acme"})
    assert texts("payload.") == ["total", "items[*].sku:", "tags:", "address.city:"]
    assert texts("payload.ITEMS[") == ["items[*].sku:"]
    assert texts("header.") == ["tenant:"]
    assert [one["meaning"] for one in queries.suggest("payload.add")] == ["such as Bremen"]


def test_values_at_a_path_are_suggested_as_a_query_says_them(recorded: Recorded) -> None:
    recorded.publish(raw=raw({"city": "New York", "n": 7, "text": "7", "is": True, "none": None}))
    recorded.publish(raw=raw({"city": "Bremen"}))
    assert texts("payload.city:") == ["Bremen", '"New York"']
    assert texts('payload.city:Bremen,"New') == ['"New York"']
    assert texts("payload.city!=B") == ["Bremen"]
    assert [texts(f"payload.{name}:") for name in ("n", "text", "is", "none")] == [["7"], ['"7"'], ["true"], ["null"]]
    for text in texts("payload.city:"):
        assert len(queries.search(queries.parse(f"payload.city:{text}"))["rows"]) == 1


def test_a_suggestion_takes_the_place_of_what_is_typed(recorded: Recorded) -> None:
    recorded.publish(raw=raw({"address": {"city": "Bremen"}}))
    text = "type:a -payload.addr key:b"
    (one,) = queries.suggest(text, 20)
    assert text[: one["start"]] + one["text"] + text[one["end"] :] == "type:a -payload.address.city: key:b"


def test_only_the_topic_that_is_looked_at_counts(recorded: Recorded) -> None:
    recorded.publish(raw=raw({"a": 1}))
    Recorded("mail").publish(raw=raw({"b": 1}))
    assert texts("payload.", topic="orders") == ["a"]
    assert texts("topic:mail payload.") == ["b"]
    assert texts("payload.") == ["a", "b"]
    assert texts("payload.", topic="unknown") == []


def test_what_is_masked_is_never_suggested(recorded: Recorded, settings: Any) -> None:
    recorded.publish(
        raw=raw({"password": "hunter2", "card": "4111 1111 1111 1111", "note": f"was {MARK}", "open": "x"})
    )
    assert texts("payload.") == ["open:"]
    assert texts("payload.password:") == texts("payload.card:") == []


def test_what_would_be_masked_today_is_not_suggested_either(recorded: Recorded, settings: Any) -> None:
    recorded.publish(raw=raw({"order_ref": "r-1", "open": "x"}))
    masker.cache_clear()
    settings.MASKED_NAMES = ["Order Ref"]
    try:
        assert texts("payload.") == ["open:"]
        assert texts("payload.order_ref:") == []
    finally:
        masker.cache_clear()


@pytest.mark.parametrize(
    "data",
    [b"", b"no json", b"[" * 5_000, b'"text"', b"7", raw({"a b": 1, "c.d": 1, "": 1, "e\x00f": 1, "g:h": 1}),
     raw({"x": "y" * 61, "z": "\u202e"}), raw({"big": "x" * paths.MAX_DATA})],
)  # fmt: skip
def test_what_a_query_can_not_say_is_left_out(recorded: Recorded, data: bytes) -> None:
    recorded.publish(raw=data)
    assert texts("payload.") == []


def test_looking_is_bounded(recorded: Recorded) -> None:
    wide = Recorded("wide", partitions=12)
    for partition in range(12):
        wide.publish(60, partition=partition, raw=raw({f"p{partition}_{n}": {"a": [n]} for n in range(250)}))
    with CaptureQueriesContext(connection) as asked:
        found = paths.seen("payload", None)
    assert len(found) == paths.MAX_PATHS
    assert len(asked) <= paths.PARTITIONS + 3
    assert sum("LIMIT 40" in one["sql"] for one in asked) == paths.PARTITIONS
    assert all(len(values) <= paths.MAX_VALUES for values in found.values())


def test_the_box_of_a_topic_asks_for_its_own_paths(recorded: Recorded, client: Client) -> None:
    recorded.publish(raw=raw({"a": 1}))
    client.force_login(User.objects.create_user("ann"))
    assert 'data-topic="orders"' in client.get("/topics/orders/").content.decode()
    told = client.get("/api/suggest", {"q": "payload.", "topic": "orders"}).json()
    assert [one["text"] for one in told["suggestions"]] == ["a"]
