"""Conditions on an event, as data: field, operator and values, kept on the server and asked by workers.

A small part of what the screen's query language can say; whoever has text makes conditions of it. Nothing is ever run:
no code, no regular expression. Pure; must not know Redis.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from bus.errors import DataInvalid
from bus.event import Event

ANY: Final = -1  # in a path: every place of a list
MAX_REACHED: Final = 1_000  # values that one path with ANY may lead to
_TEXTS: Final[dict[str, Callable[[Event], str | None]]] = {
    "type": lambda event: event.type,
    "key": lambda event: event.key or "",
    "id": lambda event: event.id,
    "trace": lambda event: event.correlation_id,
    "cause": lambda event: event.causation_id or "",
    "source": lambda event: event.source,
}
FIELDS: Final = frozenset({*_TEXTS, "payload", "header", "size"})
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


class Value(msgspec.Struct, frozen=True, array_like=True):
    """A value as it was written. `number`: what it is as a number; a quoted one is only text."""

    text: str
    number: int | float | None = None
    is_quoted: bool = False


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """One of `FIELDS` (for payload and header at a path) compares like any of the values."""

    field: str
    operator: str  # ":", "=", "!=", ">", ">=", "<" or "<="
    values: list[Value]
    is_negated: bool = False
    path: list[str | int] = []


def holds(conditions: Iterable[Condition], event: Event) -> bool:
    """Whether the event has all that is asked of it. Data that can't be read has nothing."""
    return all(_has(condition, event) is not condition.is_negated for condition in conditions)


def _has(condition: Condition, event: Event) -> bool:
    if text_of := _TEXTS.get(condition.field):
        return (text_of(event) in {value.text for value in condition.values}) is not (condition.operator == "!=")
    if condition.field == "size":
        return _compares(condition, len(event.raw))
    if condition.field == "header":
        return _any_compares(condition, _reached(dict(event.headers), condition.path))
    if condition.field != "payload":
        return condition.is_negated  # of a newer version: it holds for nothing
    try:
        return _any_compares(condition, _reached(event.data, condition.path))
    except DataInvalid:
        return condition.is_negated


def _reached(data: Any, path: Sequence[str | int]) -> list[Any]:
    """The values that a path leads to: none, one, or with ANY many."""
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


def _any_compares(condition: Condition, found: Sequence[Any]) -> bool:
    """A list compares like any of its elements. `!=` means that none is equal; of what isn't there that is true."""
    elements = [inner for value in found for inner in (value if isinstance(value, list) else (value,))]
    if condition.operator == "!=":
        return not any(_equals(value, element) for value in condition.values for element in elements)
    return any(_compares(condition, element) for element in elements)


def _compares(condition: Condition, found: Any) -> bool:
    order = _ORDERS.get(condition.operator)
    if order is None:
        return any(_equals(value, found) for value in condition.values) is not (condition.operator == "!=")
    value = condition.values[0]
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
