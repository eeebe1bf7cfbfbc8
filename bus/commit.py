"""Which commit of git a folder is at: the version of the code that a worker runs, where nobody says another.

Reads the files of git, since the program may not be installed; must not run anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

SHOWN: Final = 12
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_NAME: Final = re.compile(r"refs/[\w./-]+")


def commit_of(folder: Path) -> str:
    """The first digits of the commit that `folder`, or the nearest folder above it, has checked out; "" for none."""
    try:
        root = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)
        return _head(root / ".git") if root else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _head(git: Path) -> str:
    if git.is_file():  # a worktree or a submodule: the file says where its own part lies
        git = git.parent / git.read_text().partition("gitdir:")[2].strip()
    head = (git / "HEAD").read_text().strip()
    name = head.removeprefix("ref:").strip()
    return _short(head if name == head else _commit(git, name))


def _commit(git: Path, name: str) -> str:
    """The commit that a branch is at; a worktree shares the branches of the folder that `commondir` names."""
    if not _NAME.fullmatch(name) or ".." in name:
        return ""
    shared = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
    for place in (git, shared):
        if (place / name).is_file():
            return (place / name).read_text().strip()
    packed = shared / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    return next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _short(commit: str) -> str:
    return commit[:SHOWN] if _COMMIT.fullmatch(commit) else ""
