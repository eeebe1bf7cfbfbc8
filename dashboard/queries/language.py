"""The query language: `type:order_placed key:42 payload.total>100 state:dead -group:email since:15m "free text"`.

Terms are joined by *and*; a comma list (`state:dead,retrying`) is *or*; `-` in front of a term is *not*. Parsing is
pure and gives frozen values; what can't be understood is a `QueryInvalid` that points at the word. Nothing that
somebody writes is ever run: no code, no regular expression.
"""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bus.errors import BusError
from dashboard.queries.fields import FIELDS, TEXT, Field, Kind

MAX_LENGTH: Final = 1_000
MAX_TERMS: Final = 20
MAX_VALUES: Final = 20
MAX_DEPTH: Final = 12

Path = tuple[str | int, ...]  # names and places within JSON; ANY stands for every place of a list
ANY: Final = -1

_NAME: Final = re.compile(r"[A-Za-z_][\w-]*(?:\.[^\s\".:=!<>\[\],]+|\[(?:\d{1,5}|\*)\])*")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\*)\]")
_OPERATOR: Final = re.compile(r"!=|>=|<=|[:=><]")
_WORD: Final = re.compile(r"[^\s\"]+")
_VALUE: Final = re.compile(r"[^\s\",]+")
_NUMBER: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?\Z")
_AGE: Final = re.compile(r"(\d{1,6})(s|m|h|d|w)\Z")
_AGE_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_EPOCH_MS: Final = re.compile(r"\d{11,14}\Z")
_ELSEWHERE: Final = {  # what people know from other places
    "AND": "terms are joined by and already: leave it out",
    "OR": "list the values instead: type:a,b",
    "NOT": "put - in front of the term instead: -type:a",
}


class QueryInvalid(BusError):
    """A query that can't be understood or answered. `start`, `end`: the word of `text` that is wrong.

    `nearest`: what may have been meant in its place.
    """

    def __init__(self, text: str, start: int, end: int, message: str, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest}?" if nearest else ""
        super().__init__(f"{message}{hint}")
        self.text = text
        self.start, self.end = start, max(end, start)
        self.message = f"{message}{hint}"
        self.nearest = nearest

    @property
    def corrected(self) -> str | None:
        """The query with the nearest word in the place of the wrong one."""
        return None if self.nearest is None else self.text[: self.start] + self.nearest + self.text[self.end :]


@dataclass(frozen=True)
class Value:
    """A value as it was written. `number`: what it is as a number, or as a moment in ms; None when it is neither."""

    text: str
    start: int
    end: int
    is_quoted: bool = False
    number: int | float | None = None


@dataclass(frozen=True)
class Term:
    """One condition: any of `values`. `start`, `end`: its place in the query."""

    field: str
    operator: str
    values: tuple[Value, ...]
    start: int
    end: int
    is_negated: bool = False
    path: Path = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(value.text for value in self.values)

    @property
    def is_plain(self) -> bool:
        """Whether it says which values are wanted, rather than which are not."""
        return not self.is_negated and self.operator in (":", "=")


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def of(self, *fields: str) -> tuple[Term, ...]:
        """The terms of these fields."""
        return tuple(term for term in self.terms if term.field in fields)

    def plain(self, field: str) -> Term | None:
        """The first term that says which values of a field are wanted."""
        return next((term for term in self.of(field) if term.is_plain), None)

    @property
    def lane_terms(self) -> tuple[Term, ...]:
        """What is asked of a lane."""
        return tuple(term for term in self.terms if term.field != TEXT and FIELDS[term.field].of_lane)


