"""The program of the crash table: its handlers do what the event says, so that a test can kill it at that point.

Run by `manage.py worker tests.faults.crashing`. A handler that waits makes the file `waiting` in the data folder, and
goes on once somebody has made the file `gate`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import bus
from tests.faults import effects

FOLDER = Path(os.environ["BUS_DATA"])
WITH_INBOX = os.environ.get("CRASH_INBOX", "1") == "1"
ON_CRASHES: dict[str, Any] = {
    "group": "ledger",
    "ordered": True,
    "start": "earliest",
    "retry": bus.Retry(attempts=5, base_seconds=0.01, cap_seconds=0.05),
}


@bus.subscribe("crashes", types=["effect"], inbox=WITH_INBOX, **ON_CRASHES)
def effect(event: bus.Event) -> None:
    is_first = event.attempt == 1
    effects.write("ledger", event, dies=is_first and event.data.get("dies") == "after the commit")
    wait_if_told(event)
    if event.data.get("dies") == "always":
        effects.die()


@bus.subscribe("crashes", types=["plain"], **ON_CRASHES)
def plain(event: bus.Event) -> None:
    wait_if_told(event)


def wait_if_told(event: bus.Event) -> None:
    if event.attempt == 1 and event.data.get("waits"):
        (FOLDER / "waiting").touch()
        while not (FOLDER / "gate").exists():
            threading.Event().wait(0.01)
