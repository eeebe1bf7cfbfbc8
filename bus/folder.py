"""The data folder: made for its owner only, locked by the one process that runs the server on it.

Knows files; must not know servers, Redis or Django.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from bus.errors import ConfigError, FolderHeld

LOCK_FILE: Final = "server.lock"


def prepare(folder: Path) -> None:
    """Make the data folder, readable by its owner only. Raises `ConfigError` when that can't be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        raise ConfigError(
            f"expected a data folder that can be written, got {folder} ({error.strerror or error});"
            " choose another one with --data DIR or BUS_DATA"
        ) from None


def lock(folder: Path) -> IO[str]:
    """Lock the folder until the returned file is closed or this process ends, however it ends."""
    import fcntl  # here: Windows has none, and never comes this far

    file = os.fdopen(os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _parse_json(file.read())
        file.close()
        raise FolderHeld(
            f"expected the data folder {folder} to be free, but process {holder.get('pid', 'unknown')}"
            f" ({holder.get('command', '?')}, since {holder.get('since', '?')}) runs the bus on it;"
            " stop that one, or choose another folder with --data DIR"
        ) from None
    holder = {"pid": os.getpid(), "command": " ".join(sys.argv)[:200], "since": now_text()}
    file.truncate(0)
    file.write(json.dumps(holder))
    file.flush()
    return file


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none."""
    try:
        return _parse_json(path.read_text())
    except OSError:
        return {}


def _parse_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def now_text() -> str:
    """Now, for a person who reads a file: UTC, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
