"""What settings.py takes from the environment: lists, flags, the database, the secret key.

Knows nothing of Django's apps, so that settings can import it. Mistakes are `ConfigError`s.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from bus import folder
from bus.errors import ConfigError

_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"", "0", "false", "no", "off"}
_UNITS: Final = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
_SQLITE_PRAGMAS: Final = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
_CONNECTION_SECONDS: Final = 60  # else every query of a live page would open a connection of its own
_SQLITE_WAIT_SECONDS: Final = 20


def listed(name: str, *, default: list[str]) -> list[str]:
    """A comma-separated list."""
    value = os.environ.get(name)
    return default if value is None else [part.strip() for part in value.split(",") if part.strip()]


def text(name: str) -> str:
    """A text; nothing when it is unset."""
    return os.environ.get(name, "").strip()


def addresses(name: str) -> list[str]:
    """A comma-separated list of http(s) addresses."""
    found = listed(name, default=[])
    for number, address in enumerate(found, 1):
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:  # it may hold a secret: it is not said
            raise ConfigError(f"expected {name} to list addresses such as https://host/path, number {number} is none")
    return found


def flag(name: str, *, default: bool) -> bool:
    """1/true/yes/on or 0/false/no/off."""
    value = os.environ.get(name)
    if value is None:
        return default
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ConfigError(f"expected {name} to be 1 or 0, got {value!r}")


def number(name: str, *, default: int) -> int:
    """A whole number from 1."""
    value = os.environ.get(name)
    if not value:
        return default
    if value.isdecimal() and int(value) > 0:
        return int(value)
    raise ConfigError(f"expected {name} to be a whole number from 1, got {value!r}; the default is {default:,}")


def size(name: str, *, default: int) -> int:
    """Bytes: 500MB, 20GB, or a plain number; 0 for no limit."""
    value = os.environ.get(name, "").strip().upper()
    if not value:
        return default
    digits = value.rstrip("KMGTIB ").strip()
    unit = value[len(digits) :].strip().removesuffix("B").removesuffix("I")
    if digits.isdecimal() and unit in _UNITS:
        return int(digits) * _UNITS[unit]
    raise ConfigError(f"expected {name} to be a size such as 500MB or 20GB, or 0 for no limit, got {value!r}")


def one_of(name: str, words: Sequence[str]) -> str:
    """One of these words, with spaces or dashes; the first unless something else is said."""
    value = os.environ.get(name, words[0]).replace("-", " ").lower()
    if value not in words:
        raise ConfigError(f"expected {name} to be one of {', '.join(words)}, got {value!r}")
    return value


def secret_key(data_folder: Path) -> str:
    """SECRET_KEY, else one made once and kept in the data folder, readable by its owner only."""
    if given := os.environ.get("SECRET_KEY"):
        return given
    folder.prepare(data_folder)
    path = data_folder / "secret_key"
    if not path.exists():
        folder.write_private(path, secrets.token_urlsafe(50))
    return path.read_text()


def database(sqlite_path: Path) -> dict[str, Any]:
    """Django's database settings from DATABASE_URL; unset means SQLite at `sqlite_path`."""
    url = os.environ.get("DATABASE_URL", "")
    parts = urlsplit(url)
    if not url:
        return _sqlite(sqlite_path)
    if parts.scheme == "sqlite" and parts.path not in {"", "/"}:
        return _sqlite(Path(unquote(parts.path)))
    if parts.scheme in {"postgres", "postgresql"} and parts.path.strip("/"):
        return _postgres(url)
    raise ConfigError(
        "expected DATABASE_URL to be postgresql://user:password@host:5432/name or sqlite:////path/to/file,"
        f" got a URL that starts with {parts.scheme or 'nothing'!r}; leave it unset for SQLite in the data folder"
    )


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": _CONNECTION_SECONDS,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # take the write lock first: a later upgrade fails at once, unwaited
            "timeout": _SQLITE_WAIT_SECONDS,
            "init_command": _SQLITE_PRAGMAS,
        },
    }


def _postgres(url: str) -> dict[str, Any]:
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError as error:
        raise ConfigError(f"expected DATABASE_URL to name a port from 1 to 65535: {error}") from None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port or ""),
        "CONN_MAX_AGE": _CONNECTION_SECONDS,
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
