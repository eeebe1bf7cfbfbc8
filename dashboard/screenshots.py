"""The pictures of the README, made of what the pages look like now: a demo on a folder of its own, and a browser.

Needs Playwright and a Chromium, which nothing else here does: `python -m pip install playwright`.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from django.conf import settings

from bus.errors import BusError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SEED: Final = 7
RATE: Final = "3"
WAIT_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = 0.5
SIZE: Final = {"width": 1440, "height": 900}
MAX_BYTES: Final = 200_000
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
SWITCHES: Final = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars")
THEMES: Final = ("light", "dark")
# An order whose e-mail was sent after a retry, and whose parcel is on its way: nothing more will happen to it.
STORY: Final = "topic:orders type:order_placed group:email state:succeeded attempt>1"
PAGES: Final = {
    "trace": "",  # found by its story
    "overview": "/",
    "topic": "/topics/orders/",
    "consumers": "/consumers/",
    "dead-letters": "/dead/",
    "system": "/system/",
}
_SETTLED: Final = "() => document.querySelector('live-status [role=status]')?.textContent.startsWith('live')"


class CannotPicture(BusError):
    """What is missing to make pictures."""


def take(folder: Path, names: tuple[str, ...], themes: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Write `NAME.png` (light) and `NAME-dark.png` into the folder."""
    start = _playwright()
    folder.mkdir(parents=True, exist_ok=True)
    with _demo() as link, start() as playwright, _browser(playwright) as browser:
        context = browser.new_context(viewport=SIZE)
        page = context.new_page()
        page.goto(link)
        origin = link.partition("/login")[0]
        page.wait_for_url(f"{origin}/", timeout=30_000)
        addresses = {**PAGES, "trace": _wait(lambda: _trace(context, origin), "an order with a retry")}
        for name in names:
            for theme in themes:
                page.emulate_media(color_scheme=theme)
                page.goto(origin + addresses[name])
                say(_shoot(page, folder / f"{name}{'' if theme == 'light' else '-dark'}"))


def _shoot(page: Page, path: Path) -> str:
    """One picture: PNG, WebP where that would be too large. Result: a line that says so."""
    page.wait_for_function(_SETTLED)
    page.evaluate("() => document.fonts.ready")
    page.wait_for_load_state("networkidle")
    session = page.context.new_cdp_session(page)
    for ending, options in (("png", {}), ("webp", {"quality": 88}), ("webp", {"quality": 60})):
        answer = session.send("Page.captureScreenshot", {"format": ending, **options})
        picture = base64.b64decode(answer["data"])
        if len(picture) <= MAX_BYTES:
            break
    target = path.with_suffix(f".{ending}")
    target.write_bytes(picture)
    return f"{target} ({len(picture) / 1000:.0f} kB)"


def _trace(context: BrowserContext, origin: str) -> str:
    """The address of a trace that tells `STORY` and is over; "" while there is none."""
    found = context.request.get(f"{origin}/api/events", params={"q": STORY, "limit": "20"}).json()
    for event in found.get("events", ()):
        trace = context.request.get(f"{origin}/api/traces/{event['correlation_id']}").json()
        counts = trace["summary"]
        if counts["lanes"] == counts["succeeded"] and len(trace["events"]) > 3:
            return f"/traces/{trace['id']}/?event={event['id']}&group=email"
    return ""


def _playwright() -> Callable[[], Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise CannotPicture(
            "expected Playwright, which drives the browser, got no such module; install it with"
            " 'python -m pip install playwright', and a Chromium with your system's packages or 'playwright install'"
        ) from None
    return sync_playwright


def _playwright_error() -> type[Exception]:
    """What Playwright raises, once it is known to be here."""
    from playwright.sync_api import Error

    return Error


@contextmanager
def _browser(playwright: Any) -> Iterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    try:
        browser = playwright.chromium.launch(executable_path=found, args=list(SWITCHES))
    except _playwright_error() as error:
        raise CannotPicture(
            f"expected a Chromium that starts, got: {str(error).strip().partition(chr(10))[0]};"
            " install one with your system's packages or 'playwright install chromium'"
        ) from None
    yield browser
    browser.close()


@contextmanager
def _demo() -> Iterator[str]:
    """A demo on a free port and a folder that is gone afterwards; yields its login link."""
    with tempfile.TemporaryDirectory(prefix="fanlight-pictures-") as folder:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo"]
        environment = {name: value for name, value in os.environ.items() if name not in ("BUS_URL", "DATABASE_URL")}
        with (Path(folder) / "demo.log").open("w+") as log:
            process = subprocess.Popen(
                [*command, "--port", "0", "--seed", str(SEED), "--rate", RATE],
                env={**environment, "BUS_DATA": str(Path(folder) / "data"), "PYTHONUNBUFFERED": "1"},
                cwd=settings.BASE_DIR,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield _wait(lambda: _link(process, log), "the demo's pages")
            finally:
                process.terminate()
                process.wait(60)


def _link(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    log.seek(0)
    text = log.read()
    if process.poll() is not None:
        raise CannotPicture(
            f"expected the demo to run, it ended with: {text.strip().splitlines()[-1:] or process.returncode}"
        )
    return next((line.partition("open: ")[2].strip() for line in text.splitlines() if "open: http" in line), "")


def _wait(look: Callable[[], str], what: str) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise CannotPicture(
                f"expected {what} within {WAIT_SECONDS:g} s, got nothing; is the machine busy? try again"
            )
        time.sleep(PAUSE_SECONDS)
    return found
