"""Whether an event is what a query asks for, told from its row and its lanes. Pure; what strangers wrote stays text."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from dashboard.queries.fields import CUT, GHOST, TEXT
from dashboard.queries.lanes import Happened
from dashboard.queries.language import ANY, Path, Term, Value
from dashboard.record.rows import MAX_PAYLOAD, clean

Row = Mapping[str, Any]

_COLUMNS: Final = {
    "type": "type", "key": "key", "id": "event_id", "trace": "correlation_id", "cause": "cause_id", "source": "source",
}  # fmt: skip
_SEARCHED: Final = ("event_id", "type", "key", "source", "correlation_id", "headers")
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_NOTHING: Final = object()
_UNASKED: Final = object()
_decode: Final = msgspec.json.Decoder().decode
MAX_REACHED: Final = 1_000  # values that one path with [*] may lead to


class Unreadable(Exception):
    """The event's data was not kept whole, so a value in it can't be told."""


class Facts:
    """An event's row as a query sees it; what is costly is worked out once, if at all."""

    __slots__ = ("_data", "_words", "is_cut", "payload", "row")  # one a candidate, thousands a search

    def __init__(self, row: Row) -> None:
        self.row = row
        self.payload = bytes(row.get("payload") or b"")
        self.is_cut = row["size"] > MAX_PAYLOAD
        self._data: Any = _UNASKED
        self._words: list[str] = []

    @property
    def data(self) -> Any:
        """The data as JSON; `_NOTHING` when it is none. Raises `Unreadable`."""
        if self._data is _UNASKED:
            if self.is_cut:
                raise Unreadable
            self._data = _json(self.payload)
        return self._data

    @property
    def headers(self) -> Any:
        return _json(self.row["headers"] or "{}")

    @property
    def words(self) -> list[str]:
        """Every text of the event, folded."""
        if not self._words:
            texts = [str(self.row[column]) for column in _SEARCHED]
            self._words = [text.casefold() for text in (*texts, self.payload.decode("utf-8", "replace"))]
        return self._words


def is_wanted(terms: Iterable[Term], facts: Facts) -> bool:
    """Whether the event has all that is asked of it. Raises `Unreadable`."""
    return all(_holds(term, facts) is not term.is_negated for term in terms)


def _holds(term: Term, facts: Facts) -> bool:
    row = facts.row
    if column := _COLUMNS.get(term.field):
        found = (row[column] in {clean(text) for text in term.texts}) is not (term.operator == "!=")
    elif term.field == TEXT:
        found = any(needle.casefold() in text for needle in term.texts for text in facts.words)
    elif term.field == "size":
        found = _compares(term, row["size"])
    elif term.field == "is":
        found = any(_is(word, facts) for word in term.texts) is not (term.operator == "!=")
    elif term.field in ("payload", "header"):
        data = facts.data if term.field == "payload" else facts.headers
        found = _any_compares(term, reached(data, term.path))
    else:  # topic, since, until: told by the event's place
        found = not term.is_negated
    return found


def _is(word: str, facts: Facts) -> bool:
    if word == GHOST:
        return bool(facts.row["ghost"])
    return facts.is_cut if word == CUT else not facts.row["cause_id"]


def reached(data: Any, path: Path) -> list[Any]:
    """The values that a path leads to: none, one, or with `[*]` many."""
    values = [data]
    for step in path:
        values = [inner for value in values for inner in _inner(value, step)][:MAX_REACHED]
    return values


def _inner(value: Any, step: str | int) -> Sequence[Any]:
    if isinstance(step, str):
        return (value[step],) if isinstance(value, dict) and step in value else ()
    if not isinstance(value, list):
        return ()
    return value if step == ANY else value[step : step + 1]


def _any_compares(term: Term, found: list[Any]) -> bool:
    """A list compares like any of its elements. `!=` means that none is equal; of what isn't there that is true."""
    elements = [inner for value in found for inner in (value if isinstance(value, list) else (value,))]
    if term.operator == "!=":
        return not any(_equals(value, element) for value in term.values for element in elements)
    return any(_compares(term, element) for element in elements)


def _compares(term: Term, found: Any) -> bool:
    order = _ORDERS.get(term.operator)
    if order is None:
        return any(_equals(value, found) for value in term.values) is not (term.operator == "!=")
    value = term.values[0]
    if isinstance(found, int | float) and not isinstance(found, bool):
        return value.number is not None and order(found, value.number)
    return isinstance(found, str) and order(found, value.text)


def _equals(value: Value, found: Any) -> bool:
    if isinstance(found, str):
        return found == value.text
    if value.is_quoted:
        return False
    if found is None or isinstance(found, bool):
        return value.text == {None: "null", True: "true", False: "false"}[found]
    return isinstance(found, int | float) and value.number == found


def _json(text: bytes | str) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _NOTHING


def has_wanted_lane(terms: Sequence[Term], lanes: Iterable[Row], happened: Mapping[str, Happened]) -> bool:
    """Whether one lane has all that is asked of a lane, and none what is negated.

    Where the query names groups, only their lanes count.
    """
    wanted = [term for term in terms if not term.is_negated]
    unwanted = [term for term in terms if term.is_negated]
    facts = [lane_facts(lane["group"], lane, happened.get(lane["group"])) for lane in lanes]
    groups = [term for term in wanted if term.field == "group"]
    if groups:
        facts = [lane for lane in facts if all(lane_has(term, lane) for term in groups)]
    if wanted and not any(all(lane_has(term, lane) for term in wanted) for lane in facts):
        return False
    return not any(lane_has(term, lane) for term in unwanted for lane in facts)


def lane_facts(group: str, lane: Row, happened: Happened | None) -> dict[str, Any]:
    """What terms may ask of a lane."""
    delivery = happened.delivery if happened else None
    error = delivery["error"] if delivery else ""
    return {
        "group": group,
        "state": str(lane["state"]),
        "attempt": lane["attempt"],
        "worker": lane["worker"] or "",
        "error": error,
        "fingerprint": delivery["fingerprint"] if delivery else "",
    }


def lane_has(term: Term, lane: Row) -> bool:
    """Whether the lane has what the term says, negation aside."""
    if term.field == "attempt":
        return _compares(term, lane["attempt"])
    found = lane[term.field]
    if term.field == "error" and term.operator == ":":
        return any(bool(found) and text.casefold() in found.casefold() for text in term.texts)
    if term.field == "error":
        found = found.partition(":")[0]
    elif term.field == "fingerprint":
        found = found or lane["error"]  # as `dead_letters` tells kinds
    return (found in {clean(text) for text in term.texts}) is not (term.operator == "!=")