def parse(text: str, *, now_ms: int | None = None) -> Query:
    """The query that `text` says, or `QueryInvalid`. `now_ms`: what `since:15m` counts from."""
    if len(text) > MAX_LENGTH:
        raise QueryInvalid(
            text, MAX_LENGTH, len(text), f"expected at most {MAX_LENGTH:,} characters, got {len(text):,}"
        )
    parser = _Parser(text, int(time.time() * 1000) if now_ms is None else now_ms)
    terms: list[Term] = []
    for term in parser.terms():
        if len(terms) == MAX_TERMS:
            raise QueryInvalid(text, term.start, term.end, f"expected at most {MAX_TERMS} terms")
        terms.append(term)
    return Query(text, tuple(terms))


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that is most like `word`, if any is."""
    found = difflib.get_close_matches(word.lower()[:60], sorted(words), 1, 0.6)
    return found[0] if found else None


def quoted(value: str) -> str:
    """The value as a query says it."""
    if _VALUE.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def says(text: str, field: str, value: str) -> bool:
    """Whether the query asks for `field:value`."""
    try:
        return any(term.is_plain and term.texts == (value,) for term in parse(text).of(field))
    except QueryInvalid:
        return False


def toggled(text: str, field: str, value: str) -> str:
    """The query with `field:value` in the place of other plain terms of the field; without it where it was there."""
    try:
        terms = [term for term in parse(text).of(field) if not term.is_negated]
    except QueryInvalid:
        return f"{field}:{quoted(value)}"
    rest = text
    for term in reversed(terms):
        rest = rest[: term.start] + rest[term.end :]
    was_there = any(term.texts == (value,) for term in terms)
    return " ".join([*rest.split(" "), "" if was_there else f"{field}:{quoted(value)}"]).strip().replace("  ", " ")


class _Parser:
    """Reads terms off a text, from left to right."""

    def __init__(self, text: str, now_ms: int) -> None:
        self.text, self.now_ms, self.at = text, now_ms, 0

    def terms(self) -> Iterator[Term]:
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at >= len(self.text):
                return
            yield self._term()

    def _term(self) -> Term:
        start = self.at
        following = self.text[start + 1 : start + 2]
        is_negated = self.text[start] == "-" and bool(following.strip()) and following != "-"
        self.at += is_negated
        name = _NAME.match(self.text, self.at)
        operator = _OPERATOR.match(self.text, name.end()) if name else None
        if name is None or operator is None:
            return self._free_text(start, is_negated=is_negated)
        field, path = self._field(name)
        self.at = operator.end()
        if operator[0] not in field.operators:
            raise self._error(
                operator.start(), operator.end(), f"expected {_either(field.operators)} after {field.name}"
            )
        if is_negated and field.kind is Kind.TIME:
            raise self._error(start, self.at, "times can't be negated: say since: or until:")
        values = tuple(self._checked(field, operator[0], value) for value in self._values(start, name[0] + operator[0]))
        if len(values) > 1 and operator[0] not in (":", "=", "!="):
            raise self._error(values[1].start, values[-1].end, f"expected one value after {operator[0]}")
        return Term(field.name, operator[0], values, start, self.at, is_negated, path)

    def _free_text(self, start: int, *, is_negated: bool) -> Term:
        if self.text[self.at] == '"':
            value = self._quoted()
            self._end_of_value()
        else:
            word = _WORD.match(self.text, self.at)
            assert word is not None, "it begins with neither a space nor a quote"
            value = Value(word[0], word.start(), word.end())
            self.at = word.end()
            if word[0] in _ELSEWHERE:
                raise self._error(value.start, value.end, _ELSEWHERE[word[0]])
            if self.text[self.at : self.at + 1] == '"':
                raise self._error(self.at, self.at + 1, "expected a space before the quote")
        if not value.text:
            raise self._error(value.start, value.end, "expected text between the quotes")
        return Term(TEXT, ":", (value,), start, self.at, is_negated)

    def _field(self, name: re.Match[str]) -> tuple[Field, Path]:
        word = re.split(r"[.\[]", name[0], maxsplit=1)[0]
        field = FIELDS.get(word.lower())
        place = name.start(), name.start() + len(word)
        if field is None:
            like = nearest(word, FIELDS)
            names = "" if like else f" ({', '.join(FIELDS)})"
            raise self._error(*place, f"expected a field{names} or text in quotes, got {word[:40]}", like)
        rest = name[0][len(word) :]
        path = tuple(_step(step) for step in _STEP.finditer(rest))
        if field.kind is Kind.DATA and not path:
            raise self._error(*place, f"expected what to look at: {field.name}.{{name}}")
        if field.kind is not Kind.DATA and path:
            raise self._error(place[1], name.end(), f"expected an operator: {field.name} has no parts")
        if len(path) > MAX_DEPTH:
            raise self._error(place[1], name.end(), f"expected a path of at most {MAX_DEPTH} steps")
        return field, path

    def _values(self, start: int, said: str) -> Iterator[Value]:
        for count in range(1, MAX_VALUES + 2):
            if self.text[self.at : self.at + 1] == '"':
                value = self._quoted()
            elif word := _VALUE.match(self.text, self.at):
                value = Value(word[0], word.start(), word.end())
                self.at = word.end()
            else:
                raise self._error(start, max(self.at, start + 1), f"expected a value after {said}")
            if count > MAX_VALUES:
                raise self._error(value.start, value.end, f"expected at most {MAX_VALUES} values")
            yield value
            if self.text[self.at : self.at + 1] != ",":
                break
            self.at += 1
        self._end_of_value()

    def _quoted(self) -> Value:
        start, parts = self.at, []
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != '"':
            self.at += self.text[self.at] == "\\" and self.at + 1 < len(self.text)
            parts.append(self.text[self.at])
            self.at += 1
        if self.at >= len(self.text):
            raise self._error(start, len(self.text), "expected a closing quote")
        self.at += 1
        return Value("".join(parts), start, self.at, is_quoted=True)

    def _end_of_value(self) -> None:
        following = self.text[self.at : self.at + 1]
        if following and not following.isspace():
            raise self._error(self.at, self.at + 1, f"expected a space before {following}")

    def _checked(self, field: Field, operator: str, value: Value) -> Value:
        """The value as its field takes it."""
        if field.kind is Kind.TIME:
            return _with_number(value, self._moment(value))
        if field.kind is Kind.WORD:
            word = value.text.lower()
            if word not in field.words:
                message = f"expected {field.name} to be {_either(field.words)}"
                raise self._error(value.start, value.end, message, nearest(word, field.words))
            return Value(word, value.start, value.end)
        number = _number(value)
        if field.kind is Kind.NUMBER and number is None:
            raise self._error(value.start, value.end, f"expected a number after {field.name}{operator}")
        return _with_number(value, number)

    def _moment(self, value: Value) -> int:
        if age := _AGE.match(value.text):
            return max(self.now_ms - int(age[1]) * _AGE_MS[age[2]], 0)
        if _EPOCH_MS.match(value.text):
            return int(value.text)
        try:
            moment = datetime.fromisoformat(value.text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(int(moment.timestamp() * 1000), 0)
        except (ValueError, OverflowError):
            message = "expected a time: 15m, 2h, 3d, 2026-01-31, 2026-01-31T14:03 (UTC) or ms since 1970"
            raise self._error(value.start, value.end, message) from None

    def _error(self, start: int, end: int, message: str, like: str | None = None) -> QueryInvalid:
        return QueryInvalid(self.text, start, end, message, like)


def _step(step: re.Match[str]) -> str | int:
    if step[1] is not None:
        return step[1]
    return ANY if step[2] == "*" else int(step[2])


def _number(value: Value) -> int | float | None:
    if value.is_quoted or not _NUMBER.match(value.text):
        return None
    if value.text.lstrip("-").isdigit():
        return int(value.text)
    number = float(value.text)
    return number if math.isfinite(number) else None


def _with_number(value: Value, number: float | None) -> Value:
    return Value(value.text, value.start, value.end, value.is_quoted, number)


def _either(words: Iterable[str]) -> str:
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last
