"""What is published in a bench: the same order in every one of them, 250 bytes as JSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec

TYPE: Final = "order_placed"
TOPIC: Final = "orders"
KEYS: Final = 1_000  # orders that the events are about
PAYLOAD_BYTES: Final = 250


def payload(number: int) -> dict[str, Any]:
    """The data of event `number`."""
    data = {
        "order_id": key(number), "customer": f"c-{number * 7919 % 100_000:05d}", "total_cents": 1_000 + number % 9_000,
        "currency": "EUR", "express": bool(number % 2),
        "items": [{"sku": f"sku-{number % 500:03d}", "count": 1 + number % 3}, {"sku": "sku-gift", "count": 1}],
        "note": "",
    }  # fmt: skip
    missing = PAYLOAD_BYTES - len(msgspec.json.encode(data))
    return {**data, "note": "x" * missing}


def key(number: int) -> str:
    """The key of event `number`: a thousand orders take turns."""
    return f"o-{number % KEYS:05d}"
