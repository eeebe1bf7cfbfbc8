"""The Open edX event bus on Redis: a signal that is sent with Avro, read one by one and received once more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attr
import django
from django.conf import settings

from dashboard.bench.load import TOPIC, TYPE
from dashboard.bench.peers.program import Data, Handle, Publish, main


@attr.s(frozen=True)
class Order:
    """What `load.payload` makes, flat: Avro's schema is made of the types. Items stay JSON."""

    order_id = attr.ib(type=str)
    customer = attr.ib(type=str)
    total_cents = attr.ib(type=int)
    currency = attr.ib(type=str)
    express = attr.ib(type=bool)
    items = attr.ib(type=str)
    note = attr.ib(type=str)


def _signal(url: str) -> Any:
    settings.configure(EVENT_BUS_REDIS_CONNECTION_URL=url, USE_TZ=True, INSTALLED_APPS=[], EVENTS_SERVICE_NAME="bench")
    django.setup()
    from openedx_events.tooling import OpenEdxPublicSignal

    return OpenEdxPublicSignal(f"org.example.orders.{TYPE}.v1", {"order": Order})


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publish]:
    signal = _signal(url)
    from edx_event_bus_redis import create_producer

    producer = create_producer()

    async def publish(data: Data) -> object:
        order = Order(**{**data, "items": json.dumps(data["items"])})
        metadata = signal.generate_signal_metadata()
        return producer.send(
            signal=signal,
            topic=TOPIC,
            event_key_field="order.order_id",
            event_data={"order": order},
            event_metadata=metadata,
        )

    yield publish


def work(url: str, handle: Handle) -> None:
    signal = _signal(url)
    from edx_event_bus_redis import RedisEventConsumer

    def receive(*, order: Order, **_: Any) -> None:
        handle({"note": order.note})

    signal.connect(receive, weak=False)
    RedisEventConsumer(TOPIC, "bench", "one", last_read_msg_id="0").consume_indefinitely()


if __name__ == "__main__":
    main(publishing, work)
