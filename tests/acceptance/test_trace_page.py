"""The trace page in a real browser, with traces of up to 5,000 nodes: four views over one selection and one moment."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.browsing import PATIENCE_MS, listen
from tests.acceptance.processes import ROOT, Running, environment, manage, running
from tests.conftest import wait_for

WaitUntil = Callable[..., Any]

FILL: Final = """
import django; django.setup()
from dashboard.bench import screen_trace; screen_trace.fill()
"""
SELECTED: Final = """() => ["event", "group"].map((name) => new URLSearchParams(location.search).get(name)).join()"""
LAST: Final = """(selector) => {
    const row = [...document.querySelectorAll(selector)].at(-1);
    return row ? row.textContent + row.style.transform : null;
}"""


@pytest.fixture(scope="module")
def signed_in(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("traces") / "data"
    folder.mkdir()
    assert manage(folder, "migrate", "-v0").code == 0
    env = {**environment(folder), "DJANGO_SETTINGS_MODULE": "dashboard.settings"}
    subprocess.run([sys.executable, "-c", FILL], cwd=ROOT, env=env, check=True, timeout=120)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running(folder, "web", "--port", str(port)) as server:
        yield {"base": f"http://127.0.0.1:{port}", "cookies": _cookies(folder, port, server, chromium)}


def _cookies(folder: Any, port: int, server: Running, browser: Browser) -> Any:
    link = manage(folder, "loginlink", "--port", str(port)).out.split()[-1]
    context = browser.new_context()
    page = context.new_page()
    wait_for(lambda: _listens(port) or server.process.poll() is not None, seconds=60, what="the server to listen")
    assert server.process.poll() is None, server.lines
    page.goto(link)
    page.wait_for_url(f"http://127.0.0.1:{port}/", timeout=PATIENCE_MS)
    cookies = context.cookies()
    context.close()
    return cookies


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture
def page(request: pytest.FixtureRequest, chromium: Browser, signed_in: dict[str, Any]) -> Iterator[Page]:
    """A signed-in page; `param`: more options of its context. Afterwards nothing may have been blocked or thrown."""
    options = {"viewport": {"width": 1440, "height": 900}, **getattr(request, "param", {})}
    context = chromium.new_context(base_url=signed_in["base"], **options)
    context.add_cookies(signed_in["cookies"])
    complaints = listen(context)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()
    assert complaints == []


def open_trace(page: Page, address: str = "bench-200/") -> None:
    page.goto(f"/traces/{address}")
    expect(page.locator("trace-play input")).to_be_visible()


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()
    expect(page.locator(f'[data-view="{name.lower()}"]')).to_be_visible()


def test_all_views_share_the_selection_and_its_address(page: Page) -> None:
    open_trace(page, "bench-200/?event=bench-200-3&group=mailer")
    expect(page.locator('.lane[aria-current="true"]')).to_contain_text("mailer")
    view(page, "Sequence")
    expect(page.locator('.seq-row[aria-current="true"]').first).to_be_visible()
    assert "view=sequence" in page.url
    page.locator(".seq-published").first.click()
    expect(page).to_have_url(re.compile(r"event=bench-200-\d+(&|$)(?!.*group)"))
    event = page.evaluate("() => new URLSearchParams(location.search).get('event')")
    view(page, "Timeline")
    expect(page.locator('.time-row[aria-current="true"]')).to_contain_text("_done")
    view(page, "List")
    expect(page.locator("tr.current")).to_have_attribute("data-event", event)
    page.go_back()
    expect(page.locator('[data-view="timeline"]')).to_be_visible()


def test_the_address_opens_each_view_also_by_its_older_name(page: Page) -> None:
    for address in ("?view=sequence", "?tab=timeline", "?view=list"):
        open_trace(page, f"bench-200/{address}")
        expect(page.locator(f'[data-view="{address.partition("=")[2]}"]')).to_be_visible()


@pytest.mark.parametrize("name", ["Flow", "Timeline", "Sequence", "List"])
def test_the_next_error_is_a_key_away_in_every_view_and_the_previous_one_too(page: Page, name: str) -> None:
    open_trace(page, f"bench-2000/?view={name.lower()}")
    page.keyboard.press("n")
    first = page.evaluate(SELECTED)
    page.keyboard.press("n")
    second = page.evaluate(SELECTED)
    assert first.startswith("bench-2000-")
    assert first != second
    page.keyboard.press("p")
    assert page.evaluate(SELECTED) == first
    current = {"Flow": ".lane", "Timeline": ".time-row", "Sequence": ".seq-row", "List": "tr"}[name]
    marked = page.locator(f'{current}[aria-current="true"], {current}.current').first
    expect(marked).to_be_in_viewport()
    expect(page.locator("#trace-panel .side-head")).to_contain_text("Dead")


CAUSES_FIRST: Final = """() => {
    const { steps } = document.querySelector("sequence-view").told;
    const begins = steps.filter((step) => step.kind === "published");
    const published = new Map(begins.map((step) => [step.event.id, step.row]));
    const first = new Map(), wrong = [];
    for (const step of steps) if (step.kind === "taken") first.set(`${step.event.id} ${step.group}`,
        Math.min(step.row, first.get(`${step.event.id} ${step.group}`) ?? Infinity));
    for (const { kind, event, group, row, at } of steps) {
        if (kind === "published" && event.cause && !(first.get(`${event.cause.event} ${event.cause.group}`) < row))
            wrong.push(`${event.id} above its cause`);
        const isLanes = kind === "taken" || kind === "ended";
        if (isLanes && !(published.get(event.id) < row)) wrong.push(`${event.id} ${group}`);
        if (kind === "ended" && !(first.get(`${event.id} ${group}`) < row)) wrong.push(`${event.id} ended first`);
    }
    const rows = steps.map((step) => step.at);
    return { wrong, inTime: rows.every((at, index) => !index || at >= rows[index - 1]), many: steps.length };
}"""
SKEW: Final = """() => {
    const page = document.querySelector("trace-page");
    for (const [at, event] of page.trace.events.entries()) if (at % 3) event.at_ms -= 40_000 * (at % 2 ? 1 : -1);
    page.dispatchEvent(new Event("trace"));
}"""


def test_in_the_sequence_no_effect_is_above_its_cause_whatever_the_clocks_said(page: Page) -> None:
    open_trace(page, "bench-2000/?view=sequence")
    found = page.evaluate(CAUSES_FIRST)
    assert found["wrong"] == []
    assert found["inTime"]
    assert found["many"] > 2_000
    page.evaluate(SKEW)
    assert page.evaluate(CAUSES_FIRST)["wrong"] == []


def at_of(page: Page) -> int | None:
    """The moment in the address, asked of the page itself: `page.url` follows a little later."""
    at = page.evaluate("() => new URLSearchParams(location.search).get('at')")
    return int(at) if at else None


def test_a_moment_shows_each_view_as_it_was_then(page: Page) -> None:
    open_trace(page)
    page.get_by_role("slider", name="Moment").press("Home")
    assert at_of(page) is not None
    expect(page.locator("flow-graph .card:not(.later)")).to_have_count(1)
    expect(page.locator("flow-graph .card:not(.later) .lane-word").first).to_have_text("Waiting")
    expect(page.locator("[data-summary]")).to_contain_text("0 of 2 succeeded")
    view(page, "Sequence")
    expect(page.locator(".seq-row:not(.later)")).to_have_count(1)
    view(page, "Timeline")
    expect(page.locator(".time-row.later").first).to_be_attached()
    view(page, "List")
    expect(page.locator("tr[data-event='bench-200-1']").first).not_to_be_visible()
    expect(page.locator("tr[data-event='bench-200-0'] .state").first).to_have_text("Waiting")
    page.reload()
    expect(page.locator("tr[data-event='bench-200-1']").first).not_to_be_visible()
    page.get_by_role("button", name="End").click()
    assert at_of(page) is None
    expect(page.locator("tr[data-event='bench-200-1']").first).to_be_visible()
    expect(page.locator("tr[data-event='bench-200-0'] .state").first).to_have_text(re.compile("Succeeded|Dead"))


def test_keys_step_from_moment_to_moment(page: Page) -> None:
    open_trace(page)
    page.keyboard.press(",")
    one = at_of(page)
    page.keyboard.press("ArrowLeft")
    two = at_of(page)
    assert one
    assert two
    assert two < one
    page.keyboard.press(".")
    assert at_of(page) == one
    page.keyboard.press("ArrowRight")
    assert at_of(page) is None


@pytest.mark.parametrize("page", [{}, {"reduced_motion": "reduce"}], indirect=True, ids=["motion", "reduced"])
def test_space_plays_and_pauses(page: Page) -> None:
    open_trace(page)
    page.get_by_role("combobox", name="Speed").select_option("0.1")
    page.locator("h1").click()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function("() => document.querySelectorAll('flow-graph .card:not(.later)').length > 3")
    moving = page.evaluate("() => document.getAnimations().filter((one) => one.effect.getTiming().duration > 0).length")
    if page.evaluate("() => matchMedia('(prefers-reduced-motion: reduce)').matches"):
        assert moving == 0
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    there = page.evaluate("() => document.querySelector('trace-page').at")
    assert at_of(page) == there


def test_now_follows_a_trace_that_grows_and_an_earlier_moment_stays(page: Page) -> None:
    open_trace(page)
    slider = page.get_by_role("slider", name="Moment")
    assert slider.input_value() == slider.get_attribute("max")
    before = int(slider.get_attribute("max") or 0)
    page.evaluate(APPEND)
    assert int(slider.get_attribute("max") or 0) > before
    assert slider.input_value() == slider.get_attribute("max")
    page.keyboard.press(",")
    held = slider.input_value()
    page.evaluate(APPEND)
    assert slider.input_value() == held


APPEND: Final = """() => {
    const page = document.querySelector("trace-page");
    const last = page.trace.events.at(-1);
    const entry = `${Number(last.entry.split("-")[0]) + 90000}-0`;
    page.trace.events.push({ ...last, id: `${last.id}+`, entry, at_ms: last.at_ms + 900_000, lanes: [] });
    page.dispatchEvent(new Event("trace"));
}"""


def test_dragging_over_the_whole_looks_at_a_span_and_the_address_keeps_it(page: Page) -> None:
    open_trace(page, "bench-5000/?view=timeline")
    all_rows = page.evaluate("() => document.querySelector('time-line').rows.length")
    assert all_rows == 1_666 * 3
    box = page.locator(".brush-area").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"span=\d+-\d+"))
    spanned = page.evaluate("() => document.querySelector('time-line').rows.length")
    assert 0 < spanned < all_rows / 2
    page.reload()
    expect(page.locator(".legend")).to_contain_text(f"{spanned:,} of {all_rows:,} rows in this span")
    page.get_by_role("button", name="Whole trace").click()
    assert "span" not in page.url
    assert page.evaluate("() => document.querySelector('time-line').rows.length") == all_rows


def test_idle_gaps_are_squeezed_until_told_otherwise(page: Page) -> None:
    open_trace(page, "bench-200/?view=timeline")
    expect(page.locator(".axis .squeezed").first).to_be_attached()
    page.get_by_label("squeeze idle gaps").uncheck()
    expect(page.locator(".axis .squeezed")).to_have_count(0)
    assert "gaps=full" in page.url
    page.reload()
    expect(page.get_by_label("squeeze idle gaps")).not_to_be_checked()


@pytest.mark.parametrize(
    ("name", "scroller", "row"),
    [
        ("timeline", ".time-scroll", ".time-row"),
        ("sequence", ".seq-scroll", ".seq-row"),
        ("flow", ".scroller", ".card"),
    ],
)
def test_of_thousands_only_what_is_in_view_is_in_the_page(page: Page, name: str, scroller: str, row: str) -> None:
    open_trace(page, f"bench-5000/?view={name}")
    seen: set[str] = set()
    rows = f'[data-view="{name}"] {row}'
    for share in (0, 0.3, 0.7, 1):
        page.evaluate(
            "([selector, share]) => { const view = document.querySelector(selector);"
            " view.scrollTop = share * (view.scrollHeight - view.clientHeight); }",
            [f'[data-view="{name}"] {scroller}', share],
        )
        page.wait_for_function(f"([row, seen]) => !seen.includes(({LAST})(row))", arg=[rows, list(seen)])
        assert page.locator(rows).count() < 120
        seen.add(page.evaluate(LAST, rows))
    assert len(seen) == 4


def test_siblings_that_went_well_fold_into_one_and_open_again(page: Page) -> None:
    open_trace(page, "bench-2000/")
    found = page.evaluate("() => document.querySelector('flow-graph').places.size")
    key = page.evaluate(
        "() => [...document.querySelector('flow-graph').places.keys()].find((key) => key.startsWith('fold'))"
    )
    assert key
    page.evaluate(
        "(key) => { const { y } = document.querySelector('flow-graph').places.get(key);"
        " document.querySelector('.scroller').scrollTop = y - 200; }",
        key,
    )
    fold = page.locator(f'[data-unfold="{key}"]')
    expect(fold).to_contain_text(re.compile(r"× \d+ succeeded"))
    fold.click()
    assert page.evaluate("() => document.querySelector('flow-graph').places.size") > found
    page.evaluate(
        "(key) => { const { y } = document.querySelector('flow-graph').places.get(key);"
        " document.querySelector('.scroller').scrollTop = y - 200; }",
        key,
    )
    fold.click()
    expect(fold).to_contain_text("×")
    assert page.evaluate("() => document.querySelector('flow-graph').places.size") == found


GROW: Final = """() => {
    const page = document.querySelector("trace-page");
    const graph = document.querySelector("flow-graph");
    const all = page.trace.events;
    let [moved, many, flips, before] = [0, 0, 0, new Map()];
    for (let count = 20; count <= 420; count += 10) {
        page.trace = page.shown = { ...page.trace, events: all.slice(0, count) };
        page.dispatchEvent(new Event("trace"));
        const now = new Map([...graph.places].map(([key, { x, y }]) => [key, { x, y }]));
        const both = [...now].filter(([key]) => before.has(key));
        for (const [key, { x, y }] of both) {
            moved += Math.hypot(x - before.get(key).x, y - before.get(key).y);
            many++;
        }
        for (const [one, a] of both) for (const [other, b] of both) {
            const [c, d] = [before.get(one), before.get(other)];
            if (a.x === b.x && c.x === d.x && (a.y - b.y) * (c.y - d.y) < 0) flips++;
        }
        before = now;
    }
    return { average: moved / many, flips, many };
}"""


def test_a_trace_that_grows_leaves_its_cards_where_they_are(page: Page) -> None:
    open_trace(page, "bench-2000/")
    found = page.evaluate(GROW)
    assert found["many"] > 1_000
    assert found["average"] <= 30
    assert found["flips"] == 0


def test_values_of_a_payload_are_found_and_texts_to_copy_are_there(page: Page) -> None:
    open_trace(page, "bench-200/?event=bench-200-1")
    expect(page.locator("#trace-panel .copy-as summary")).to_have_text(
        [re.compile(n) for n in ("Python", "pytest", "manage.py", "redis-cli", "curl")]
    )
    page.locator(".copy-as summary").first.click(position={"x": 30, "y": 10})
    expect(page.locator("#copy-text-1")).to_contain_text("bus.publish(")


def test_two_traces_are_compared_from_the_page(page: Page) -> None:
    open_trace(page)
    page.get_by_role("link", name="Compare with…").click()
    page.get_by_role("textbox", name="Id of a trace").fill("bench-2000-5")
    page.keyboard.press("Enter")
    expect(page.locator("table.compare")).to_contain_text("only there")


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_the_trace_is_read_as_a_list_page_by_page(page: Page) -> None:
    page.goto("/traces/bench-2000/")
    page.locator('[data-view="flow"]').get_by_role("link", name="The list").click()
    expect(page.locator("tr.event-row")).to_have_count(200)
    expect(page.locator("#trace-list")).to_contain_text("1–200 of 666 events")
    page.get_by_role("link", name="next 200").click()
    expect(page.locator("#trace-list")).to_contain_text("201–400 of 666 events")
