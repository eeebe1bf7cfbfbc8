"""Where to move a group's position to: what people say, resolved to an entry of a partition.

A position is an entry; what follows it comes next.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from bus import inspect
from bus.control import no_group
from bus.errors import PositionInvalid
from bus.keys import Keys
from bus.operations import entry_order
from bus.streams import Client
from bus.wire import Operation

EARLIEST: Final = "0-0"
_MAX_SEQUENCE: Final = 2**64 - 1
LATEST: Final = f"{_MAX_SEQUENCE}-{_MAX_SEQUENCE}"  # the server takes it for its newest entry
MAX_COUNTED: Final = 100_000
PAGE: Final = 1_000
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Wanted(NamedTuple):
    """An entry to go on after, or so many events from where the group is (`by`, negative: back)."""

    entry: str = ""
    by: int = 0


def parse(text: str, *, now: datetime) -> Wanted:
    """What `--to` says. Raises `PositionInvalid`."""
    if text in ("earliest", "latest"):
        return Wanted(EARLIEST if text == "earliest" else LATEST)
    if re.fullmatch(r"[+-]\d{1,5}", text):
        return Wanted(by=int(text))
    if re.fullmatch(r"\d{1,15}-\d{1,20}", text):
        return Wanted(text)
    moment = _moment(text, now)
    if moment is None:
        raise PositionInvalid(
            "expected earliest, latest, -100 or +100 (events), 15m, 2h or 3d (ago), a time such as 2026-01-31T08:00,"
            f" or an entry such as 1763000000000-0, got {text[:60]!r}"
        )
    return Wanted(f"{max(int(moment.timestamp() * 1000) - 1, 0)}-{_MAX_SEQUENCE}")


def position_of(keys: Keys, group: str) -> Operation[str]:
    """The entry that the group was given last. Raises `GroupInvalid` when there is no such group."""

    asked = inspect.groups(keys.prefix, [(keys.topic, keys.partition)])

    def parse_groups(replies: list[Any]) -> str:
        for _, row in asked.parse(replies):
            if row["name"] == group:
                return str(row["last-delivered-id"])
        raise no_group(keys, group)

    return Operation(asked.commands, parse_groups, tolerated=asked.tolerated)


def resolve(client: Client, keys: Keys, position: str, wanted: Wanted) -> str:
    """The entry that is meant, for a group at `position`."""
    if not wanted.by:
        return wanted.entry
    if wanted.by < 0:  # one further back than the first event that comes anew
        found = _entries(client, keys, position, "-", -wanted.by + 1, backwards=True)
        return found[-1] if len(found) > -wanted.by else EARLIEST
    found = _entries(client, keys, f"({position}", "+", wanted.by)
    return found[-1] if found else position


def count_between(client: Client, keys: Keys, after: str, to: str) -> tuple[int, bool]:
    """How many events lie after one entry up to another, and whether that is exact: beyond 100,000 it isn't."""
    count, start = 0, f"({after}"
    while found := _entries(client, keys, start, "+" if to == LATEST else to, PAGE):
        count, start = count + len(found), f"({found[-1]}"
        if count >= MAX_COUNTED:
            return count, False
    return count, True


def is_older(one: str, other: str) -> bool:
    """Whether an entry comes before another."""
    return entry_order(one) < entry_order(other)


def _entries(client: Client, keys: Keys, start: str, end: str, count: int, *, backwards: bool = False) -> list[str]:
    name = b"XREVRANGE" if backwards else b"XRANGE"
    command = (name, keys.events, start.encode(), end.encode(), b"COUNT", b"%d" % min(count, MAX_COUNTED))
    return client.run(Operation([command], lambda replies: [row[0].decode() for row in replies[0]]))


def _moment(text: str, now: datetime) -> datetime | None:
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
