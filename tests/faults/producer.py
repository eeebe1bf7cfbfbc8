"""A careful producer for the kill tests: events with ids of its own, each published again until it is acknowledged.

An event that can't be published holds up no other. Run as `python producer.py DATA_FOLDER NAME`; SIGTERM ends it once
everything is acknowledged, and it says how many there were.
"""

from __future__ import annotations

import signal
import sys
import threading
from itertools import count

import bus

PAUSE_SECONDS = 0.004


def main(folder: str, name: str) -> None:
    bus.configure(data_folder=folder)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    print("publishing", flush=True)
    refused: list[int] = []
    for number in count():
        refused = [one for one in [*refused, number] if not is_published(name, one)]
        if stopping.wait(PAUSE_SECONDS):
            break
    while refused := [one for one in refused if not is_published(name, one)]:
        threading.Event().wait(PAUSE_SECONDS)
    print(f"published {number + 1}", flush=True)


def is_published(name: str, number: int) -> bool:
    try:
        bus.publish("counted", "number", {"number": number}, key=f"{name}-{number}", id=f"{name}-{number}")
    except bus.ServerError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
