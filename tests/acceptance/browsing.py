"""A real browser for the acceptance tests: started once, signed in, and asked what it had to complain about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, sync_playwright

from tests.acceptance.processes import Running

SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS: Final = 30_000
REPORT_VIOLATIONS: Final = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@contextmanager
def launched() -> Iterator[Browser]:
    """The system's Chromium, or the one that Playwright brought."""
    with sync_playwright() as playwright:
        found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=found, args=list(SWITCHES))
        yield browser
        browser.close()


def sign_in(browser: Browser, process: Running) -> dict[str, Any]:
    """Cookies of a browser that opened the link which the process printed, and where its pages are."""
    link = process.wait_for_line("open: http").partition("open: ")[2].strip()
    base = link.partition("/login")[0]
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.wait_for_url(f"{base}/", timeout=PATIENCE_MS)
    state = {"base": base, "cookies": context.cookies()}
    context.close()
    return state


def listen(context: BrowserContext) -> list[str]:
    """Whatever is blocked, thrown, logged as an error, or asked by a dialog from now on."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} {message.location}")

    context.add_init_script(REPORT_VIOLATIONS)
    context.on("console", hear)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    return complaints
