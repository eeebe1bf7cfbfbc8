"""A dashboard of its own and a headless Chromium that is signed in to it: what pictures and benches of the screen need.

Needs Playwright and a Chromium, which nothing else here does: `python -m pip install playwright`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from django.conf import settings

from bus.errors import BusError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTH, HEIGHT = 1440, 900
WAIT_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = 0.5
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
SWITCHES: Final = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-precise-memory-info")


class CannotBrowse(BusError):
    """What is missing to look at pages."""


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium: the system's, or Playwright's own."""
    with _playwright()() as playwright:
        found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        try:
            started = playwright.chromium.launch(executable_path=found, args=list(SWITCHES))
        except _playwright_error() as error:
            raise CannotBrowse(
                f"expected a Chromium that starts, got: {str(error).strip().partition(chr(10))[0]};"
                " install one with your system's packages or 'playwright install chromium'"
            ) from None
        yield started
        started.close()


def _playwright() -> Callable[[], Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise CannotBrowse(
            "expected Playwright, which drives the browser, got no such module; install it with"
            " 'python -m pip install playwright', and a Chromium with your system's packages or 'playwright install'"
        ) from None
    return sync_playwright


def _playwright_error() -> type[Exception]:
    """What Playwright raises, once it is known to be here."""
    from playwright.sync_api import Error

    return Error


def sign_in(chromium: Browser, link: str) -> tuple[Page, str]:
    """A page of somebody who opened the login link, and where the dashboard is."""
    page = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
    page.goto(link)
    origin = link.partition("/login")[0]
    page.wait_for_url(f"{origin}/", timeout=60_000)
    return page, origin


def environment(folder: Path, **more: str) -> dict[str, str]:
    """That of a process whose data is below `folder`, with `more`, whatever bus or database the user has."""
    rest = {name: value for name, value in os.environ.items() if name not in ("BUS_URL", "DATABASE_URL")}
    own = {"BUS_DATA": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "dashboard.settings", "PYTHONUNBUFFERED": "1"}
    return {**rest, **own, **more}


@contextmanager
def dashboard(folder: Path, *command: str, **more: str) -> Iterator[str]:
    """`manage.py` with these words, in an `environment`, on a free port; yields its login link."""
    with (folder / "output.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *command, "--port", "0"],
            env=environment(folder, **more),
            cwd=settings.BASE_DIR,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield wait(lambda: _link(process, log), "the dashboard's pages")
        finally:
            process.terminate()
            process.wait(60)


def _link(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    log.seek(0)
    text = log.read()
    if process.poll() is not None:
        raise CannotBrowse(f"expected it to run, it ended with: {text.strip().splitlines()[-1:] or process.returncode}")
    return next((line.partition("open: ")[2].strip() for line in text.splitlines() if "open: http" in line), "")


def wait(look: Callable[[], str], what: str) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise CannotBrowse(
                f"expected {what} within {WAIT_SECONDS:g} s, got nothing; is the machine busy? try again"
            )
        time.sleep(PAUSE_SECONDS)
    return found
