"""The page of the shop's order list: there only with a shop, and no data for those who may not see any."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.utils import timezone

from bus.models import ProjectionPlace
from dashboard.actions.roles import Role, give
from dashboard.shop.models import OrderRow

HOSTILE = "<script>alert(1)</script>"


def browser(role: Role) -> Browser:
    made = Browser()
    user = User.objects.create_user(f"a {role.name}")
    give(user, role)
    made.force_login(user)
    return made


@pytest.fixture
def listed(db: None) -> None:
    ProjectionPlace.objects.create(
        name="order_list", version=1, topic="orders", partition=0, number=2, done_at=timezone.now()
    )
    OrderRow.objects.create(version=1, order_id=HOSTILE, customer="ann", total=Decimal("19.90"), state="placed")
    OrderRow.objects.create(version=2, order_id="o-of-another-version", customer="bob", state="placed")


@pytest.mark.usefixtures("listed")
def test_the_version_that_serves_is_shown_with_what_is_hostile_as_text() -> None:
    text = browser(Role.ADMIN).get("/shop/orders/").content.decode()
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "19.90" in text
    assert "o-of-another-version" not in text


@pytest.mark.usefixtures("listed")
def test_who_may_not_see_data_sees_orders_without_it() -> None:
    viewer = browser(Role.VIEWER)
    for address in ("/shop/orders/", "/shop/orders/body/"):
        text = viewer.get(address).content.decode()
        assert "&lt;script&gt;alert(1)" in text
        assert "19.90" not in text
        assert "ann" not in text.partition("<tbody")[2]


@pytest.mark.django_db
def test_without_a_shop_there_is_no_such_page() -> None:
    assert browser(Role.ADMIN).get("/shop/orders/").status_code == 404
