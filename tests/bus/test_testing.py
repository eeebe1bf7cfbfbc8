"""The test kit: handlers run in memory as they would on a bus, and a real bus can be drained inline."""

from __future__ import annotations

import pytest

import bus
from bus import testing
from bus.config import Config
from bus.errors import BusError, EventInvalid
from bus.event import Event
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Registry, Retry, Subscription
from tests.bus.conftest import steps_of


def on(registry: Registry, topic: str, group: str, handler: object, **options: object) -> None:
    registry.add(Subscription(topic, group, handler, **options))  # type: ignore[arg-type]  # by name


def test_handlers_run_in_memory_with_cause_and_trace(registry: Registry) -> None:
    async def log(event: Event) -> None:
        await bus.apublish("log", "logged", event.id)

    on(registry, "orders", "email", lambda event: bus.publish("mail", "mail_sent", {}, key=event.key))
    on(registry, "mail", "audit", log)
    with testing.memory(registry) as probe:
        first = bus.publish("orders", "order_placed", {"n": 1}, key="o-1")
        assert probe.deliver() == 2
        [mail] = probe.published("mail", "mail_sent")
        assert (mail.key, mail.causation_id, mail.correlation_id) == ("o-1", first.id, first.correlation_id)
        assert probe.published("log")[0].data == mail.id
        assert probe.deliver() == 0


def test_types_are_respected_and_bad_events_refused(registry: Registry) -> None:
    on(registry, "orders", "email", lambda _: None, types=frozenset({"order_placed"}))
    with testing.memory(registry) as probe:
        bus.publish_many([bus.draft("orders", "other", 1), bus.draft("orders", "order_placed", 1)])
        assert probe.deliver() == 1
        with pytest.raises(EventInvalid):
            bus.publish("or ders", "x", 1)


def test_a_handlers_exception_surfaces(registry: Registry) -> None:
    def fail(event: Event) -> None:
        raise ValueError("no")

    on(registry, "orders", "email", fail)
    with testing.memory(registry) as probe:
        bus.publish("orders", "order_placed", 1)
        with pytest.raises(ValueError, match="no"):
            probe.deliver()


def test_events_that_cause_each_other_forever_are_stopped(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "MAX_DELIVERIES", 50)
    on(registry, "orders", "loop", lambda _: bus.publish("orders", "again", 1))
    with testing.memory(registry) as probe:
        bus.publish("orders", "order_placed", 1)
        with pytest.raises(BusError, match="do events cause each other"):
            probe.deliver()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_real_bus_is_drained_inline(
    registry: Registry, config: Config, client: Client, publisher: Publisher, ordered: bool
) -> None:
    seen: list[int] = []

    def handler(event: Event) -> None:
        if event.data == 3:
            raise ValueError("poison")
        seen.append(event.data)

    on(registry, "orders", "email", handler, ordered=ordered, retry=Retry(attempts=1))
    on(registry, "mail", "audit", lambda _: None)
    with bus.replaced(publisher):
        bus.publish_many([bus.draft("orders", "t", n, key="k") for n in range(6)])
        assert testing.drain(["email"], subscriptions=registry) == 6
        assert testing.drain(subscriptions=registry) == 0
    assert seen == [0, 1, 2, 4, 5]
    assert steps_of(client, "orders").count("dead_lettered") == 1
