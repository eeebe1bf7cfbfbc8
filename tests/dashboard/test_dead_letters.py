"""Dead letters: grouped by what went wrong, page by page, with the command that replays exactly these."""

from __future__ import annotations

import html
import re
import shlex
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from bus.journal import Failure, JournalEntry, Record, Step
from dashboard import queries
from dashboard.models import Delivery
from dashboard.record.rows import clean
from tests.dashboard.recorded import Recorded

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
HOSTILE = "</code><script>alert(1)</script>\"'><img src=x onerror=alert(2)>; rm -rf /"


@pytest.fixture
def reader(db: None, config: object) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    return browser


def failure(error: str = "ValueError", message: str = "no mailbox 17 of 'ann'", fingerprint: str = "f1") -> Failure:
    return Failure(error, message, "Traceback …", "shop/email.py:41 in send: raise", fingerprint)


@pytest.fixture
def shop(db: None, config: object) -> Recorded:
    """Of email: 60 without a mailbox, and one time-out; of audit: one without a mailbox."""
    shop = Recorded()
    for group in ("email", "audit"):
        shop.subscribe(group)
    shop.settle(shop.publish(60, type="order_placed"), Step.DEAD_LETTERED, failure=failure())
    shop.settle(shop.publish(id="late", key="o-9"), Step.DEAD_LETTERED, failure=failure("TimeoutError", "30 s", "f2"))
    shop.settle(shop.publish(id="both"), Step.DEAD_LETTERED, group="audit", failure=failure())
    return shop


def text_of(reader: Browser, address: str) -> str:
    response = reader.get(address)
    assert response.status_code == 200, address
    return re.sub(r"\s+", " ", html.unescape(response.content.decode()))


def kinds_of(reader: Browser, query: str = "") -> dict[str, int]:
    return {kind["fingerprint"]: kind["count"] for kind in reader.get(f"/dead/{query}").context["kinds"]}


def test_letters_that_failed_alike_are_one_row_the_most_frequent_first(reader: Browser, shop: Recorded) -> None:
    assert list(kinds_of(reader).items()) == [("f1", 61), ("f2", 1)]
    text = text_of(reader, "/dead/")
    assert "62 dead letters · 2 of 2 kinds" in text
    assert "no mailbox # of '…'" in text, "without what differs from one to the next"
    assert "shop/email.py:41 in send" in text
    assert 'href="/events/late/?group=email"' in text


def test_topic_group_and_error_narrow_the_page(reader: Browser, shop: Recorded) -> None:
    assert kinds_of(reader, "?group=audit") == {"f1": 1}
    assert kinds_of(reader, "?topic=orders&group=email") == {"f1": 60, "f2": 1}
    assert kinds_of(reader, "?error=f2") == {"f2": 1}
    assert kinds_of(reader, "?topic=nothing") == {}
    assert "No dead letter here" in text_of(reader, "/dead/?group=nobody")


def test_one_kind_lists_its_letters_page_by_page(reader: Browser, shop: Recorded) -> None:
    first = reader.get("/dead/?error=f1&group=email")
    assert len(first.context["one"]["letters"]) == 50
    text = html.unescape(first.content.decode())
    (older,) = re.findall(r'rel="next" href="([^"]+)"', text)
    second = reader.get(f"/dead/{older}")
    ids = [letter["id"] for page in (first, second) for letter in page.context["one"]["letters"]]
    assert len(ids) == len(set(ids)) == 60
    assert second.context["one"]["next"] is None
    assert "older than those before" in second.content.decode()


def test_a_letter_is_listed_for_the_groups_that_gave_it_up_for_that_reason_only(shop: Recorded) -> None:
    (event,) = shop.publish(id="twice")
    shop.settle([event], Step.DEAD_LETTERED, failure=failure())
    shop.settle([event], Step.DEAD_LETTERED, group="audit", failure=failure("KeyError", "x", "f3"))
    assert [(one["id"], one["group"]) for one in queries.letters("f3")["letters"]] == [("twice", "audit")]
    assert queries.letters("f1")["letters"][0]["group"] == "email"


def test_every_group_has_the_command_that_replays_exactly_these(reader: Browser, shop: Recorded) -> None:
    text = text_of(reader, "/dead/?error=f1")
    assert ">python manage.py replay orders email --fingerprint f1<" in text
    assert ">python manage.py replay orders audit --fingerprint f1<" in text


def test_letters_without_a_fingerprint_are_told_by_their_error(reader: Browser, shop: Recorded) -> None:
    shop.settle(shop.publish(id="old"), Step.DEAD_LETTERED, failure=failure("OldError", "no print", ""))
    address = f"?{urlencode({'error': 'OldError: no print'})}"
    assert kinds_of(reader, address) == {"OldError: no print": 1}
    assert [one["id"] for one in reader.get(f"/dead/{address}").context["one"]["letters"]] == ["old"]
    assert "replay orders email --error OldError" in text_of(reader, f"/dead/{address}")


