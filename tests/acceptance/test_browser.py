"""The demo in a real browser: the newest order's trace draws itself, in light and dark, under the strict policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.browsing import PATIENCE_MS, listen, sign_in
from tests.acceptance.processes import Running, running

WaitUntil = Callable[..., Any]

SUBSCRIBED: Final = ["analytics", "email", "fraud", "inventory", "payment"]  # to the shop's `order_placed`
SETTLED: Final = re.compile(r"succeeded|dead")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("browser") / "data"
    with running(folder, "demo", "--port", "0", "--seed", "7", "--rate", "3") as process:
        yield process


@pytest.fixture(scope="module")
def signed_in(demo: Running, chromium: Browser) -> dict[str, Any]:
    """Cookies of a browser that opened the link which the demo printed."""
    return sign_in(chromium, demo)


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, chromium: Browser, signed_in: dict[str, Any]) -> Iterator[Page]:
    """A page of a signed-in browser; afterwards nothing may have been blocked, thrown or logged as an error."""
    context = chromium.new_context(
        base_url=signed_in["base"], color_scheme=request.param, viewport={"width": 1440, "height": 900}
    )
    context.add_cookies(signed_in["cookies"])
    complaints = listen(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()
    assert complaints == []


def newest_order(page: Page) -> None:
    """From the overview to the topic, and there to the newest order's trace."""
    page.goto("/")
    page.locator('tr[data-topic="orders"] a.open').click()
    page.locator('tr[data-row][data-type="order_placed"] a').first.click()
    page.wait_for_url(re.compile(r"/traces/"))


def is_live(page: Page) -> None:
    expect(page.locator("live-status [role=status]")).to_have_text("live")


def go(page: Page, key: str) -> None:
    """To a page by `g` and its key, once the page listens to keys."""
    page.wait_for_function("() => customElements.get('palette-box')")
    page.keyboard.press("g")
    page.keyboard.press(key)


def lanes_of_root(page: Page) -> dict[str, str]:
    """Group → state of the first card's lanes, as they are drawn now."""
    return dict(
        page.locator("flow-graph .card")
        .first.locator(".lane")
        .evaluate_all(
            "(lanes) => lanes.map((lane) => [lane.querySelector('.lane-group').textContent, lane.dataset.look])"
        )
    )


def test_the_newest_order_shows_every_subscribed_group_as_a_lane_until_all_are_settled(
    page: Page, wait_until: WaitUntil
) -> None:
    newest_order(page)
    expect(page.locator("h1")).to_have_text("order_placed")
    wait_until(lambda: sorted(lanes_of_root(page)) == SUBSCRIBED, seconds=30, what="a lane for every group")
    page.evaluate("() => { window.notReloaded = true; }")
    wait_until(
        lambda: all(SETTLED.match(look) for look in lanes_of_root(page).values()), seconds=60, what="settled lanes"
    )
    assert page.evaluate("() => window.notReloaded")


def test_a_retrying_lane_becomes_succeeded_or_dead_without_reloading(page: Page, wait_until: WaitUntil) -> None:
    address = wait_until(lambda: _retrying(page), seconds=90, what="a retry in the making")
    page.goto(address)
    page.evaluate("() => { window.notReloaded = true; }")
    lane = page.locator('.lane[aria-current="true"]')
    group = lane.locator(".lane-group").inner_text()
    wait_until(
        lambda: SETTLED.match(lane.get_attribute("data-look") or ""), seconds=60, what=f"the end of {group}'s retries"
    )
    assert len(lane.locator(".marks i:not(.a-left)").all()) > 1, "its attempts are drawn as marks"
    assert page.evaluate("() => window.notReloaded")


def _retrying(page: Page) -> str | None:
    """The address of a lane that is retrying now: asked of the topic pages, as a reader would."""
    for topic in ("orders", "payments", "users"):
        page.goto(f"/topics/{topic}/?state=retrying")
        row = page.locator("tr[data-row]", has=page.locator(".state-retrying")).first
        if row.count():
            group = row.locator(".state-retrying").first.get_attribute("data-group")
            return f"{row.locator('a').get_attribute('href')}?group={group}"
    return None


def test_the_topic_page_follows_new_events_and_holds_them_while_the_reader_points(page: Page) -> None:
    page.goto("/topics/orders/")
    note = page.locator("[data-tail-note]")
    expect(note).to_contain_text(re.compile(r"following · [1-9]"))
    page.locator("tr[data-row]").nth(3).hover()
    expect(note).to_contain_text("holding")
    expect(page.locator(".tail-new")).to_contain_text("new")
    page.mouse.move(5, 5)
    expect(page.locator(".tail-new")).to_be_hidden()


