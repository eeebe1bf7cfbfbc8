"""How long an event takes from being published to its handler, at a steady rate: the bus beside redis-py by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from uuid import uuid4

from bus.event import Event
from bus.subscription import Subscription
from dashboard.bench.load import TYPE
from dashboard.bench.own import Own
from dashboard.bench.raw import Raw


@dataclass(frozen=True)
class Latency:
    """Milliseconds from publish to handler, of half of the events and of 99 in 100."""

    p50_ms: float
    p99_ms: float


def own_latency(own: Own, rate: int, seconds: float) -> Latency:
    """A worker handles what another thread publishes."""
    topic, found, count = f"paced-{uuid4().hex[:8]}", list[float](), int(rate * seconds)

    def handler(event: Event) -> None:
        found.append(time.perf_counter() - event.data["at"])
        if len(found) == count:
            worker.stop()

    worker = own.worker(Subscription(topic, "paced", handler))

    def publish() -> None:
        worker.ready.wait()
        _paced(rate, count, lambda at: own.publisher.publish(own.publisher.draft(topic, TYPE, {"at": at})))

    publisher = threading.Thread(target=publish)

    publisher.start()
    worker.run()
    publisher.join()
    return _latency(found)


def raw_latency(raw: Raw, rate: int, seconds: float) -> Latency:
    """A loop reads what another thread adds."""
    stream, count = f"paced:{uuid4().hex[:8]}", int(rate * seconds)
    publisher = threading.Thread(target=lambda: _paced(rate, count, lambda at: raw.add(stream, at)))
    raw.make_group(stream)
    publisher.start()
    found = raw.latencies(stream, count)
    publisher.join()
    return _latency(found)


def _paced(rate: int, count: int, publish: Callable[[float], object]) -> None:
    """Calls `publish` so many times a second, or as often as it can."""
    began = time.perf_counter()
    for number in range(count):
        planned = began + number / rate
        pause = planned - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        publish(time.perf_counter())


def _latency(found: Sequence[float]) -> Latency:
    cuts = quantiles(found, n=100)
    return Latency(cuts[49] * 1000, cuts[98] * 1000)
