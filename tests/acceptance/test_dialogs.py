"""Each question that is asked in a dialog opens and closes by keyboard alone, and gives the focus back."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.acceptance.browsing import listen
from tests.acceptance.test_every_page import signed_in

PLACES: Final = ("/consumers/orders/email/", "/topics/orders/", "/dead/", "/events/order-0/", "/activity/")
LINKS: Final = """() => [...document.querySelectorAll("a[data-dialog]")]
    .filter((link) => link.checkVisibility())
    .map((link) => link.getAttribute("href"))"""


def deed_of(href: str) -> str:
    """What is asked: the deed, and of a rewind to where."""
    parts = urlsplit(href)
    return parts.path.strip("/").rpartition("/")[2] + "".join(parse_qs(parts.query).get("to", []))


def opened_and_closed(page: Page, href: str) -> None:
    link = page.locator(f'a[data-dialog][href="{href}"]').locator("visible=true").first
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog#act[open]")
    dialog.wait_for()
    assert page.evaluate("() => document.querySelector('dialog#act').contains(document.activeElement)"), href
    assert page.evaluate("() => document.querySelector('#act-title')?.textContent.trim().length > 0"), href
    for _ in range(30):  # round and round: the focus stays in it, or with the browser
        page.keyboard.press("Tab")
        inside = "() => document.activeElement === document.body || !!document.activeElement.closest('dialog#act')"
        assert page.evaluate(inside), href
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("() => document.activeElement?.getAttribute('href')") == href


@pytest.fixture(scope="module")
def asked(chromium: Browser, reader: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By deed, where it is asked and by which link."""
    context = signed_in(chromium, reader)
    page, found = context.new_page(), dict[str, tuple[str, str]]()
    for place in PLACES:
        page.goto(place)
        for href in page.evaluate(LINKS):
            found.setdefault(deed_of(href), (place, href))
    context.close()
    return found


def test_each_dialog_opens_and_closes_by_keyboard_and_gives_the_focus_back(
    chromium: Browser, reader: dict[str, Any], asked: dict[str, tuple[str, str]]
) -> None:
    assert asked.keys() >= {"pause", "discard", "publish"}, asked.keys()
    context = signed_in(chromium, reader)
    complaints = listen(context)
    page = context.new_page()
    for place, href in asked.values():
        page.goto(place)
        opened_and_closed(page, href)
    assert complaints == []
    context.close()
