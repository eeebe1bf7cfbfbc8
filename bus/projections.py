"""Projections: rows derived from a topic's events, and the registry of what this program declared.

Knows neither Redis nor Django: `bus.projector` runs them, `bus.projected` keeps how far they are.
Source: "CQRS", Young, 2010; a version is built beside the one that serves.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from bus.errors import ProjectionInvalid
from bus.event import Event, check_text, check_topic

Apply = Callable[[Event, int], object]
Reset = Callable[[int], object]
A = TypeVar("A", bound=Apply)

MAX_VERSION: Final = 2**31 - 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")


@dataclass(frozen=True)
class Projection:
    """`apply(event, version)` writes the rows of one event; `reset(version)` deletes all rows of a version."""

    topic: str
    name: str
    version: int
    apply: Apply
    reset: Reset
    types: frozenset[str] | None = None

    def admits(self, event_type: str) -> bool:
        return self.types is None or event_type in self.types

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Projections:
    """What was declared, by name and version."""

    def __init__(self) -> None:
        self._declared: dict[tuple[str, int], Projection] = {}

    def add(self, made: Projection) -> None:
        """Add it, or raise `ProjectionInvalid` where another one has its name and version."""
        other = self._declared.get((made.name, made.version))
        if other and _handler_of(other) != _handler_of(made):  # the same one: a module imported again
            raise ProjectionInvalid(
                f"expected one handler for {made}, got {_handler_of(other)} and {_handler_of(made)};"
                " give one of them another name, or a higher version"
            )
        self._declared[made.name, made.version] = made

    def wanted(self, names: Iterable[str] = ()) -> list[Projection]:
        """Those of these names (default: all), lowest versions first. An unknown name is an error."""
        known = {name for name, _ in self._declared}
        unknown = set(names) - known
        if unknown:
            raise ProjectionInvalid(
                f"expected projections among {', '.join(sorted(known)) or 'none (nothing is declared)'},"
                f" got {', '.join(sorted(unknown))}; import the module that declares it"
            )
        chosen = set(names) or known
        return [made for (name, _), made in sorted(self._declared.items()) if name in chosen]

    def clear(self) -> None:
        self._declared.clear()


registry: Final = Projections()


def projection(
    topic: str, *, name: str, version: int, reset: Reset, types: Iterable[str] | None = None
) -> Callable[[A], A]:
    """Decorator: `apply(event, version)` writes rows from every event of the topic (of these types), from its first.

    Each event takes effect once, in order per partition: the position is stored in the transaction of Django's default
    database that has the handler's rows. Mark rows with `version`, and read those of `bus.live_version(name)`: a
    higher version is built beside the live one, which goes on serving until the new one has caught up. `reset(version)`
    deletes a version's rows, before it is built and once it is out of use. Both may only write rows there.
    Raises `TopicInvalid`, `EventInvalid` or `ProjectionInvalid`.
    """

    def register(apply: A) -> A:
        made = Projection(
            check_topic(topic), _check_name(name), _check_version(version), apply, reset, _check_types(types)
        )
        if inspect.iscoroutinefunction(apply) or inspect.iscoroutinefunction(reset):
            raise ProjectionInvalid(
                f"expected sync functions for projection {made}, since Django's transactions are sync, got an async"
                " one; write it as def"
            )
        registry.add(made)
        return apply

    return register


def _handler_of(made: Projection) -> str:
    named = made.apply if hasattr(made.apply, "__qualname__") else type(made.apply)
    return f"{named.__module__}.{named.__qualname__} on {made.topic}"


def _check_name(name: object) -> str:
    if isinstance(name, str) and _NAME.match(name):
        return name
    raise ProjectionInvalid(
        "expected a projection's name of 1 to 120 letters, digits, '.', '_' or '-', starting with a letter or digit,"
        f" got {ascii(name)[:80]}"
    )


def _check_version(version: object) -> int:
    if isinstance(version, int) and not isinstance(version, bool) and 1 <= version <= MAX_VERSION:
        return version
    raise ProjectionInvalid(f"expected a projection's version to be a whole number from 1, got {version!r}")


def _check_types(types: Iterable[str] | None) -> frozenset[str] | None:
    if isinstance(types, str):
        raise ProjectionInvalid(f"expected types to be a list of texts, got the text {types!r}; write [{types!r}]")
    return None if types is None else frozenset(check_text("type", value, required=True) for value in types)
