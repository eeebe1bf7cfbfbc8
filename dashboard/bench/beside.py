"""Programs that run beside a bench of the recorder: `python -m dashboard.bench.beside worker TOPIC`, or
`… publisher TOPIC EVENTS_PER_SECOND SECONDS`. BUS_URL says where the bus is. Plain users of `bus`, without Django.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import bus
from bus.garbage import collect_rarely

GROUPS: Final = ("billing", "email", "search")
BEAT_SECONDS: Final = 0.02  # a publisher publishes so often what is due by then
MOST: Final = 500  # events of one call
DATA: Final[dict[str, Any]] = {
    "customer": "c-4711", "order": "o-100042", "total": 119.5, "currency": "EUR", "paid": True,
    "items": [{"sku": "A-00017", "quantity": 2, "price": 19.9}, {"sku": "B-00042", "quantity": 1, "price": 4.5}],
    "address": {"street": "Lindenweg 7", "zip": "28195", "city": "Bremen", "country": "DE"},
}  # fmt: skip


def handle(_event: bus.Event) -> None:
    """Nothing: what is measured is the bus."""


def run_worker(topic: str) -> None:
    """Settle what three groups get, from the earliest event on, until told to stop."""
    for group in GROUPS:
        bus.subscribe(topic, group=group, start="earliest")(handle)
    collect_rarely()
    worker = bus.Worker()
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


def publish(topic: str, count: int) -> None:
    """Publish so many events at once."""
    for first in range(0, count, MOST):
        bus.publish_many(_drafts(topic, first, min(MOST, count - first)))


def publish_evenly(topic: str, per_second: float, seconds: float) -> None:
    """Publish at an even pace; says how many there were. What a slow machine makes late is not made up for."""
    published = 0
    for due in _beats(per_second, seconds):
        bus.publish_many(_drafts(topic, published, due))
        published += due
    print(published, flush=True)


def _beats(per_second: float, seconds: float) -> Iterator[int]:
    """How many events are due, beat by beat."""
    began, paid = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < seconds:
        due = min(int(passed * per_second - paid), MOST)
        paid += due
        if due:
            yield due
        time.sleep(BEAT_SECONDS)


def _drafts(topic: str, first: int, count: int) -> list[Any]:
    return [
        bus.draft(topic, f"type_{number % 12}", {**DATA, "number": number}, key=f"c-{number % 5000}")
        for number in range(first, first + count)
    ]


_PROGRAMS: Final[dict[str, Callable[..., None]]] = {
    "worker": run_worker,
    "publisher": lambda topic, rate, seconds: publish_evenly(topic, float(rate), float(seconds)),
}

if __name__ == "__main__":
    _PROGRAMS[sys.argv[1]](*sys.argv[2:])
