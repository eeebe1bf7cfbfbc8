"""Journeys of a reader at night, with every click and key press counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.browsing import PATIENCE_MS, listen

EVENT = "order-1"
ORDER = "o-1"


class Reader:
    """Somebody at the screen, and how much they had to do. A click, a key, a text typed or pasted: one action each."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.actions = 0

    def press(self, key: str) -> None:
        self.actions += 1
        self.page.keyboard.press(key)

    def click(self, selector: str) -> None:
        self.actions += 1
        self.page.locator(selector).first.click()

    def paste(self, text: str) -> None:
        """Ctrl-V, as the browser tells the page of it: the clipboard itself may not be read by a test."""
        self.actions += 1
        self.page.evaluate(PASTE, text)


PASTE = """(text) => {
    const field = document.activeElement?.matches("input") ? document.activeElement : null;
    if (field) {
        field.value = text;
        field.dispatchEvent(new InputEvent("input", { inputType: "insertFromPaste", bubbles: true }));
        return;
    }
    const data = new DataTransfer();
    data.setData("text", text);
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def person(chromium: Browser, reader: dict[str, Any]) -> Iterator[Reader]:
    context = chromium.new_context(base_url=reader["base"], viewport={"width": 1440, "height": 900})
    context.add_cookies(reader["cookies"])
    context.set_default_timeout(PATIENCE_MS)
    complaints = listen(context)
    page = context.new_page()
    page.goto("/")
    page.wait_for_function("() => customElements.get('palette-box')")
    yield Reader(page)
    context.close()
    assert complaints == []


def shows_why(page: Page) -> None:
    """The trace, at the lane that failed: the group, its state, the error."""
    page.wait_for_url(re.compile(r"/traces/.*group=email"))
    panel = page.locator("#trace-panel")
    expect(panel).to_contain_text("Dead")
    expect(panel).to_contain_text("order_placed")


def test_why_an_order_got_no_email_is_one_paste_away(person: Reader) -> None:
    person.paste(ORDER)
    shows_why(person.page)
    assert person.actions <= 3


def test_why_an_order_got_no_email_by_keyboard(person: Reader) -> None:
    person.press("Control+k")
    person.actions += 1
    person.page.keyboard.type(ORDER)
    person.press("Enter")
    shows_why(person.page)
    assert person.actions <= 3


def test_why_an_order_got_no_email_by_mouse(person: Reader) -> None:
    person.click('[data-node="group orders email"]')
    person.click(f'.edge-panel li.state-dead a:has-text("{ORDER}")')
    shows_why(person.page)
    assert person.actions <= 3


@pytest.mark.usefixtures("slow_group")
def test_which_group_is_behind_and_when_it_will_have_caught_up_needs_no_action(person: Reader) -> None:
    line = person.page.locator(".behind li", has_text="climate")
    expect(line).to_contain_text(re.compile(r"[\d,]+ behind"))
    expect(line).to_contain_text(re.compile(r"caught up in ~\d+ (s|min)"))
    assert person.actions <= 1


def test_all_dead_letters_of_an_error_are_replayed_in_four_actions(person: Reader) -> None:
    page = person.page
    person.press("g")
    person.press("d")
    expect(page).to_have_title("Dead letters · Fanlight")
    person.click('.kind:has(.kind-title strong:text-is("opened")) button:has-text("Replay")')
    expect(page.locator("main")).to_contain_text("handed back to email, and to no other group")
    person.click('button.button-primary:has-text("Replay")')
    expect(page.locator("main")).to_contain_text("1 of 1 handed back")
    assert person.actions <= 4


@pytest.mark.parametrize("is_open", [False, True])
def test_a_pasted_event_id_opens_its_trace_at_once(person: Reader, is_open: bool) -> None:
    if is_open:
        person.page.keyboard.press("Control+k")
        expect(person.page.locator("#palette input")).to_be_focused()
    person.paste(EVENT)
    shows_why(person.page)
    assert person.actions == 1


def test_the_palette_is_walked_with_arrows_and_left_with_escape(person: Reader) -> None:
    page = person.page
    page.keyboard.press("Control+k")
    page.keyboard.type("climate")
    chosen = page.locator("#palette [role=option][aria-selected=true]")
    expect(chosen).to_contain_text("climate")
    first = chosen.get_attribute("id")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#palette input")).not_to_have_attribute("aria-activedescendant", str(first))
    page.keyboard.press("Tab")
    assert page.evaluate("() => !document.activeElement.closest('main, header, footer')"), "the focus stays in it"
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_a_command_of_the_palette_changes_the_page_and_is_remembered(person: Reader) -> None:
    page = person.page
    page.keyboard.press("Control+k")
    page.keyboard.type("compact")
    page.locator("#palette [role=option]").first.wait_for()
    expect(page.locator("#palette [role=option][aria-selected=true]")).to_contain_text("Compact")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-density", "compact")
    assert 'data-density="compact"' in page.request.get("/").text(), "in the first byte of the next page"


def test_times_are_shown_in_the_chosen_way_everywhere_from_the_first_byte(person: Reader) -> None:
    page = person.page
    page.get_by_role("button", name="UTC").click()
    clocks = re.compile(r"\d\d:\d\d:\d\d")
    expect(page.locator("#recent time").first).to_have_text(clocks)
    html = page.request.get("/topics/orders/").text()
    assert clocks.search(re.findall(r"<time [^>]*>([^<]*)</time>", html)[-1])
    assert 'data-time="utc"' in html
    page.get_by_role("button", name="Relative").click()
    expect(page.locator("#recent time").first).to_have_text(re.compile(r"^\d+ (s|min|h)$"))
    assert "UTC" in str(page.locator("#recent time").first.get_attribute("title"))


def test_g_and_a_letter_opens_a_page_but_never_while_somebody_types(person: Reader) -> None:
    page = person.page
    page.keyboard.press("/")
    page.keyboard.type("gt?")
    expect(page.get_by_role("searchbox")).to_have_value("gt?")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("Escape")
    for key, title in (("t", "Topics"), ("c", "Consumers"), ("d", "Dead letters"), ("s", "System"), ("o", "Overview")):
        page.wait_for_function("() => customElements.get('palette-box')")
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page).to_have_title(f"{title} · Fanlight")


def test_a_row_opens_in_place_by_keyboard(person: Reader) -> None:
    page = person.page
    page.goto("/topics/orders/?show=newest&q=type:order_placed")
    page.wait_for_function("() => customElements.get('palette-box')")
    page.keyboard.press("j")
    page.keyboard.press("e")
    opened = page.locator(".opened-row")
    expect(opened).to_contain_text("order_id")
    expect(opened).to_contain_text("email")
    page.keyboard.press("e")
    expect(opened).to_have_count(0)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/traces/"))


def test_a_topic_is_listed_from_an_event_on_oldest_first(person: Reader) -> None:
    page = person.page
    page.goto("/topics/orders/?show=newest&q=type:order_placed")
    page.get_by_label("From id").fill("order-0")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]").first).to_contain_text("o-0")
    expect(page.locator(".tail-scroll")).to_have_attribute("aria-label", "Events of orders, oldest first")
    page.get_by_label("From id").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no recorded event has this id")
