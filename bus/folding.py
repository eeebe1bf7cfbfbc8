"""Folds: the state of one key, computed from its events ("Event Sourcing", Fowler, 2005).

Reads one partition in portions, so that memory is bounded however long the log is. Knows no rows and stores nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from bus.errors import EventInvalid, PositionInvalid
from bus.event import Event, check_text, check_topic
from bus.history import Page

S = TypeVar("S")
LATEST: Final = "+"
_ENTRY: Final = re.compile(r"\d{1,16}-\d{1,19}\Z")


@dataclass(frozen=True)
class Folded(Generic[S]):
    """The state of a key, and how much it rests on.

    `events`: how many were folded. `complete`: the log has all that was ever published to the key's partition. Where
    it is False, older events of the key may be missing: the log now begins at `first_entry`, or lacks entries that
    somebody deleted. `last_entry`: the last event that was folded, "" when there was none.
    """

    state: S
    events: int
    complete: bool
    first_entry: str
    last_entry: str


def checked(topic: str, key: str) -> None:
    """Raise `EventInvalid` for a topic or key that no event can have."""
    check_topic(topic)
    if check_text("key", key) == "":
        raise EventInvalid("expected the key whose events are to be folded, got ''; events without a key have no state")


def end_of(until: datetime | str | None) -> str:
    """The last entry that counts, as the server understands it. Raises `PositionInvalid`."""
    if until is None:
        return LATEST
    if isinstance(until, datetime) and until.tzinfo is not None and until.timestamp() >= 0:
        return str(int(until.timestamp() * 1000))  # with every entry of that millisecond
    if isinstance(until, str) and _ENTRY.match(until):
        return until
    raise PositionInvalid(
        "expected until to be a time with its zone, such as datetime.now(UTC), or an entry such as"
        f" '1763000000000-0' (event.entry), got {ascii(until)[:80]}"
    )


def run(pages: Iterable[tuple[list[Event], Page]], reducer: Callable[[Any, Event], S], initial: Any) -> Folded[S]:
    """Fold events that come in portions. Raises what the reducer raises, with a note that names the event."""
    state, count, last_entry, newest = initial, 0, "", Page([])
    for events, page in pages:
        newest = page
        for event in events:
            state = _reduced(reducer, state, event)
            last_entry = event.entry
        count += len(events)
    return Folded(state, count, complete=newest.removed == 0, first_entry=newest.first, last_entry=last_entry)


def _reduced(reducer: Callable[[Any, Event], S], state: Any, event: Event) -> S:
    try:
        return reducer(state, event)
    except Exception as error:
        error.add_note(
            f"while folding event {event.id} ({event.type}) at {event.topic}/{event.partition} {event.entry}"
        )
        raise
