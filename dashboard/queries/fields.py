"""What a query can ask about: the fields of the query language, what each takes, and what it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from dashboard.record.progress import State


class Kind(Enum):
    """What the values of a field are."""

    TEXT = auto()
    NUMBER = auto()
    TIME = auto()
    WORD = auto()  # one of `Field.words`
    DATA = auto()  # whatever JSON can hold, at a path


EQUALITY: Final = (":", "=", "!=")
OPERATORS: Final = (":", "=", "!=", ">", ">=", "<", "<=")


@dataclass(frozen=True)
class Field:
    """One field. `of_lane`: it speaks of one group's place in the event's fan-out, not of the event."""

    name: str
    kind: Kind
    meaning: str
    of_lane: bool = False
    words: tuple[str, ...] = ()

    @property
    def operators(self) -> tuple[str, ...]:
        if self.kind is Kind.TIME:
            return (":",)
        return OPERATORS if self.kind in (Kind.NUMBER, Kind.DATA) else EQUALITY


GHOST: Final = "ghost"
ROOT: Final = "root"
CUT: Final = "cut"

FIELDS: Final = {
    field.name: field
    for field in (
        Field("type", Kind.TEXT, "the event's type"),
        Field("key", Kind.TEXT, "the event's key"),
        Field("state", Kind.WORD, "a lane's state", of_lane=True, words=tuple(str(state) for state in State)),
        Field("group", Kind.TEXT, "a group that should get the event", of_lane=True),
        Field("topic", Kind.TEXT, "the topic it was published on"),
        Field("since", Kind.TIME, "published since: 15m, 2h, 3d, a date, or ms since 1970"),
        Field("until", Kind.TIME, "published until then"),
        Field("error", Kind.TEXT, "part of a lane's error; with = the error's class", of_lane=True),
        Field("fingerprint", Kind.TEXT, "a lane's kind of error, as the Dead letters page groups them", of_lane=True),
        Field("id", Kind.TEXT, "the event's id"),
        Field("trace", Kind.TEXT, "the trace (correlation id) it belongs to"),
        Field("cause", Kind.TEXT, "the id of the event that caused it"),
        Field("source", Kind.TEXT, "who published it"),
        Field("payload", Kind.DATA, "a value in its data: payload.items[0].sku:A1"),
        Field("header", Kind.DATA, "one of its headers: header.tenant:acme"),
        Field("attempt", Kind.NUMBER, "a lane's newest attempt", of_lane=True),
        Field("worker", Kind.TEXT, "the worker of a lane's newest attempt", of_lane=True),
        Field("version", Kind.TEXT, "the code that a lane's newest attempt ran", of_lane=True),
        Field("size", Kind.NUMBER, "bytes of its data"),
        Field(
            "is",
            Kind.WORD,
            "ghost: only the journal knows it; root: nothing caused it; cut: not kept whole",
            words=(GHOST, ROOT, CUT),
        ),
    )
}
TEXT: Final = "text"  # what a term without a field asks about: any text of the event
