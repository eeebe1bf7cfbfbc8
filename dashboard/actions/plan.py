"""A deed before it is done: what it would touch, in words and numbers, and what of it is frozen at the confirmation.

What is shown is what is done: the frozen part travels signed with the form, so that a filter which matches more by
then, or a position that moved, changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.core import signing
from django.http import QueryDict

from bus.errors import BusError
from bus.streams import Client
from dashboard.actions.roles import Deed

VALID_SECONDS: Final = 3600
_SALT: Final = "fanlight.plan"


class Unclear(BusError):
    """What is asked for can't be understood or does not exist; the text says what was expected."""


class Outdated(BusError):
    """The confirmation is too old, or not ours."""


@dataclass(frozen=True)
class Plan:
    """What would be done. `count`: to how many (None: nobody can tell). `undo`: whether and how it can be undone.

    `impossible`: why it can't be done now. `rows`: the same as a table, under `columns`. `fields`: what may still be
    filled in, by name.
    """

    deed: Deed
    topic: str
    title: str
    says: Sequence[str]
    undo: str
    button: str
    group: str = ""
    reason: str = ""
    count: int | None = None
    impossible: str = ""
    warning: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)  # for the record: what was asked for
    frozen: Mapping[str, Any] = field(default_factory=dict)


class Asked:
    """What a form, an address or a JSON body says, as texts."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def get(self, name: str) -> str:
        """One text, "" when it was not said."""
        found = self.all(name)
        return found[-1] if found else ""

    def all(self, name: str) -> list[str]:
        """Every text of that name."""
        found = self._given.getlist(name) if isinstance(self._given, QueryDict) else self._given.get(name, ())
        listed = found if isinstance(found, list | tuple) else [found]
        return [str(one).strip() for one in listed if one is not None]

    def needed(self, name: str) -> str:
        """One text that must be there. Raises `Unclear`."""
        if not (text := self.get(name)):
            raise Unclear(f"expected {name}=…, got none")
        return text


class Doing(NamedTuple):
    """What a deed needs to be done."""

    client: Client
    topic: str
    group: str
    frozen: Mapping[str, Any]
    who: str
    reason: str


def freeze(plan: Plan) -> str:
    """The frozen part as text for a form: signed, so that nobody alters it on the way."""
    held = {"deed": plan.deed.value, "topic": plan.topic, "group": plan.group, "count": plan.count}
    return signing.dumps({**held, "chosen": plan.chosen, "frozen": plan.frozen}, salt=_SALT, compress=True)


def thaw(text: str, deed: Deed) -> dict[str, Any]:
    """What `freeze` gave. Raises `Outdated`."""
    try:
        held: dict[str, Any] = signing.loads(text, salt=_SALT, max_age=VALID_SECONDS)
    except signing.BadSignature:
        raise Outdated("expected a confirmation of the last hour; look at it again, nothing was done") from None
    if held["deed"] != deed.value:
        raise Outdated(f"expected a confirmation of {deed.value}, got one of {held['deed']}; nothing was done")
    return held
