"""What may follow at the cursor of a query: fields, and values that exist. Indexed and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from msgspec.json import encode

from dashboard import visible
from dashboard.queries.bus_state import bus_state
from dashboard.queries.fields import FIELDS, Kind
from dashboard.queries.lag import partitions
from dashboard.queries.language import MAX_LENGTH, nearest, quoted
from dashboard.queries.paths import Scalar, seen
from dashboard.record.rows import clean
from dashboard.sql import rows

MAX_SUGGESTED: Final = 12
_TYPED: Final = re.compile(
    r"-?(?:(?P<field>[A-Za-z]+)(?P<path>[.\[][^:=!<>]*)?(?P<operator>!=|>=|<=|[:=><]))?(?P<value>.*)\Z", re.DOTALL
)
_PATH: Final = re.compile(r"-?(?P<field>payload|header)\.(?P<path>[^:=!<>\"]*)\Z", re.IGNORECASE)
_PLAIN: Final = re.compile(r"(?:null|true|false|-?\d[\d.eE+-]*)\Z")
DATA: Final = frozenset(field.name for field in FIELDS.values() if field.kind is Kind.DATA)
_TOPIC: Final = re.compile(r"(?:^|\s)topic[:=]([A-Za-z0-9._-]+)(?=\s|\Z)")
_TIMES: Final = (("15m", "15 minutes"), ("1h", "an hour"), ("24h", "a day"), ("7d", "a week"))
_VERSIONS: Final = "SELECT version FROM dashboard_workerversion GROUP BY version ORDER BY MAX(since_ms) DESC LIMIT 20"
_GROUPS: Final = (
    'SELECT DISTINCT s."group" AS value, p.topic FROM dashboard_subscription s'
    ' JOIN dashboard_partition p ON p.id = s.partition_id ORDER BY s."group" LIMIT 500'
)
# From one value to the next through the index: as many steps as suggestions, however many events have each.
_NEXT: Final = {
    "type": "SELECT type AS value FROM dashboard_event WHERE type {order} %s ORDER BY type LIMIT 1",
    "key": "SELECT key AS value FROM dashboard_event WHERE key {order} %s AND NOT (key = '') ORDER BY key LIMIT 1",
}


@dataclass(frozen=True)
class Suggestion:
    """`text` may stand from `start` to `end` of the query."""

    text: str
    start: int
    end: int
    meaning: str = ""


def suggest(text: str, cursor: int | None = None, *, topic: str | None = None) -> list[dict[str, Any]]:
    """At most twelve suggestions for the word at `cursor` (default: the end), the likeliest first.

    `topic`: the one that is looked at; else the query may name one.
    """
    text = text[:MAX_LENGTH]
    cursor = len(text) if cursor is None else max(0, min(cursor, len(text)))
    start = _word_start(text, cursor)
    typed = _TYPED.match(text[start:cursor])
    assert typed is not None, "every text matches"
    minus = text[start:cursor].startswith("-")
    topic = topic or (named[1] if (named := _TOPIC.search(text)) else None)
    if path := _PATH.match(text[start:cursor]):
        found = _paths(path["field"].lower(), path["path"], topic, cursor)
    elif typed["operator"] is not None and typed["path"] and typed["field"].lower() in DATA:
        found = _at_path(typed["field"].lower(), typed["path"].removeprefix("."), typed["value"], topic, cursor)
    elif typed["operator"] is None:
        found = _fields(typed["value"].removeprefix("-"), start + minus, cursor)
    else:
        found = _values(typed["field"].lower(), typed["value"], cursor)
    return [asdict(suggestion) for suggestion in found[:MAX_SUGGESTED]]


def _word_start(text: str, cursor: int) -> int:
    """Where the term that the cursor is in begins: spaces within quotes belong to it."""
    start, is_quoted = 0, False
    for at, character in enumerate(text[:cursor]):
        is_quoted ^= character == '"'
        if character.isspace() and not is_quoted:
            start = at + 1
    return start


def _fields(typed: str, start: int, end: int) -> list[Suggestion]:
    names = [name for name in FIELDS if name.startswith(typed.lower())]
    if typed.isalpha() and not names and (like := nearest(typed, FIELDS)):
        names = [like]
    return [Suggestion(_opened(name), start, end, FIELDS[name].meaning) for name in names]


def _opened(name: str) -> str:
    return f"{name}." if FIELDS[name].kind is Kind.DATA else f"{name}:"


def _paths(field: str, typed: str, topic: str | None, end: int) -> list[Suggestion]:
    """What the newest events have, beginning so."""
    return [
        Suggestion(path if _is_number(values[0]) else f"{path}:", end - len(typed), end, _such_as(values))
        for path, values in seen(field, topic).items()
        if path.lower().startswith(typed.lower()) and path != typed
    ]


def _at_path(field: str, path: str, typed: str, topic: str | None, end: int) -> list[Suggestion]:
    """Values that the newest events have there."""
    last = typed.rpartition(",")[2]
    start, prefix = end - len(last), last.lstrip('"')
    texts = (_said(value) for value in seen(field, topic).get(path, ()))
    return [Suggestion(text, start, end) for text in texts if text.lstrip('"').startswith(prefix)]


def _such_as(values: Sequence[Scalar]) -> str:
    return f"such as {_said(values[0])}"


def _said(value: Scalar) -> str:
    """A value as a query says it: a text that looks like a number or a word of JSON is quoted."""
    if not isinstance(value, str):
        return encode(value).decode()
    return f'"{value}"' if _PLAIN.match(value) else quoted(value)


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(name: str, typed: str, end: int) -> list[Suggestion]:
    last = typed.rpartition(",")[2]
    start, prefix = end - len(last), last.lstrip('"')
    field = FIELDS.get(name)
    if field is None or field.kind is Kind.DATA:
        return []
    if field.kind is Kind.TIME:
        pairs: Iterable[tuple[str, str]] = [(text, f"{words} ago") for text, words in _TIMES]
    else:
        pairs = [(quoted(text), "") for text in (field.words or _known(name, prefix)) if text]
    return [Suggestion(text, start, end, words) for text, words in pairs if text.lstrip('"').startswith(prefix)]


def _known(name: str, prefix: str) -> Sequence[str]:
    if name in _NEXT:
        if not visible.sees_all():
            return ()  # the index that is walked knows no topics
        return _by_prefix(name, prefix) if prefix or name != "key" else ()
    if name == "topic":
        return sorted({place.topic for place in partitions().values()})
    if name == "group":
        subscribed = {row["value"] for row in rows(_GROUPS) if visible.sees(row["topic"])}
        return sorted(subscribed | {group.group for group in bus_state().groups.values()})
    if name == "worker":
        return sorted({worker.id.partition("#")[0] for worker in bus_state().workers})
    if name == "version":
        return [row["version"] for row in rows(_VERSIONS)]
    return ()


def _by_prefix(name: str, prefix: str) -> list[str]:
    """The first values of an index that begin so."""
    prefix, found, order, at = clean(prefix), list[str](), ">=", clean(prefix)
    while len(found) < MAX_SUGGESTED:
        following = rows(_NEXT[name].replace("{order}", order), [at])
        if not following or not following[0]["value"].startswith(prefix):
            break
        at, order = following[0]["value"], ">"
        found.append(at)
    return found
