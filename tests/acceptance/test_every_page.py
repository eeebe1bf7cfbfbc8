"""Every page, opened in a real browser on a bus in trouble: nothing runs, nothing breaks, everybody can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page

from tests.acceptance.browsing import PATIENCE_MS, listen
from tests.acceptance.pages import ABSENT, addresses, routes
from tests.conftest import wait_for
from tests.dashboard.hostile import PUBLISHED

ROUTES: Final = sorted(routes(), key=lambda route: route[0])
WIDTHS: Final = (1440, 1024)
AXE: Final = next((Path(__file__).parent.parent / "vendor").glob("axe-*.min.js")).read_text()
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TOO_WIDE: Final = """() => {
    const main = document.querySelector("main") ?? document.body;
    const root = document.documentElement;
    return [[root.scrollWidth, root.clientWidth], [main.scrollWidth, main.clientWidth]]
        .filter(([has, may]) => has > may);
}"""
POLLUTED: Final = "() => [({}).polluted, ({}).text].some((value) => value !== undefined)"
ASK_AXE: Final = """async (tags) => (await axe.run(document, { runOnly: tags, resultTypes: ["violations"] }))
    .violations
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160))}`)"""
# Chromium reports a page that says "not found" or "used before" as an error of its own.
EXPECTED: Final = re.compile(r"status of 4\d\d .*'url': '[^']*/(find|login|events)/")
LOOKS: Final[dict[str, tuple[Literal["light", "dark"], dict[str, str]]]] = {
    "light": ("light", {}),
    "dark": ("dark", {"density": "compact", "time": "utc"}),
}


Pages = dict[str, list[str]]


@pytest.fixture(scope="session")
def made_once() -> dict[str, str]:
    """What the first that came here made: it stays on the dashboard, and what is paused can't be paused again."""
    return {}


@pytest.fixture(scope="module")
def pages(chromium: Browser, reader: dict[str, Any], made_once: dict[str, str]) -> Pages:
    """By route, the addresses that answer with a whole page; none for fragments and the API."""
    context = signed_in(chromium, reader)
    if not made_once:
        made_once.update(made(context))
    found = {route[0]: pages_of(context, route, made_once) for route in ROUTES}
    context.close()
    return found


def made(context: BrowserContext) -> dict[str, str]:
    """What pages are about that have a number: a replay that waits for its word, an action, an alert, a rule."""
    page = context.new_page()
    page.goto("/act/pause/?topic=orders&group=shipping")
    page.get_by_role("button", name="Pause shipping").click()
    page.goto("/dead/?topic=orders&group=email")
    page.locator(".kind-acts button").first.click()
    page.wait_for_url("**/replays/*/")
    replay = page.url.rstrip("/").rpartition("/")[2]
    page.close()
    alerts = wait_for(lambda: context.request.get("/api/alerts").json()["alerts"], seconds=90, what="an alert")
    actions = context.request.get("/api/actions").json()["actions"]
    return {"replay": replay, "action": str(actions[-1]["id"]), "alert": str(alerts[0]["id"]), "rule": "1"}


@pytest.fixture(scope="module")
def context(chromium: Browser, reader: dict[str, Any]) -> Iterator[BrowserContext]:
    made = signed_in(chromium, reader)
    yield made
    made.close()


def signed_in(chromium: Browser, reader: dict[str, Any], **options: Any) -> BrowserContext:
    made = chromium.new_context(base_url=reader["base"], viewport={"width": 1440, "height": 900}, **options)
    made.add_cookies(reader["cookies"])
    made.set_default_timeout(PATIENCE_MS)
    return made


def pages_of(context: BrowserContext, route: tuple[str, frozenset[str]], pks: Mapping[str, str]) -> list[str]:
    """The addresses of a route that answer with a whole page; none for fragments and the API."""
    found = []
    for address in addresses(*route, pks):
        answer = context.request.get(address)
        assert answer.status < 500, address
        if answer.status == 404 and route[0] in ABSENT:
            continue
        assert answer.status != 404 or address.startswith("/find/"), address
        if "<html" in answer.text()[:1000]:
            found.append(address)
    return found


def test_there_are_pages() -> None:
    assert {"overview", "topic", "trace", "group", "palette", "api-events"} <= {name for name, _ in ROUTES}


def assert_unharmed(context: BrowserContext, found: list[str], widths: tuple[int, ...] = WIDTHS) -> None:
    """Opens each page at each width: silent, no dialog, no violation, no prototype changed, nothing too wide."""
    complaints = listen(context)
    page = context.new_page()
    for address in found:
        page.goto(address)
        page.wait_for_function("() => window.htmx && customElements.get('flow-map')")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) == [], f"{address} at {width}"
        assert not page.evaluate(POLLUTED), address
        assert page.title().endswith("Fanlight"), address
    page.close()
    # Chromium reports a page that says "not found" or "used before" as an error of its own.
    assert [
        text for text in complaints if not re.search(r"status of 4\d\d .*'url': '[^']*/(find|login|events)/", text)
    ] == []


@pytest.mark.parametrize("route", [name for name, _ in ROUTES])
def test_nothing_that_strangers_wrote_runs_or_breaks_a_page(
    chromium: Browser, reader: dict[str, Any], pages: Pages, route: str
) -> None:
    if found := pages[route]:
        fresh = signed_in(chromium, reader)
        assert_unharmed(fresh, found)
        fresh.close()


@pytest.mark.parametrize("name", ["trace", "event", "group", "search", "palette"])
def test_a_page_about_what_strangers_named_is_unharmed(
    chromium: Browser, reader: dict[str, Any], context: BrowserContext, name: str
) -> None:
    found = [address for text in PUBLISHED if (address := about(name, text)) and context.request.get(address).ok]
    assert len(found) >= len(PUBLISHED) * 2 // 3
    fresh = signed_in(chromium, reader)
    if name == "palette":
        assert_palette_unharmed(fresh)
    else:
        assert_unharmed(fresh, found, widths=(1024,))
    fresh.close()


def about(name: str, text: str) -> str:
    text = text.encode("utf-8", "replace").decode()[:500]
    if name == "search":
        return f"{reverse(name)}?q={quote(text)}"
    if name == "palette":
        return f"{reverse(name)}?q={quote(text)}"
    parts = {"trace": [text], "event": [text], "group": ["orders", text]}[name]
    return reverse(name, args=parts)


def assert_palette_unharmed(context: BrowserContext) -> None:
    complaints = listen(context)
    page = context.new_page()
    page.goto("/topics/")
    page.keyboard.press("Control+k")
    for text in PUBLISHED:
        with page.expect_response(lambda answer: "/find/palette/" in answer.url) as asked:
            page.locator("#palette input").fill(text.encode("utf-8", "replace").decode()[:600])
        assert asked.value.ok
        page.get_by_role("option").last.wait_for()
        assert page.evaluate(TOO_WIDE) == []
    page.close()
    assert complaints == []


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("route", [name for name, _ in ROUTES])
def test_everybody_can_use_every_page(
    chromium: Browser, reader: dict[str, Any], pages: Pages, route: str, look: str
) -> None:
    if not pages[route]:
        return
    fresh = signed_in(chromium, reader, color_scheme=LOOKS[look][0], reduced_motion="reduce")
    fresh.add_cookies([{"name": n, "value": v, "url": reader["base"]} for n, v in LOOKS[look][1].items()])
    page = fresh.new_page()
    for address in pages[route]:
        page.goto(address)
        page.wait_for_function("() => window.htmx && customElements.get('flow-map')")
        assert violations(page) == [], f"{address} in {look}"
    fresh.close()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("key", ["Control+k", "?"])
def test_everybody_can_use_the_dialogs(chromium: Browser, reader: dict[str, Any], look: str, key: str) -> None:
    fresh = signed_in(chromium, reader, color_scheme=LOOKS[look][0], reduced_motion="reduce")
    page = fresh.new_page()
    page.goto("/topics/")
    page.wait_for_function("() => customElements.get('palette-box')")
    page.keyboard.press(key)
    if key == "Control+k":
        page.get_by_role("option").first.wait_for()
    assert violations(page) == []
    fresh.close()


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    found: list[str] = page.evaluate(ASK_AXE, RULES)
    return found


MAIN: Final = {
    "overview": "orders",
    "topics": "orders",
    "topic": "order_placed",
    "consumers": "email",
    "group": "email",
    "dead-letters": "order_placed",
    "trace": "order_placed",
    "event": "order_placed",
    "search": "state:dead since:24h",
    "find": "Find an event",
}


@pytest.mark.parametrize("route", [name for name, _ in ROUTES])
def test_every_page_can_be_read_without_javascript(
    chromium: Browser, reader: dict[str, Any], pages: Pages, route: str
) -> None:
    if not pages[route]:
        return
    fresh = signed_in(chromium, reader, java_script_enabled=False)
    page = fresh.new_page()
    for number, address in enumerate(pages[route]):
        page.goto(address)
        text = page.locator("main, body").first.inner_text()
        assert (MAIN.get(route, "") if not number else "") in text, address
        assert len(text.split()) > 8, address
        for link in ("Overview", "Topics", "Consumers") if page.locator("header.top").count() else ():
            assert page.get_by_role("link", name=link, exact=True).first.is_visible()
    fresh.close()
