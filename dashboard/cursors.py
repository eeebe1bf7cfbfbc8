"""Where a page has read a topic to, as text that travels to the browser and back. Pure; trusts nothing that comes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bus.tail import Position

MAX_PARTITIONS: Final = 256
_ENTRY: Final = r"\d{1,20}-\d{1,20}"
_PART: Final = re.compile(rf"(\d{{1,4}})=({_ENTRY})/({_ENTRY})\Z")


def encode(positions: Mapping[int, Position]) -> str:
    """Positions by partition number."""
    return ";".join(f"{number}={events}/{journal}" for number, (events, journal) in sorted(positions.items()))


def decode(text: object) -> dict[int, Position] | None:
    """Positions by partition number, or None when the text was not made by `encode`."""
    if not isinstance(text, str) or text.count(";") >= MAX_PARTITIONS:
        return None
    found: dict[int, Position] = {}
    for part in text.split(";") if text else ():
        match = _PART.match(part)
        if match is None:
            return None
        found[int(match[1])] = Position(match[2], match[3])
    return found
