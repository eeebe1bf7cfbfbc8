"""A bus with very many topics: what matters is shown, the rest is found by a part of its name or on request."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from bus.publisher import Publisher
from dashboard.actions.roles import Role, give
from tests.dashboard.conftest import Record

MANY = 130


@pytest.fixture
def many(record: Record, publisher: Publisher) -> Browser:
    names = [f"quiet-{number:03}" for number in range(MANY)]
    publisher.publish_many([publisher.draft(name, "noted", {}) for name in [*names, "zz-busy", "zz-busy"]])
    record()
    user = User.objects.create_user("ann")
    give(user, Role.VIEWER)
    browser = Browser()
    browser.force_login(user)
    return browser


def shown(browser: Browser, address: str) -> list[str]:
    return re.findall(r'<tr data-topic="([^"]+)"', browser.get(address).content.decode())


@pytest.mark.parametrize("address", ["/", "/topics/", "/overview/topics/"])
def test_the_busiest_hundred_are_shown_in_order_and_how_many_there_are(many: Browser, address: str) -> None:
    names = shown(many, address)
    assert len(names) == 100
    assert names == sorted(names)
    assert names[-1] == "zz-busy"
    text = many.get(address).content.decode()
    assert f"100 of {MANY + 1} topics" in text
    assert "data-whole" not in text.partition("All topics")[2].partition("</header>")[0]


def test_all_of_them_are_one_click_away(many: Browser) -> None:
    assert len(shown(many, "/topics/?rows=all")) == MANY + 1


def test_a_part_of_a_name_finds_topics_whatever_its_case(many: Browser) -> None:
    assert shown(many, "/topics/?named=QUIET-12") == [f"quiet-12{n}" for n in range(10)]
    assert shown(many, "/overview/topics/?named=busy") == ["zz-busy"]


def test_a_name_that_no_topic_has_says_so_and_runs_nothing(many: Browser) -> None:
    text = many.get("/topics/", {"named": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in text
    assert "No topic has “&lt;script&gt;alert(1)&lt;/script&gt;” in its name" in text


def test_few_topics_are_a_whole_that_new_ones_join(record: Record, publisher: Publisher, admin_client: Any) -> None:
    publisher.publish(publisher.draft("orders", "t", {}))
    record()
    assert "data-whole" in admin_client.get("/topics/").content.decode()
