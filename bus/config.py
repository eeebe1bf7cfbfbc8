"""The settings of the bus: one frozen value, from `BUS` (or `bus.configure`) and the environment.

Knows names, defaults and limits; must not know Redis or Django.
"""

from __future__ import annotations

import difflib
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from bus.commit import commit_of
from bus.errors import ConfigError

Durability = Literal["strict", "relaxed"]
MAX_VERSION: Final = 120
OUTBOX_DEDUPE_SECONDS: Final = 7_200  # the relay sends again for an hour


def default_data_folder() -> Path:
    """Where the embedded server and the record live unless told otherwise: one folder a user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "fanlight"
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "fanlight"


@dataclass(frozen=True)
class Config:
    """Every setting of the bus, with its default. Durations in seconds, sizes in bytes."""

    url: str | None = None
    data_folder: Path = field(default_factory=default_data_folder)
    prefix: str = "bus"
    source: str = field(default_factory=socket.gethostname)
    version: str = field(default_factory=lambda: commit_of(Path.cwd()))
    durability: Durability = "strict"
    max_event_bytes: int = 256 * 1024
    lease_seconds: float = 10.0
    dedupe_seconds: int = 86_400
    retention_events: int = 1_000_000
    full_events: int = 10_000_000
    outbox: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            _check_number(name, getattr(self, name), low, high)
        if self.durability not in get_args(Durability):
            raise ConfigError(f"expected BUS['durability'] to be 'strict' or 'relaxed', got {self.durability!r}")
        if not isinstance(self.outbox, bool):
            raise ConfigError(f"expected BUS['outbox'] to be True or False, got {self.outbox!r}")
        if self.outbox and self.dedupe_seconds < OUTBOX_DEDUPE_SECONDS:
            raise ConfigError(
                f"expected BUS['dedupe_seconds'] to be at least {OUTBOX_DEDUPE_SECONDS:,} with outbox, got"
                f" {self.dedupe_seconds:,}; what the outbox sends again would be stored twice"
            )
        if not self.prefix or not self.prefix.isascii() or set(self.prefix) & set("{}*?[]\\ \n"):
            raise ConfigError(f"expected BUS['prefix'] to be plain text without braces, got {self.prefix!r}")
        if not isinstance(self.version, str) or len(self.version) > MAX_VERSION or not self.version.isprintable():
            raise ConfigError(
                f"expected BUS['version'] to be a line of at most {MAX_VERSION} characters, got {self.version!r:.160}"
            )


_LIMITS = {
    "max_event_bytes": (1, 64 * 1024 * 1024),
    "lease_seconds": (1, 3600),
    "dedupe_seconds": (1, 30 * 86_400),
    "retention_events": (1, 2**53),
    "full_events": (1, 2**53),
}


def from_options(options: Mapping[str, Any]) -> Config:
    """A Config from options by name; the environment wins over defaults, options over both.

    Raises `ConfigError` for an unknown option (naming the nearest) or a value out of bounds.
    """
    known = {f.name for f in fields(Config)}
    for name in options:
        if name not in known:
            raise ConfigError(f"unknown BUS option {name!r}{_nearest(name, known)}; expected one of {_listed(known)}")
    given = {**_environment(), **{name: value for name, value in options.items() if value is not None}}
    if "data_folder" in given:
        given["data_folder"] = Path(given["data_folder"]).expanduser().absolute()
    return replace(Config(), **given)


def _environment() -> dict[str, Any]:
    variables = {"url": "BUS_URL", "data_folder": "BUS_DATA", "version": "BUS_VERSION"}
    named = {name: os.environ.get(variable) for name, variable in variables.items()}
    return {name: value for name, value in named.items() if value}


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return
    raise ConfigError(f"expected BUS[{name!r}] to be a number from {low:,} to {high:,}, got {value!r}")


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(known: set[str]) -> str:
    return ", ".join(sorted(known))
