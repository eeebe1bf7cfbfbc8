"""Handlers that pass on what strangers wrote: as errors, as log lines, as events. And one that is slow."""

from __future__ import annotations

import asyncio
import logging

import bus

log = logging.getLogger("shop")
SLOW_SECONDS = 0.04


def _named(text: str) -> type[Exception]:
    """An error whose class a stranger has named."""
    return type(text.replace("\0", "").encode("utf-8", "ignore").decode() or "E", (Exception,), {})


@bus.subscribe("orders", group="email", start="earliest", retry=bus.Retry(attempts=2, base_seconds=0.05))
def give_up(event: bus.Event) -> None:
    log.warning("about %s", event.type)
    raise _named(event.type)(event.type)


@bus.subscribe(
    "orders", group="payment", start="earliest", retry=bus.Retry(attempts=9, base_seconds=600, cap_seconds=600)
)
def fail_for_long(event: bus.Event) -> None:
    if event.type != "order_placed":
        raise ValueError(event.type)


@bus.subscribe("orders", group="shipping", start="earliest")
def pass_on(event: bus.Event) -> None:
    log.info("%s", event.source)
    bus.publish("parcels", event.type[:512].encode("utf-8", "replace").decode(), {"of": event.id}, key=event.key)


@bus.subscribe("readings", group="climate", start="earliest")
async def take_time(event: bus.Event) -> None:
    await asyncio.sleep(SLOW_SECONDS)
