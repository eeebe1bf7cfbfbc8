"""An event's data as it may be stored and shown: without what looks like a secret, and without what the event marks.

An event marks its own secrets: the header `masked` names them as paths, `card.number, customer.birthday`. A path goes
through lists without saying so; `*` is all of the data. Data with marks that is not JSON is masked whole. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from bus.event import Event
from dashboard.record.masking import MARK, Masker, Span, applied, decoded, is_json, masker, value_end

HEADER: Final = "masked"
MAX_PATHS: Final = 100
_BLOCK: Final = 64  # events that are looked at as one: nearly always none of them holds a secret
_TOKEN: Final = re.compile(r'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+"?+)(?P<colon>\s*+:\s*+)?+|[{}\[\]]', re.DOTALL)
_MASKED_WHOLE: Final = f'"{MARK}"'.encode()


def shown_all(events: Sequence[Event], limit: int) -> list[bytes]:
    """The first `limit` bytes of the data of each event, masked."""
    found = []
    for start in range(0, len(events), _BLOCK):
        block, mask = events[start : start + _BLOCK], masker()
        is_clear = not mask.may_hold(b"\n".join([event.raw[: 2 * limit] for event in block]))
        found += [
            event.raw[:limit] if is_clear and HEADER not in event.headers else _shown(event, limit, mask)
            for event in block
        ]
    return found


def shown_data(event: Event, limit: int) -> bytes:
    """The first `limit` bytes of an event's data, masked."""
    return _shown(event, limit, masker())


def _shown(event: Event, limit: int, mask: Masker) -> bytes:
    marks = event.headers.get(HEADER)
    return mask.payload(event.raw if marks is None else without(event.raw, marks), limit)


def without(raw: bytes, marks: str) -> bytes:
    """The data without the values that the marks name; all else stays as it is, byte for byte."""
    paths = frozenset(part.strip() for part in marks.split(",", MAX_PATHS)[:MAX_PATHS]) - {""}
    if not paths:
        return raw
    if "*" in paths or not is_json(raw):
        return _MASKED_WHOLE
    text = raw.decode("utf-8", "surrogateescape")
    return applied(text, _spans(text, paths), len(text)).encode("utf-8", "surrogateescape")


def _spans(text: str, paths: frozenset[str]) -> Iterator[Span]:
    """Where the values lie that have these paths."""
    at, name = 0, ""
    around: list[str] = []
    while found := _TOKEN.search(text, at):
        at = found.end()
        token = found[0]
        if token in ("{", "["):
            around.append(name)
            name = ""
        elif token in ("}", "]"):
            name = ""
            around.pop()
        elif found["colon"]:
            name = decoded(found["text"])
            if ".".join(filter(None, (*around, name))) in paths:
                start, at = at, value_end(text, at)
                yield Span(start, at, json.dumps(MARK, ensure_ascii=False))
