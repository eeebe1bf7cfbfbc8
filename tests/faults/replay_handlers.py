"""Handlers of the proof of replays: email fails for as long as a file is there, and both write down what they ran."""

from __future__ import annotations

import os
from pathlib import Path

import bus
from bus import Event, Retry

FOLDER = Path(os.environ["PROOF_FOLDER"])
BROKEN = FOLDER / "broken"
_logs = {name: os.open(FOLDER / f"{name}.ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT) for name in ("email", "audit")}


@bus.subscribe("orders", group="email", retry=Retry(attempts=1), start="earliest")
def send(event: Event) -> None:
    if BROKEN.exists():
        raise ValueError("no mailbox")
    os.write(_logs["email"], f"{event.id}\n".encode())


@bus.subscribe("orders", group="audit", retry=Retry(attempts=1), start="earliest")
def note(event: Event) -> None:
    os.write(_logs["audit"], f"{event.id}\n".encode())
