"""A breakpoint as a person uses it: set on the group's page, stepped one by one, seen by everybody, over in time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bus.config import Config
from bus.publisher import Publisher
from tests.acceptance.browsing import PATIENCE_MS, listen, sign_in
from tests.acceptance.held_handlers import HANDLED
from tests.acceptance.processes import Running, running
from tests.conftest import wait_for

EVENTS = 10_000
EVERY = 100  # each of so many fits
HELD = EVENTS // EVERY
SKIPPED = 1_000  # each of so many is skipped
GROUP = "/consumers/sales/till/"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Running]:
    extra = {"BUS_HANDLERS": "tests.acceptance.held_handlers"}
    with running(tmp_path / "data", "up", "--port", "0", extra=extra) as process:
        process.wait_for_line("open: http")
        yield process


@pytest.fixture
def context(chromium: Browser, shop: Running) -> Iterator[BrowserContext]:
    state = sign_in(chromium, shop)
    context = chromium.new_context(base_url=state["base"], viewport={"width": 1440, "height": 900})
    context.add_cookies(state["cookies"])
    context.set_default_timeout(PATIENCE_MS)
    complaints = listen(context)
    yield context
    context.close()
    assert complaints == []


def handled(shop: Running) -> list[int]:
    lines = shop.folder / HANDLED
    return [int(line) for line in lines.read_text().split()] if lines.exists() else []


def publish(shop: Running, numbers: range) -> None:
    """Every hundredth has a total below 0."""
    publisher = Publisher(Config(data_folder=shop.folder))
    for start in range(numbers.start, numbers.stop, 500):
        some = range(start, min(start + 500, numbers.stop))
        publisher.publish_many(
            [
                publisher.draft("sales", "sold", {"number": n, "total": 1 if n % EVERY else -1}, key=f"k-{n}")
                for n in some
            ]
        )
    publisher.close()


def set_breakpoint(page: Page, limit: int, minutes: int) -> None:
    page.get_by_label("Hold when").fill("payload.total < 0")
    page.get_by_label("At most").fill(str(limit))
    page.get_by_label("Minutes").fill(str(minutes))
    page.get_by_role("button", name="Set a breakpoint…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"The next {limit} deliveries that fit payload.total < 0 stop before their handler")
    dialog.locator("button.button-primary").click()
    expect(page.locator("#hold")).to_contain_text("0 held")


def step(page: Page, word: str, left: int) -> None:
    """Let the oldest that is held go on, by its own button and the question that follows."""
    page.wait_for_function("() => customElements.get('palette-box')")  # before that a question is a page of its own
    page.locator("#hold-rows tr").first.get_by_text(word, exact=True).click()
    page.get_by_role("dialog").locator("button.button-primary").click()
    expect(page.locator("#hold header")).to_contain_text(re.compile(rf"(^|\D){left} held"))


@pytest.mark.timeout(600)
def test_a_hundred_of_ten_thousand_are_stepped_one_by_one(shop: Running, context: BrowserContext) -> None:
    publish(shop, range(1, 2))
    wait_for(lambda: handled(shop) == [1], seconds=60, what="the handler")
    page = context.new_page()
    wait_for(lambda: context.request.get(GROUP).ok, seconds=60, what="the page of the group")
    page.goto(GROUP)
    set_breakpoint(page, HELD, 15)
    publish(shop, range(2, EVENTS + 1))
    others = [number for number in range(1, EVENTS + 1) if number % EVERY]
    wait_for(lambda: len(handled(shop)) >= len(others), seconds=60, what="all others to be handled")
    assert sorted(handled(shop)) == others
    expect(page.locator("#hold header")).to_contain_text(f"{HELD} held")
    elsewhere = context.new_page()
    elsewhere.goto("/topics/")
    expect(elsewhere.locator("body")).to_contain_text(f"till on sales holds {HELD} deliveries")
    elsewhere.close()
    fits = list(range(EVERY, EVENTS + 1, EVERY))
    for number in fits:
        expect(page.locator("#hold-rows tr").first).to_contain_text(f"k-{number}")
        step(page, "Skip" if number % SKIPPED == 0 else "Run", HELD - number // EVERY)
    run = [number for number in fits if number % SKIPPED]
    wait_for(lambda: len(handled(shop)) >= len(others) + len(run), seconds=60, what="those that went on")
    assert handled(shop)[len(others) :] == run, "each once, in the order in which it was let go"
