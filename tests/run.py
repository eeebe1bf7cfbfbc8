"""`python3 tests/run.py`: install what the tests need, then lint, types and all tests. Any further words go to pytest.

For a machine with Python 3.11 and pip, nothing else: standard library only. It writes to `.venv`, and asks apt
(as root or by sudo) for a Chromium and for Redis where there is none; without apt Playwright brings a Chromium.
All that is SQL is tested on PostgreSQL first. pytest on SQLite comes last, so that its closing line is ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHECKS = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])


def main(words: list[str]) -> int:
    make_environment()
    install_programs()
    # Set here so that the type checker, which imports the settings, leaves no key in a person's data folder.
    os.environ.setdefault("SECRET_KEY", "for-checks-only")
    codes = [run(PYTHON, "-m", *check) for check in CHECKS]
    # One process more than there are cores: what these tests do most is wait for what other processes do.
    beside = ["--numprocesses", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"]
    codes.append(run(PYTHON, "-m", "tests.on_postgres", "--quiet", *beside))
    codes.append(run(PYTHON, "-m", "pytest", *beside, *words))
    return next((code for code in codes if code), 0)


def make_environment() -> None:
    """A private environment from the lock file. Made without its own pip, which Debian keeps in another package."""
    if not PYTHON.exists():
        must(sys.executable, "-m", "venv", "--without-pip", ROOT / ".venv")
    lock = ROOT / "requirements-test.lock"
    must(sys.executable, "-m", "pip", "--python", PYTHON, "install", "--quiet", "--requirement", lock)


def install_programs() -> None:
    """A Chromium, the library that Playwright's driver needs, Debian's Redis, clocks that jump: a bare Debian has none.

    Where there is no apt, Playwright brings the browser, and the tests use those servers and clocks that there are.
    """
    browser = any(shutil.which(name) for name in BROWSERS)
    driver = run(PYTHON, "-m", "playwright", "--version") == 0
    redis = shutil.which("redis-cli")
    clocks = any(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    wanted: dict[str, object] = {"chromium": browser, "libatomic1": driver, "redis-tools": redis, "libfaketime": clocks}
    wanted["curl"] = shutil.which("curl")  # what pages say can be pasted is pasted
    missing = [name for name, there in wanted.items() if not there]
    client = Path("/usr/share/nodejs/redis").exists()
    if (missing or not client) and shutil.which("apt-get") and (os.geteuid() == 0 or shutil.which("sudo")):
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        must(*sudo, "apt-get", "update", "-qq")
        must(*sudo, "apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing)
        # Node's client for Redis, 0.2 MB: a stranger on our streams. A release of Debian that lacks it does no harm.
        run(*sudo, "apt-get", "install", "-qq", "--yes", "--no-install-recommends", "node-redis")
    elif not browser:
        must(PYTHON, "-m", "playwright", "install", "chromium")


def run(*command: object) -> int:
    """Run it, showing what; its exit code."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


def must(*command: object) -> None:
    if code := run(*command):
        sys.exit(f"error: expected this to work, it ended with code {code}: {' '.join(map(str, command))}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
