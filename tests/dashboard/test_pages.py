"""The pages over a recorded bus: each answers, filters, escapes what strangers wrote, and stays shut to strangers."""

from __future__ import annotations

import html
import re
import time
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from bus.event import Cause, Event
from bus.journal import Failure, JournalEntry, Record, Step, SubscriptionRecord
from bus.tail import Chunk, Position
from dashboard.queries.search import Budget
from dashboard.record.projection import Projection

pytestmark = pytest.mark.django_db

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
HOSTILE: Final = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 }}\n"
HTMX: Final = {"HX-Request": "true"}


class Tags(HTMLParser):
    """Every start tag of a page, as (name, attributes)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def reader(client: Client) -> Client:
    """A browser of somebody who is logged in."""
    client.force_login(User.objects.create_user("ann"))
    return client


class Bus:
    """What a recorder would have read: events and steps, stored as rows."""

    def __init__(self, topic: str = "orders") -> None:
        self.topic = topic
        self.began_ms = int(time.time() * 1000) - 60_000
        self.count = 0
        self._projection = Projection()
        self._projection.load()
        self._projection.add([(topic, 0)])

    def entry(self, number: int) -> str:
        return f"{self.began_ms + number}-0"

    def subscribe(self, group: str) -> None:
        said = SubscriptionRecord(start="0-0", attempts=3)
        self._store([], [JournalEntry(f"{self.began_ms}-{self._next()}", group, "", [], said)])

    def publish(self, **fields: Any) -> Event:
        """An event of this topic; unnamed fields are ordinary."""
        number = self._next()
        usual = {"id": f"e-{number}", "type": "order_placed", "raw": b'{"total": 120}', "correlation_id": TRACE}
        event = Event(**{**usual, **fields}, topic=self.topic, entry=self.entry(number))
        self._store([event], [])
        return event

    def settle(self, event: Event, group: str, step: Step, *, failure: Failure | None = None, attempt: int = 1) -> None:
        log = [failure.message] if failure else []
        record = Record(int(step), event.entry, attempt, duration_us=4_000, failure=failure, log=log)
        self._store([], [JournalEntry(self.entry(self._next()), group, "worker-1", [record])])

    def _next(self) -> int:
        self.count += 1
        return self.count

    def _store(self, events: list[Event], journal: list[JournalEntry]) -> None:
        end = self.entry(self.count)
        old = self._projection.places[self.topic, 0].position
        position = Position(end if events else old.events, journal[-1].position if journal else old.journal)
        self._projection.store([Chunk(self.topic, 0, events, journal, position)])


@pytest.fixture
def shop() -> Bus:
    """Two groups; an order that email could not handle, and the payment that it led to."""
    bus = Bus()
    bus.subscribe("email")
    bus.subscribe("payment")
    order = bus.publish(id="order", key="o-1", source="web-shop")
    bus.settle(order, "payment", Step.SUCCEEDED)
    bus.publish(id="paid", type="payment_successful", key="o-1", cause=Cause("order", "payment", 1))
    failure = Failure("ValueError", "no such mailbox", "Traceback …", "shop/email.py:41 in send")
    bus.settle(order, "email", Step.DEAD_LETTERED, failure=failure)
    return bus


def addresses() -> list[str]:
    return [
        "/",
        "/?trouble=dead",
        "/overview/topics/",
        "/overview/groups/",
        "/overview/recent/",
        "/topics/",
        "/topics/orders/",
        "/topics/orders/head/",
        f"/traces/{TRACE}/",
        f"/traces/{TRACE}/?tab=timeline",
        f"/traces/{TRACE}/?tab=list&event=order&group=email",
        f"/traces/{TRACE}/list/",
        f"/traces/{TRACE}/panel/?event=order&group=email",
        f"/traces/{TRACE}/panel/?event=nothing",
        "/topics/orders/?q=tpye:x",
        "/topics/orders/head/?q=group:email",
        "/search/",
        "/search/?q=state:dead",
        "/search/?q=tpye:x",
        "/find/",
    ]


@pytest.mark.parametrize("address", addresses())
def test_every_page_answers(reader: Client, shop: Bus, address: str) -> None:
    response = reader.get(address)
    assert response.status_code == 200


@pytest.mark.parametrize("address", [*addresses(), "/events/order/", "/find/?id=order"])
def test_nothing_is_shown_to_strangers(client: Client, shop: Bus, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"].startswith("/login/")


@pytest.mark.parametrize("address", ["/", "/topics/"])
def test_an_empty_bus_says_what_to_do(reader: Client, address: str) -> None:
    text = reader.get(address).content.decode()
    assert "No event yet" in text
    assert "manage.py publish" in text


def test_no_page_has_inline_script_style_or_handlers(reader: Client, shop: Bus) -> None:
    for address in addresses():
        tags = Tags(reader.get(address).content.decode())
        assert not tags.named("style")
        assert all("src" in script or script.get("type") == "application/json" for script in tags.named("script"))
        names = {name for _, attributes in tags.found for name in attributes}
        assert not {name for name in names if name == "style" or name.startswith(("on", "hx-on", "hx-vals"))}


def test_templates_use_nothing_of_htmx_that_a_strict_policy_breaks() -> None:
    from django.conf import settings

    for template in (settings.BASE_DIR / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"hx-on|js:|hx-trigger=\"[^\"]*\[", text), template
        assert len(text.splitlines()) <= 60, template


def test_a_trace_says_who_got_the_event_and_why_one_did_not(reader: Client, shop: Bus) -> None:
    text = reader.get(f"/traces/{TRACE}/").content.decode()
    assert "1 dead" in text
    assert "ValueError: no such mailbox" in text, "the worst lane is selected unless the address says otherwise"
    assert "shop/email.py:41 in send" in text


def test_the_trace_is_embedded_for_the_first_paint(reader: Client, shop: Bus) -> None:
    response = reader.get(f"/traces/{TRACE}/")
    assert response.context["trace"]["id"] == TRACE
    assert '<script id="trace-data" type="application/json">' in response.content.decode()


def test_an_event_opens_its_trace_with_itself_selected(reader: Client, shop: Bus) -> None:
    response = reader.get("/events/paid/")
    assert response["Location"] == f"/traces/{TRACE}/?event=paid"
    text = reader.get(response["Location"]).content.decode()
    assert 'data-event="paid"' in text


def test_an_event_in_trouble_opens_at_the_lane_that_is_in_trouble(reader: Client, shop: Bus) -> None:
    assert reader.get("/events/order/")["Location"] == f"/traces/{TRACE}/?event=order&group=email"
    assert reader.get("/events/order/?group=payment")["Location"] == f"/traces/{TRACE}/?event=order&group=payment"


def test_the_panel_shows_no_event_of_another_trace(reader: Client, shop: Bus) -> None:
    shop.publish(id="other", correlation_id="f" * 32)
    text = reader.get(f"/traces/{TRACE}/panel/?event=other").content.decode()
    assert "120" not in text


@pytest.mark.parametrize("wanted", ["order", "  order ", '"order"'])
def test_a_pasted_event_id_opens_its_trace(reader: Client, shop: Bus, wanted: str) -> None:
    assert reader.get("/find/", {"id": wanted})["Location"] == f"/traces/{TRACE}/?event=order&group=email"


def test_a_pasted_trace_id_opens_the_trace(reader: Client, shop: Bus) -> None:
    assert reader.get("/find/", {"id": TRACE})["Location"] == f"/traces/{TRACE}/"


@pytest.mark.parametrize("wanted", ["nothing", HOSTILE, "x" * 5_000, "\0", "%00", "../../etc"])
def test_an_unknown_id_gets_words_that_help(reader: Client, shop: Bus, wanted: str) -> None:
    response = reader.get("/find/", {"id": wanted})
    assert response.status_code == 404
    assert "not recorded yet" in response.content.decode()


@pytest.mark.parametrize("address", ["/topics/nothing/", "/traces/nothing/", "/nothing/", "/overview/nothing/"])
def test_what_does_not_exist_says_so_in_our_own_look(reader: Client, shop: Bus, address: str) -> None:
    response = reader.get(address)
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()


def rows_of(text: str) -> list[str]:
    return [str(row["data-type"]) for row in Tags(text).named("tr") if "data-row" in row]


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("", ["payment_successful", "order_placed"]),
        ("type=order_placed", ["order_placed"]),
        ("type=nothing", []),
        ("key=o-1&type=payment_successful", ["payment_successful"]),
        ("state=dead", ["order_placed"]),
        ("state=dead&group=email", ["order_placed"]),
        ("state=dead&group=payment", []),
    ],
)
def test_filters_narrow_the_events_of_a_topic(reader: Client, shop: Bus, query: str, types: list[str]) -> None:
    assert rows_of(reader.get(f"/topics/orders/?{query}").content.decode()) == types


def test_filters_stay_in_the_form_and_in_the_link_to_older_events(reader: Client, shop: Bus) -> None:
    for number in range(60):
        shop.publish(id=f"many-{number}", type="reading")
    text = reader.get("/topics/orders/?type=reading").content.decode()
    assert len(rows_of(text)) == 50
    (older,) = [html.unescape(str(link["href"])) for link in Tags(text).named("a") if link.get("rel") == "next"]
    assert "q=type%3Areading" in older
    assert len(rows_of(reader.get(f"/topics/orders/{older}").content.decode())) == 10


def test_an_error_is_under_the_word_that_is_wrong_and_can_be_corrected(reader: Client, shop: Bus) -> None:
    for address in ("/topics/orders/", "/search/"):
        text = reader.get(address, {"q": "key:o-1 tpye:x"}).content.decode()
        assert "key:o-1 <mark>tpye</mark>:x" in text
        assert "did you mean type?" in text
        (box,) = [one for one in Tags(text).named("input") if one.get("name") == "q" and one.get("type") != "hidden"]
        assert (box["value"], box["aria-invalid"], box["aria-describedby"]) == ("key:o-1 tpye:x", "true", "query-error")
        assert "?q=key%3Ao-1+type%3Ax" in [link.get("href") for link in Tags(text).named("a")]


def test_states_and_groups_narrow_the_query_without_a_script(reader: Client, shop: Bus) -> None:
    links = [link.get("href") for link in Tags(reader.get("/topics/orders/?q=key:o-1").content.decode()).named("a")]
    assert {"?q=key%3Ao-1+state%3Adead", "?q=key%3Ao-1+group%3Aemail"} <= set(links)
    links = [link.get("href") for link in Tags(reader.get("/topics/orders/?q=state:dead").content.decode()).named("a")]
    assert "?" in links, "what is on is switched off"


def test_nothing_found_says_what_to_do_next(reader: Client, shop: Bus) -> None:
    text = reader.get("/topics/orders/?q=type:nothing+key:o-1").content.decode()
    assert "No event matches" in text
    assert "?q=key%3Ao-1" in [link.get("href") for link in Tags(text).named("a")]


def test_how_far_a_search_got_is_said_with_a_way_on(reader: Client, shop: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget.__init__, "__defaults__", (1, 60.0))
    text = reader.get("/search/?q=payload.total:7").content.decode()
    assert "Searched 1 of 2 events, back to" in text
    assert "nothing found so far" in text
    (on,) = [html.unescape(str(link["href"])) for link in Tags(text).named("a") if link.get("rel") == "next"]
    assert "No event matches" in reader.get(f"/search/{on}").content.decode(), "that was the last one"


def test_a_search_over_all_topics_says_the_topic_of_each_event(reader: Client, shop: Bus) -> None:
    Bus("mail").publish(id="mailed", key="o-1")
    text = reader.get("/search/?q=key:o-1").content.decode()
    assert len(rows_of(text)) == 3
    assert {"/topics/mail/", "/topics/orders/"} <= {str(link.get("href")) for link in Tags(text).named("a")}


def test_a_query_in_the_find_box_leads_to_the_search(reader: Client, shop: Bus) -> None:
    assert reader.get("/find/", {"id": "key:o-1 state:dead"})["Location"] == "/search/?q=key%3Ao-1+state%3Adead"
    assert "/search/?q=%22no%20such%22" in reader.get("/find/", {"id": "no such"}).content.decode()


def test_a_topic_is_live_only_where_the_newest_events_are_shown(reader: Client, shop: Bus) -> None:
    def is_live(query: str) -> bool:
        (tail,) = Tags(reader.get(f"/topics/orders/{query}").content.decode()).named("live-tail")
        return "data-topic" in tail

    assert is_live("")
    assert is_live("?type=order_placed")
    assert is_live("?q=type:order_placed+key:o-1")
    assert not is_live("?q=type:a,b")
    assert not is_live("?q=-type:a")
    assert not is_live("?q=tpye:a")
    assert not is_live("?q=payload.total:120")
    assert not is_live("?state=dead")


@pytest.fixture
def hostile() -> Bus:
    bus = Bus()
    bus.subscribe("email")
    fields: dict[str, Any] = {"id": HOSTILE, "type": HOSTILE, "key": HOSTILE, "source": HOSTILE, "traceparent": HOSTILE}
    event = bus.publish(**fields, raw=HOSTILE.encode(), headers={"x": HOSTILE}, correlation_id=HOSTILE)
    failure = Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    bus.settle(event, "email", Step.DEAD_LETTERED, failure=failure)
    return bus


def test_what_strangers_wrote_is_text_on_every_page(reader: Client, hostile: Bus) -> None:
    trace = reverse("trace", args=[HOSTILE])
    panel = f"{reverse('trace-panel', args=[HOSTILE])}?event={quote(HOSTILE)}&group=email"
    for address in ("/", "/topics/", "/topics/orders/", trace, panel, reverse("trace-list", args=[HOSTILE])):
        response = reader.get(address)
        text = response.content.decode()
        assert response.status_code == 200, address
        assert "<script>alert" not in text
        assert not [image for image in Tags(text).named("img") if "onerror" in image]


def test_a_hostile_id_still_leads_to_its_trace(reader: Client, hostile: Bus) -> None:
    response = reader.get(reverse("event", args=[HOSTILE]), follow=True)
    assert response.status_code == 200
    assert response.context["trace"]["id"] == HOSTILE


def test_the_theme_of_the_cookie_is_in_the_first_byte_of_the_page(reader: Client) -> None:
    reader.cookies["theme"] = "dark"
    assert 'data-theme="dark"' in reader.get("/").content.decode()
    reader.cookies["theme"] = '"><script>'
    assert 'data-theme="' not in reader.get("/").content.decode()
