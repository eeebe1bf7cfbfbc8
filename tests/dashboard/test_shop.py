"""The demo's shop: the same seed gives the same day, and every handler copes with what is published."""

from __future__ import annotations

import importlib
import itertools
import json
from collections import Counter
from decimal import Decimal

import msgspec
import pytest

import bus
from bus.config import Config
from bus.event import Event
from bus.projections import registry
from bus.projector import Projector
from bus.subscription import Subscription
from dashboard.shop import handlers, order_list
from dashboard.shop.dice import Dice
from dashboard.shop.models import OrderRow
from dashboard.shop.services import price_of, total_of
from dashboard.shop.traffic import Happening, Traffic
from tests.conftest import WaitUntil


@pytest.fixture
def subscriptions() -> list[Subscription]:
    """What the shop subscribes, declared anew: other tests clear the registry."""
    for name in handlers.__all__:
        importlib.reload(getattr(handlers, name))
    known = bus.subscriptions().groups().values()
    return [s for group in known for s in group if s.name.startswith(handlers.__name__)]


def take(seed: int, count: int, rate: float = 2.0) -> list[tuple[float, list[Happening]]]:
    return list(itertools.islice(Traffic(seed, rate), count))


def event_of(happening: Happening, attempt: int = 1) -> Event:
    return Event(
        id="e-1",
        topic=happening.topic,
        type=happening.type,
        raw=msgspec.json.encode(happening.data),
        key=happening.key,
        attempt=attempt,
    )


def test_the_same_seed_gives_the_same_traffic() -> None:
    assert take(7, 200) == take(7, 200)
    assert take(7, 200) != take(8, 200)


def test_orders_arrive_at_the_rate_asked_for() -> None:
    happened = take(1, 4000, rate=5.0)
    seconds = sum(pause for pause, _ in happened)
    orders = sum(1 for _, batch in happened if batch[0].type == "order_placed")
    assert orders / seconds == pytest.approx(5.0, rel=0.15)


def test_the_day_has_everything_in_it() -> None:
    happened = [happening for _, batch in take(1, 4000) for happening in batch]
    types = Counter(happening.type for happening in happened)
    assert types.keys() == {
        "order_placed", "user_created", "reading", "server_started", "job_failed", "pipeline_completed",
    }  # fmt: skip
    assert {"web-shop", "mobile-api", "billing-backend", "thermo-17", "etl"} <= {h.source for h in happened}
    poison = [h for h in happened if h.type == "order_placed" and "," in str(h.data["lines"][0]["unit_price"])]
    assert 0.005 < len(poison) / types["order_placed"] < 0.06
    json.dumps([h.data for h in happened])


def test_every_topic_and_type_has_a_group_that_takes_it(subscriptions: list[Subscription]) -> None:
    for _, batch in take(1, 2000):
        for happening in batch:
            assert [s for s in subscriptions if s.topic == happening.topic and s.admits(happening.type)]


def test_an_order_reaches_the_five_groups_of_the_textbook(subscriptions: list[Subscription]) -> None:
    groups = {s.group for s in subscriptions if s.topic == "orders" and s.admits("order_placed")}
    assert groups == {"inventory", "payment", "analytics", "email", "fraud"}


def test_chance_repeats_for_the_same_attempt_and_differs_for_the_next() -> None:
    (order,) = next(batch for _, batch in take(1, 50) if batch[0].type == "order_placed")

    def drawn(attempt: int, group: str = "email") -> list[bool]:
        dice = Dice(event_of(order, attempt), group)
        return [dice.happens(0.5) for _ in range(64)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, "fraud")


def test_fate_is_the_same_in_every_attempt() -> None:
    orders = [batch[0] for _, batch in take(1, 400) if batch[0].type == "order_placed"]
    first = [Dice(event_of(order, 1), "payment").is_fated(0.5) for order in orders]
    second = [Dice(event_of(order, 2), "payment").is_fated(0.5) for order in orders]
    assert first == second
    assert 0.3 < sum(first) / len(first) < 0.7


def apply(type: str, raw: bytes, *, key: str | None = "o-1") -> None:
    order_list.list_order(Event(id="e-1", topic="orders", type=type, raw=raw, key=key, entry="1-0"), 1)


@pytest.mark.django_db
def test_the_order_list_says_what_became_of_an_order() -> None:
    placed = {"customer": "Ada Berg", "lines": [{"sku": "mug", "quantity": 2, "unit_price": 14.9}]}
    apply("order_placed", msgspec.json.encode(placed))
    apply("order_placed", msgspec.json.encode(placed), key="o-2")
    apply("stock_missing", b"{}")
    rows = OrderRow.objects.order_by("order_id").values_list("order_id", "customer", "total", "state")
    assert list(rows) == [
        ("o-1", "Ada Berg", Decimal("29.80"), "stock missing"),
        ("o-2", "Ada Berg", Decimal("29.80"), "placed"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "raw",
    [
        b"", b"no json", b"[1]", b"null", b'{"order_id": "o-1"}', b'{"lines": 7, "customer": {"a": 1}}',
        b'{"lines": [{"sku": "mug", "quantity": 2, "unit_price": "14,90"}]}',
        b'{"lines": [{"sku": "mug", "quantity": 1e300, "unit_price": 1e300}]}', b'{"customer": "a\\u0000b"}',
        b'{"lines": [{"sku": "mug", "quantity": "x", "unit_price": 1}]}', b'{"lines": ["mug"]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["o-1", None, "a\x00b", "k" * 5_000])
def test_the_order_list_lists_whatever_was_placed(raw: bytes, key: str | None) -> None:
    apply("order_placed", raw, key=key)
    assert OrderRow.objects.get().total is None


@pytest.mark.django_db(transaction=True)
def test_the_order_list_is_a_projection_of_the_shops_traffic(config: Config, wait_until: WaitUntil) -> None:
    happened = [happening for _, batch in take(3, 300) for happening in batch if happening.topic == "orders"]
    bus.publish_many([bus.draft(h.topic, h.type, h.data, key=h.key) for h in happened])
    importlib.reload(order_list)
    projector = Projector(config, registry.wanted(["order_list"]))

    def listed() -> set[str | None]:
        projector.turn(block_ms=1)
        rows = OrderRow.objects.filter(version=bus.live_version("order_list"))
        return {row.order_id for row in rows}

    wait_until(lambda: listed() == {happening.key for happening in happened})
    projector.close()


def test_a_price_with_a_comma_is_poison() -> None:
    line = {"sku": "mug", "quantity": 2, "unit_price": 14.9}
    assert str(total_of({"lines": [line]})) == "29.8"
    with pytest.raises(ValueError, match=r"expected a number like 19\.90, got '14,90'"):
        price_of({**line, "unit_price": "14,90"})
