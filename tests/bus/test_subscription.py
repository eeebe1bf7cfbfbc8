"""Subscriptions: contradictions are refused when they are declared, not when events flow."""

from __future__ import annotations

import pytest

from bus.errors import BusError, SubscriptionInvalid
from bus.event import Event
from bus.subscription import Registry, Retry, Subscription, describe, registry, subscribe


def one(event: Event) -> None: ...
def other(event: Event) -> None: ...
async def later(event: Event) -> None: ...


def make(handler: object = one, **options: object) -> Subscription:
    return Subscription("orders", "email", handler, **options)  # type: ignore[arg-type]  # by name


def test_handlers_of_one_group_may_share_it_with_disjoint_types() -> None:
    made = Registry()
    made.add(make(types=frozenset({"a"})))
    made.add(make(other, types=frozenset({"b"})))
    assert [s.handler for s in made.groups()["orders", "email"]] == [one, other]


@pytest.mark.parametrize("types", [None, frozenset({"a", "c"})])
def test_two_handlers_for_the_same_event_are_refused(types: frozenset[str] | None) -> None:
    made = Registry()
    made.add(make(types=frozenset({"a"})))
    with pytest.raises(SubscriptionInvalid, match="would both handle"):
        made.add(make(other, types=types))


def test_a_module_that_is_imported_again_replaces_its_handler() -> None:
    made = Registry()
    made.add(make())
    made.add(make())
    assert len(made.groups()["orders", "email"]) == 1


def test_handlers_of_a_group_agree_on_its_options() -> None:
    made = Registry()
    made.add(make(types=frozenset({"a"})))
    with pytest.raises(SubscriptionInvalid, match="must agree on ordered"):
        made.add(make(other, types=frozenset({"b"}), ordered=True))


def test_an_unknown_group_is_an_error_that_names_the_known_ones() -> None:
    made = Registry()
    made.add(make())
    with pytest.raises(SubscriptionInvalid, match="expected groups among email, got emails"):
        made.groups(["emails"])


@pytest.mark.parametrize(
    "options",
    [
        {"topic": "or ders", "group": "g"},
        {"topic": "t", "group": "g h"},
        {"topic": "t", "group": "g", "types": "order_placed"},
        {"topic": "t", "group": "g", "types": [""]},
        {"topic": "t", "group": "g", "timeout_seconds": 0},
        {"topic": "t", "group": "g", "concurrency": 0},
        {"topic": "t", "group": "g", "start": "yesterday"},
    ],
)
def test_a_bad_option_is_refused_at_the_decorator(options: dict[str, object]) -> None:
    with pytest.raises(BusError, match="expected"):
        subscribe(**options)(one)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base_seconds": 5, "cap_seconds": 1}, {"base_seconds": -1}])
def test_a_retry_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(SubscriptionInvalid, match="expected Retry"):
        Retry(**options)  # type: ignore[arg-type]  # by name


def test_the_decorator_gives_the_function_back() -> None:
    try:
        assert subscribe("somewhere", group="g")(one) is one
        assert ("somewhere", "g") in registry.groups()
    finally:
        registry.clear()


def test_the_pause_grows_with_the_attempt_and_is_capped() -> None:
    retry = Retry(base_seconds=1, cap_seconds=4)
    for attempt, most in [(1, 1), (2, 2), (3, 4), (9, 4), (1000, 4)]:
        pauses = [retry.delay_seconds(attempt) for _ in range(200)]
        assert 0 <= min(pauses) <= max(pauses) <= most
        assert max(pauses) > most * 0.7, "full jitter reaches towards the ceiling"


def test_the_journal_learns_what_a_group_takes() -> None:
    subscriptions = [make(types=frozenset({"b"})), make(other, types=frozenset({"a"}), retry=Retry(attempts=9))]
    record = describe(subscriptions)
    assert (record.types, record.attempts) == (["a", "b"], 9)
    assert describe([make()]).types is None


def test_an_async_handler_is_known_as_one() -> None:
    assert make(later).is_async
    assert not make(one).is_async
