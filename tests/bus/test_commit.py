"""The version of the code: what somebody says, else the commit that is checked out, read without running git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bus.commit import SHOWN, commit_of
from bus.config import MAX_VERSION, Config, from_options
from bus.errors import ConfigError


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=ann", "-c", "user.email=ann@localhost")
    shown = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def test_the_commit_of_a_branch_is_found_from_any_folder_below(checkout: Path) -> None:
    below = checkout / "src" / "shop"
    below.mkdir(parents=True)
    assert commit_of(below) == git(checkout, "rev-parse", "HEAD")[:SHOWN]


def test_the_commit_is_found_when_no_branch_is_checked_out(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "--detach")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")[:SHOWN]


def test_the_commit_is_found_when_branches_are_packed(checkout: Path) -> None:
    git(checkout, "pack-refs", "--all")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")[:SHOWN]


def test_a_worktree_has_a_commit_of_its_own(checkout: Path) -> None:
    git(checkout, "worktree", "add", "-q", "-b", "other", "../other")
    other = checkout.parent / "other"
    git(other, "commit", "-q", "--allow-empty", "-m", "second")
    assert commit_of(other) == git(other, "rev-parse", "HEAD")[:SHOWN]
    assert commit_of(other) != commit_of(checkout)


@pytest.mark.parametrize("head", ["", "ref: ", "ref: refs/../../../secret", "ref: refs/heads/gone", "\xff", "x" * 40])
def test_what_is_no_commit_is_no_version(checkout: Path, head: str) -> None:
    (checkout.parent / "secret").write_text("a" * 40)
    (checkout / ".git" / "HEAD").write_bytes(head.encode("latin-1"))
    assert commit_of(checkout) == ""


def test_outside_of_git_there_is_no_version() -> None:
    assert commit_of(Path("/proc")) == ""


def test_the_option_wins_over_the_environment_and_that_over_git(
    monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.delenv("BUS_VERSION", raising=False)
    monkeypatch.chdir(checkout)
    assert Config().version == commit_of(checkout)
    monkeypatch.setenv("BUS_VERSION", "2026.11.3")
    assert from_options({}).version == "2026.11.3"
    assert from_options({"version": "v7"}).version == "v7"


@pytest.mark.parametrize("version", ["v" * (MAX_VERSION + 1), "two\nlines", 7])
def test_a_version_is_one_short_line(version: object) -> None:
    with pytest.raises(ConfigError, match="expected BUS\\['version'\\] to be a line of at most"):
        from_options({"version": version})
