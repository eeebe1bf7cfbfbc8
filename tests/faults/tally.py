"""A plain program for the crash table: two groups handle the events of `counted`; one fails now and then.

It uses the bus as any Python service would, without Django. Run as `python tally.py`, with BUS_URL set.
"""

from __future__ import annotations

import asyncio
import signal
import threading

import bus

WORK_SECONDS = 0.004


@bus.subscribe("counted", group="steady", start="earliest")
def count(event: bus.Event) -> None:
    threading.Event().wait(WORK_SECONDS)


@bus.subscribe(
    "counted",
    group="flaky",
    start="earliest",
    retry=bus.Retry(attempts=8, base_seconds=0.01, cap_seconds=0.1),
    concurrency=4,
)
async def stumble(event: bus.Event) -> None:
    await asyncio.sleep(WORK_SECONDS)
    if event.data["number"] % 7 == 0 and event.attempt < 3:
        raise TimeoutError(f"number {event.data['number']}, attempt {event.attempt}")


def main() -> None:
    bus.configure(lease_seconds=1)
    worker = bus.Worker()
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    print("working", flush=True)
    worker.run()


if __name__ == "__main__":
    main()