def test_a_kind_that_was_replayed_or_discarded_says_so(reader: Browser, shop: Recorded) -> None:
    Delivery.objects.filter(fingerprint="f2").update(state="discarded")
    assert "None of this kind any more" in text_of(reader, "/dead/?error=f2")


def test_no_dead_letter_at_all_says_what_would_be_here(reader: Browser) -> None:
    assert "A delivery whose last attempt fails is kept here" in text_of(reader, "/dead/")


def test_a_search_asks_for_a_kind_too(shop: Recorded) -> None:
    found = queries.search(queries.parse("state:dead fingerprint:f2"))
    assert [row["id"] for row in found["rows"]] == ["late"]
    assert queries.search(queries.parse("-fingerprint:f1 state:dead"))["rows"][0]["id"] == "late"


def test_what_failed_is_text_whatever_it_says(reader: Browser, db: None) -> None:
    shop = Recorded()
    event = shop.publish(id=HOSTILE, type=HOSTILE, key=HOSTILE)
    shop.settle(event, Step.DEAD_LETTERED, failure=Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    for address in ("/dead/", f"/dead/?{urlencode({'error': HOSTILE})}", f"/dead/?{urlencode({'group': HOSTILE})}"):
        text = reader.get(address).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    (kind,) = reader.get("/dead/").context["kinds"]
    assert shlex.split(kind["commands"][0]["text"])[3:] == ["orders", "email", "--fingerprint", clean(HOSTILE, 64)]


@pytest.mark.parametrize(
    "query", ["before=nonsense&error=f1", "error=%00", "topic=%00&error=x", "error=" + "x" * 5_000]
)
def test_an_address_that_nobody_made_is_no_error(reader: Browser, shop: Recorded, query: str) -> None:
    assert reader.get(f"/dead/?{query}").status_code == 200


def test_the_page_takes_the_same_number_of_queries_for_any_number_of_letters_and_partitions(
    reader: Browser, shop: Recorded, django_assert_max_num_queries: Any
) -> None:
    for address in ("/dead/", "/dead/?error=f1"):
        with django_assert_max_num_queries(26):
            reader.get(address)
    wide = Recorded("wide", partitions=20)
    for number in range(20):
        failed = failure(f"Error{number}", "x", f"w{number}")
        wide.settle(wide.publish(partition=number), Step.DEAD_LETTERED, partition=number, failure=failed)
    with django_assert_max_num_queries(26):
        assert len(kinds_of(reader)) == 22


def test_the_page_is_for_people_who_are_logged_in(db: None) -> None:
    for address in ("/dead/", "/dead/body/", "/dead/?error=x"):
        assert Browser().get(address).status_code == 302


def test_letters_of_one_kind_that_say_different_things_show_examples(reader: Browser, shop: Recorded) -> None:
    letters = Delivery.objects.filter(fingerprint="f1").order_by("pk")
    for letter, text in zip(letters, ("no price for chair", "no price for <b>sofa", "no price for lamp"), strict=False):
        Delivery.objects.filter(pk=letter.pk).update(error=f"ValueError: {text}")
    (kind,) = [one for one in reader.get("/dead/").context["kinds"] if one["fingerprint"] == "f1"]
    assert kind["others"]
    assert kind["message"] not in kind["others"]
    text = reader.get("/dead/").content.decode()
    assert f"<q>{html.escape(kind['others'][0])}</q>" in text


@pytest.mark.usefixtures("shop")
def test_letters_by_kind_are_read_from_their_index_alone() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # of so few rows it would rather read all, whatever the indexes
            cursor.execute(
                "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
            )
    with CaptureQueriesContext(connection) as asked:
        queries.dead_letters(topic="orders")
    statement = next(query["sql"] for query in asked.captured_queries if query["sql"].startswith("SELECT kind"))
    with connection.cursor() as cursor:
        cursor.execute(f"{EXPLAIN[connection.vendor]} {statement}")
        plan = " | ".join(str(row[-1]) for row in cursor.fetchall())
    assert re.search(
        r"INDEX delivery_dead|Index Only Scan Backward using \S*(delivery_dead|event_id_group_worker)", plan
    )


def test_the_longest_names_and_messages_fit_the_index(shop: Recorded) -> None:
    """PostgreSQL refuses a row whose index entry is longer than 2,704 bytes, and with it all that is stored with it."""
    wide = "\N{FIRE}"
    failed = failure(wide * 300, wide * 5_000, wide * 100)
    event = shop.publish(id="long")[0]
    lines = [Record(int(Step.DEAD_LETTERED), event.entry, 1, failure=failed)]
    shop._store(0, [], [JournalEntry(shop.entry(), wide * 200, wide * 400, lines)])
    stored = Delivery.objects.get(group__startswith=wide)
    assert (len(stored.error), len(stored.worker), len(stored.group)) == (300, 200, 120)
