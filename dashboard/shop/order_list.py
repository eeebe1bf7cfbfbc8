"""The shop's order list, a projection of the topic `orders`: the `OrderRow`s of `bus.live_version("order_list")`.

Whatever is on the topic has to become rows, or the list would stand still at it: what can't be read stays empty.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import bus
from dashboard.shop.models import OrderRow
from dashboard.shop.services import total_of

STATES: Final = {"order_placed": "placed", "stock_missing": "stock missing", "order_flagged": "flagged"}
MOST: Final = Decimal(10) ** 9


def forget(version: int) -> None:
    OrderRow.objects.filter(version=version).delete()


@bus.projection("orders", name="order_list", version=1, types=STATES, reset=forget)
def list_order(event: bus.Event, version: int) -> None:
    known: dict[str, Any] = {"state": STATES[event.type]}
    if event.type == "order_placed":
        data = _data(event)
        known |= {"customer": _text(data.get("customer"), 200), "total": _total(data), "placed_at": _time(event)}
    OrderRow.objects.update_or_create(version=version, order_id=_text(event.key, 512), defaults=known)


def _data(event: bus.Event) -> dict[str, Any]:
    try:
        return event.data if isinstance(event.data, dict) else {}
    except bus.DataInvalid:
        return {}


def _text(value: object, limit: int) -> str:
    return "" if value is None else str(value).replace("\0", "")[:limit]


def _total(data: dict[str, Any]) -> Decimal | None:
    """What the order costs, if an old client has not written its prices with commas."""
    try:
        total = total_of(data)
        return total if abs(total) < MOST else None
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _time(event: bus.Event) -> datetime | None:
    return event.time if 1970 <= event.time.year < 3000 else None
