"""The pictures of the README, made of what the pages look like now: a demo on a folder of its own, and a browser.

Needs Playwright and a Chromium, which nothing else here does: `python -m pip install playwright`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

from dashboard.headless import browser, dashboard, sign_in, wait

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

Say = Callable[[str], None]
Theme = Literal["light", "dark"]

SEED: Final = 7
RATE: Final = "3"
MAX_BYTES: Final = 200_000
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
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


def take(folder: Path, names: Sequence[str], themes: Sequence[Theme], say: Say) -> None:
    """Write `NAME.png` (light) and `NAME-dark.png` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    demo = ("demo", "--seed", str(SEED), "--rate", RATE)
    with (
        TemporaryDirectory(prefix="fanlight-pictures-") as place,
        browser() as chromium,
        dashboard(Path(place), *demo) as link,
    ):
        page, origin = sign_in(chromium, link)
        addresses = {**PAGES, "trace": wait(lambda: _trace(page.context, origin), "an order with a retry")}
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
