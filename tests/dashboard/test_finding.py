"""The palette and what the overview says of a path: the likeliest place first, whatever was typed or pasted."""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client

from bus.event import Cause
from bus.journal import Failure, Step
from tests.dashboard.hostile import PUBLISHED, TEXTS
from tests.dashboard.test_pages import TRACE, Bus, Tags

pytestmark = pytest.mark.django_db

HERE: Final = f"/traces/{TRACE}/?event=order&group=email"


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("ann"))
    return client


@pytest.fixture
def shop() -> Bus:
    """An order that email could not handle, and the payment that it led to."""
    bus = Bus()
    bus.subscribe("email")
    bus.subscribe("payment")
    order = bus.publish(id="order", key="o-1", source="web-shop")
    bus.settle(order, "payment", Step.SUCCEEDED)
    bus.publish(id="paid", type="payment_successful", key="o-1", cause=Cause("order", "payment", 1))
    failure = Failure("ValueError", "no such mailbox", "Traceback …", "shop/email.py:41 in send")
    bus.settle(order, "email", Step.DEAD_LETTERED, failure=failure)
    return bus


def places(reader: Client, text: str) -> list[dict[str, str | None]]:
    answer = reader.get("/find/palette/", {"q": text})
    assert answer.status_code == 200
    return Tags(answer.content.decode()).named("li")


@pytest.mark.parametrize("text", ["order", "  order ", '"order"', "o-1"])
def test_an_event_id_or_key_comes_first_and_leads_to_the_lane_in_trouble(reader: Client, shop: Bus, text: str) -> None:
    first = places(reader, text)[0]
    assert first["data-href"] == HERE
    assert "data-exact" in first


def test_a_trace_id_leads_to_the_trace(reader: Client, shop: Bus) -> None:
    first = places(reader, TRACE)[0]
    assert (first["data-href"], "data-exact" in first) == (f"/traces/{TRACE}/", True)


@pytest.mark.parametrize(
    ("text", "href"), [("ord", "/topics/orders/"), ("EMA", "/consumers/orders/email/"), ("dead", "/dead/")]
)
def test_part_of_a_name_is_enough_for_topics_groups_and_pages(reader: Client, shop: Bus, text: str, href: str) -> None:
    found = places(reader, text)
    assert found[0]["data-href"] == href
    assert not [place for place in found if "data-exact" in place]


def test_nothing_typed_offers_pages_commands_and_the_newest_events(reader: Client, shop: Bus) -> None:
    found = places(reader, "")
    commands = {place["data-command"] for place in found if "data-command" in place}
    assert {"theme", "density", "live", "utc", "help"} <= commands
    assert HERE in [place.get("data-href") for place in found]
    assert len(found) < 30


def test_what_is_nowhere_can_be_searched_for(reader: Client, shop: Bus) -> None:
    (only,) = places(reader, "no such thing")
    assert only["data-href"] == "/search/?q=%22no+such+thing%22"


@pytest.mark.parametrize("text", [*TEXTS, *PUBLISHED])
def test_the_palette_stands_whatever_was_typed(reader: Client, shop: Bus, text: str) -> None:
    found = places(reader, text.encode("utf-8", "replace").decode())
    assert 0 < len(found) < 40


def test_a_key_in_the_find_box_opens_its_trace(reader: Client, shop: Bus) -> None:
    assert reader.get("/find/", {"id": "o-1"})["Location"] == HERE


@pytest.mark.parametrize(
    ("focus", "title"),
    [("group orders email", "email on orders"), ("topic orders", "orders"), ("source web-shop", "web-shop")],
)
def test_what_is_selected_on_the_map_tells_its_newest_events(reader: Client, shop: Bus, focus: str, title: str) -> None:
    text = reader.get("/overview/edge/", {"focus": focus}).content.decode()
    assert title in text
    assert "/events/order/" in text
    assert title in reader.get("/", {"focus": focus}).content.decode(), "without JavaScript too"


@pytest.mark.parametrize("focus", ["", "group", "group ", "group orders", "x y", *PUBLISHED])
def test_a_selection_of_nothing_is_no_error(reader: Client, shop: Bus, focus: str) -> None:
    focus = focus.encode("utf-8", "replace").decode()
    for kind in ("", "source ", "topic ", "group orders "):
        assert reader.get("/overview/edge/", {"focus": kind + focus}).status_code == 200


def types_of(text: str) -> list[str]:
    return [str(row["data-type"]) for row in Tags(text).named("tr") if "data-row" in row]


def test_a_topic_begins_where_it_is_told_to(reader: Client, shop: Bus) -> None:
    def shown(query: str) -> tuple[list[str], bool]:
        text = reader.get(f"/topics/orders/{query}").content.decode()
        (tail,) = Tags(text).named("live-tail")
        return types_of(text), "data-topic" in tail

    newest_first = ["payment_successful", "order_placed"]
    assert shown("") == (newest_first, True)
    assert shown("?show=newest") == (newest_first, False)
    assert shown("?since_time=1h") == (newest_first[::-1], False)
    assert shown("?from=paid") == (["payment_successful"], False)
    assert shown("?from=order&q=key:o-1") == (newest_first[::-1], False)
    assert shown("?since_time=nonsense") == ([], False)


def test_the_next_page_from_a_moment_on_goes_on_from_there(reader: Client, shop: Bus) -> None:
    for number in range(60):
        shop.publish(id=f"many-{number}", type="reading")
    text = reader.get("/topics/orders/?from=order").content.decode()
    (on,) = [html.unescape(str(link["href"])) for link in Tags(text).named("a") if link.get("rel") == "next"]
    assert "from=order" in on
    assert len(types_of(reader.get(f"/topics/orders/{on}").content.decode())) == 12


def test_a_row_opens_with_data_and_deliveries(reader: Client, shop: Bus) -> None:
    text = reader.get("/topics/orders/row/order/").content.decode()
    assert "ValueError: no such mailbox" in text
    assert "120" in text
    assert reader.get("/topics/orders/row/nothing/").status_code == 404
    assert reader.get(f"/topics/other/row/{quote('order')}/").status_code == 404


@pytest.mark.parametrize(
    ("cookies", "shape"),
    [
        ({}, r"\d+ (s|min)"),
        ({"time": "utc"}, r"\d\d:\d\d:\d\d\.\d{3}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ({"time": "local", "zone": "Asia/Kathmandu"}, r"\d\d:\d\d:\d\d\.\d{3}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ({"time": "local", "zone": "../../etc/passwd"}, r"\d\d:\d\d:\d\d\.\d{3}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ({"time": "<script>"}, r"\d+ (s|min)"),
    ],
)
def test_times_are_rendered_the_way_that_the_reader_chose(
    reader: Client, shop: Bus, cookies: dict[str, str], shape: str
) -> None:
    for name, value in cookies.items():
        reader.cookies[name] = value
    text = reader.get("/topics/orders/").content.decode()
    found = re.findall(r"<time [^>]*>([^<]*)</time>", text)
    assert found
    assert all(re.fullmatch(shape, shown) for shown in found)
    assert ("<script>" in text.partition("<head>")[0]) is False
