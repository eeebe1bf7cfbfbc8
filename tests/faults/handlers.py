"""The program that faults are done to: four groups of one topic, written as a user would write them.

Each decision (fails, is poison, dies) is a hash of the seed and the event, so a seed decides it whoever handles the
event. Run by `manage.py worker tests.faults.handlers`; the environment says which safety is left out, as a control.
"""

from __future__ import annotations

import asyncio
import os
import threading
import zlib

import bus
from bus import wire
from tests.faults import effects

TOPIC = "attacked"
PARTITIONS = 2
ORDERED = {"ledger"}
WITH_INBOX = {"ledger", "stock"}
GROUPS = {"ledger", "stock", "email", "search"}
SEED = os.environ.get("FAULTS_SEED", "0")
WITHOUT = os.environ.get("FAULTS_WITHOUT", "")
DIES_PERCENT = 2.0 if WITHOUT == "inbox" else 0.2
QUICK = bus.Retry(attempts=20, base_seconds=0.02, cap_seconds=0.2)


def happens(what: str, event: bus.Event, percent: float, *, attempt: int = 0) -> bool:
    return zlib.crc32(f"{SEED}/{what}/{event.id}/{attempt}".encode()) % 10_000 < percent * 100


def write_effect(group: str, event: bus.Event) -> None:
    """The effect that must come once. Now and then its worker dies of it."""
    effects.write(group, event, dies=event.attempt == 1 and happens(f"dies in {group}", event, DIES_PERCENT))


@bus.subscribe(TOPIC, group="ledger", ordered=True, inbox=WITHOUT != "inbox", start="earliest", retry=QUICK)
def book(event: bus.Event) -> None:
    if happens("ledger fails", event, 4, attempt=event.attempt):
        raise ValueError("the ledger is busy")
    write_effect("ledger", event)


@bus.subscribe(TOPIC, group="stock", inbox=WITHOUT != "inbox", start="earliest", retry=QUICK)
def reserve(event: bus.Event) -> None:
    write_effect("stock", event)
    if happens("stock fails", event, 4, attempt=event.attempt):
        raise ValueError("the stock is busy: what was written is rolled back")


@bus.subscribe(TOPIC, group="email", start="earliest", retry=bus.Retry(attempts=6, base_seconds=0.02, cap_seconds=0.2))
def mail(event: bus.Event) -> None:
    threading.Event().wait(0.002)
    if happens("poison", event, 1):
        raise TypeError("nobody can mail this")
    if happens("email fails", event, 8, attempt=event.attempt):
        raise TimeoutError("no answer from the mail server")


@bus.subscribe(TOPIC, group="search", start="earliest", retry=QUICK, concurrency=8)
async def index(event: bus.Event) -> None:
    await asyncio.sleep(0.02 + zlib.crc32(event.id.encode()) % 180 / 1000)


def remove_fence() -> None:
    """The control: a settle that asks nobody whether the delivery is still its own."""
    whole = wire.script("settle")
    broken = whole.text.replace(b"held[id] ~= count", b"false")
    assert broken != whole.text, "the variant no longer fits the script"
    made, real = wire.made_script(broken), wire.script
    wire.script = lambda name: made if name == "settle" else real(name)  # type: ignore[assignment]


if WITHOUT == "fence":
    remove_fence()