def test_a_query_is_suggested_by_keyboard_and_finds_events(page: Page) -> None:
    page.goto("/topics/orders/")
    box = page.get_by_role("combobox", name="Query")
    box.press_sequentially("ty")
    expect(page.get_by_role("option", name="type:")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value("type:")
    box.press_sequentially("order_pl")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value("type:order_placed ")
    page.keyboard.press("Enter")
    page.wait_for_url("**/topics/orders/?q=type%3Aorder_placed*")
    expect(page.locator('tr[data-type="order_placed"]').first).to_be_visible()
    expect(page.locator('tr[data-row]:not([data-type="order_placed"])')).to_have_count(0)


def test_a_suggestion_takes_the_place_of_all_that_was_typed_of_its_word(page: Page) -> None:
    page.route("**/*q=ty&*", lambda _: None)  # its suggestions are late
    page.goto("/topics/orders/")
    box = page.get_by_role("combobox", name="Query")
    box.press_sequentially("t")
    expect(page.get_by_role("option", name="type:")).to_be_visible()
    box.press_sequentially("y")
    page.get_by_role("option", name="type:").click()
    expect(box).to_have_value("type:")


def test_a_wrong_word_is_marked_and_corrected_with_one_click(page: Page) -> None:
    page.goto("/search/?q=state:succeeded+tpye:order_placed")
    expect(page.get_by_role("alert").locator("mark")).to_have_text("tpye")
    page.get_by_role("link", name="Use type").click()
    page.wait_for_url("**/search/?q=state%3Asucceeded+type%3Aorder_placed")
    expect(page.locator("tr[data-row]").first).to_be_visible()


def test_the_overview_draws_the_map_and_follows_a_path(page: Page) -> None:
    page.goto("/")
    orders = page.locator('flow-map [data-node="topic orders"]')
    expect(orders).to_be_visible()
    is_live(page)
    orders.click()
    expect(page.locator('flow-map [data-node="topic payments"].lit')).to_be_visible()
    expect(page.locator('flow-map [data-node="topic sensors"].lit')).to_have_count(0)


def test_keys_find_switch_and_help(page: Page) -> None:
    page.goto("/topics/")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != before
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    go(page, "o")
    expect(page).to_have_title("Overview · Fanlight")
    is_live(page)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_the_system_page_stays_current_and_keeps_the_focus(page: Page) -> None:
    page.goto("/system/")
    expect(page.locator("[data-finding=fine]")).to_contain_text("strict: synced to disk before each answer")
    orders = page.get_by_role("region", name="Table of streams").get_by_role("link", name="orders", exact=True)
    orders.focus()
    asked = page.locator("[data-asked]").inner_text()
    expect(page.locator("[data-asked]")).not_to_have_text(asked)
    expect(orders).to_be_focused()
    expect(page.locator("live-status [role=status]")).to_have_text("live, every 3 s")
    go(page, "t")
    expect(page).to_have_title("Topics · Fanlight")
    expect(page.locator(".alarm-line")).to_have_count(0)
    go(page, "s")
    expect(page).to_have_title("System · Fanlight")


def test_rows_of_consumers_stay_where_they_are_while_the_pointer_is_on_them(page: Page) -> None:
    page.goto("/")
    go(page, "c")
    expect(page).to_have_title("Consumers · Fanlight")
    rows = page.locator("#group-rows > tr")
    expect(rows.nth(1)).to_be_visible()
    order = "() => [...document.querySelectorAll('#group-rows > tr')].map((row) => row.id)"
    sorted_by_server = page.evaluate(order)
    rows.first.hover()
    page.evaluate("() => { const rows = document.querySelector('#group-rows'); rows.prepend(rows.lastElementChild) }")
    seen = page.evaluate(order)
    assert seen != sorted_by_server
    for _ in range(2):
        page.wait_for_event("requestfinished", lambda request: "/consumers/body/" in request.url)
    assert page.evaluate(order) == seen
    page.mouse.move(1, 1)
    expect(rows.last).to_have_attribute("id", re.compile("row-"))
    page.wait_for_function(f"(seen) => JSON.stringify(({order})()) !== JSON.stringify(seen)", arg=seen)


def test_a_group_and_a_kind_of_dead_letter_are_a_click_away(page: Page) -> None:
    page.goto("/consumers/?topic=orders")
    page.get_by_role("link", name="email", exact=True).click()
    expect(page).to_have_title("email on orders · Fanlight")
    expect(page.get_by_text("manage.py pause orders email")).to_be_visible()
    go(page, "d")
    expect(page).to_have_title("Dead letters · Fanlight")
    expect(page.locator("live-status [role=status]")).to_have_text("live, every 3 s")


def test_no_page_has_inline_script_or_style(page: Page) -> None:
    newest_order(page)
    more = ("/consumers/", "/consumers/orders/email/", "/dead/")
    for address in (
        page.url,
        "/",
        "/topics/",
        "/topics/orders/",
        "/search/",
        "/search/?q=state:dead",
        "/system/",
        *more,
    ):
        answer = page.request.get(address)
        assert answer.ok
        _assert_nothing_inline(answer.text())


def _assert_nothing_inline(html: str) -> None:
    scripts = re.findall(r"<script\b[^>]*>", html)
    assert all("src=" in tag or 'type="application/json"' in tag for tag in scripts)
    assert not re.search(r"<[^>]+\s(style|on\w+)\s*=", html)
    assert "<style" not in html


def test_screens_have_no_text_under_eleven_pixels(page: Page) -> None:
    newest_order(page)
    for tab in ("flow", "timeline", "list"):
        page.goto(f"{page.url.partition('?')[0]}?tab={tab}")
        page.locator(f'[data-view="{tab}"] :is(.card, .time-row, tbody)').first.wait_for()
        smallest = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll("body *")]
                .filter((node) => node.checkVisibility() && [...node.childNodes].some((child) =>
                    child.nodeType === Node.TEXT_NODE && child.textContent.trim()))
                .map((node) => parseFloat(getComputedStyle(node).fontSize)))"""
        )
        assert smallest >= 11


def test_cards_of_a_growing_trace_neither_move_nor_overlap(page: Page) -> None:
    page.goto("/")
    modules = page.evaluate(
        """() => Object.fromEntries(performance.getEntriesByType("resource")
            .map((entry) => new URL(entry.name)).filter((url) => url.pathname.includes("/js/"))
            .map((url) => [url.pathname.split("/").pop().split(".")[0], url.pathname]))"""
    )
    assert page.evaluate(GROW_TRACES, [modules["trace-model"], modules["flow-layout"]]) == {"moved": 0, "overlaps": 0}


GROW_TRACES: Final = """async ([model, layout]) => {
    const [{ cards }, { FlowLayout }] = [await import(model), await import(layout)];
    let seed = 1;
    const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    const result = { moved: 0, overlaps: 0 };
    for (let run = 0; run < 10; run++) {
        const events = [];
        const flow = new FlowLayout();
        let before = new Map();
        for (let at = 0; at < 60; at++) {
            const cause = events[random(at || 1)];
            const lanes = ["a", "b", "c", "d"].slice(0, 1 + random(4))
                .map((group) => ({ group, state: "succeeded", label: "Succeeded", attempts: [] }));
            events.push({ id: `e${at}`, topic: "t", partition: 0, entry: `${at}-0`, type: `type ${at % 3}`, lanes,
                cause: cause ? { event: cause.id, group: cause.lanes[random(cause.lanes.length)].group } : null });
            const places = [...flow.place(cards({ events }))].map(([key, place]) => [key, { ...place }]);
            for (const [key, { x, y }] of places) {
                const old = before.get(key);
                if (old && (old.x !== x || old.y !== y)) result.moved++;
            }
            for (const [one, a] of places) for (const [other, b] of places) {
                if (one < other && a.x === b.x && a.y < b.y + b.height && b.y < a.y + a.height) result.overlaps++;
            }
            before = new Map(places);
        }
    }
    return result;
}"""


def test_the_charts_of_a_group_share_a_crosshair_and_keep_their_range_in_the_address(page: Page) -> None:
    page.goto("/consumers/orders/payment/")
    expect(page.locator("[data-plots] canvas")).to_have_count(4)
    expect(page.locator("details.points")).not_to_have_attribute("open", "")
    moment = page.locator("[data-at]")
    expect(moment).to_have_text("")
    page.locator('[data-plot="rate"] .u-over').hover()
    expect(moment).to_have_text(re.compile(r"\d\d:\d\d:\d\d · \d+ (s|min) ago"))
    shown = page.locator(".u-cursor-x").evaluate_all("(lines) => lines.map((line) => line.style.transform)")
    assert len(set(shown)) == 1, "one moment is at one place in all charts"
    page.mouse.move(5, 5)
    expect(moment).to_have_text("")
    page.locator("[data-plots]").press("ArrowLeft")
    expect(moment).not_to_have_text("")
    page.locator('[data-choose="1h"]').click()
    page.wait_for_url("**/consumers/orders/payment/?range=1h")
    expect(page.locator('[data-choose="1h"]')).to_have_attribute("aria-current", "true")
    expect(page.locator("lag-chart")).to_have_attribute("data-step", "30000")
    page.reload()
    expect(page.locator('[data-choose="1h"]')).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(page.locator("lag-chart")).to_have_attribute("data-step", "10000")


def test_the_charts_follow_what_happens_while_nobody_points_at_them(page: Page) -> None:
    page.goto("/consumers/orders/payment/")
    script = page.locator("lag-chart script")
    expect(script).to_have_count(1)
    before = script.text_content() or ""
    expect(script).not_to_have_text(before)  # a point is added every ten seconds
    expect(page.locator("[data-plots] canvas")).to_have_count(4)
