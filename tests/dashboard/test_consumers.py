"""Consumers and the page of a group: trouble first, nothing unknown shown as 0, and no query for each row."""

from __future__ import annotations

import html
import re
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

import bus
from bus import control, inspect, operations
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.wire import Operation
from dashboard.queries.groups import cause, condition
from dashboard.templatetags.screen import over
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.recorded import Recorded

HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def reader(transactional_db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_user("ann"))
    return browser


def text_of(reader: Browser, address: str) -> str:
    response = reader.get(address)
    assert response.status_code == 200, address
    return re.sub(r"\s+", " ", html.unescape(response.content.decode()))


def rows_of(reader: Browser, address: str) -> list[tuple[str, str]]:
    """Group and topic of each row."""
    response = reader.get(address)
    assert response.status_code == 200, address
    return [(row["group"], row["topic"]) for row in response.context["groups"]]


def told(**fields: Any) -> dict[str, Any]:
    usual = {"lag": 0, "waiting": 0, "age_ms": None, "dead": 0, "retrying": 0, "workers": 1, "paused_by": None}
    return {**usual, **fields}


@pytest.mark.parametrize(
    ("fields", "worst"),
    [
        ({}, "fine"),
        ({"retrying": 1}, "retrying"),
        ({"retrying": 1, "dead": 1}, "dead"),
        ({"lag": None, "dead": 1}, "unknown"),
        ({"lag": 101}, "behind"),
        ({"lag": 1, "age_ms": 30_001}, "behind"),
        ({"lag": 101, "paused_by": "ann"}, "paused"),
        ({"workers": 0, "lag": 200}, "stopped"),
        ({"paused_by": "ann", "workers": 0}, "paused"),
        ({"lag": None, "workers": 0}, "unknown"),
    ],
)
def test_a_group_is_as_bad_as_the_worst_that_holds(fields: dict[str, Any], worst: str) -> None:
    assert condition(told(**fields)) == worst


def paced(**fields: Any) -> dict[str, Any]:
    usual = {"rate": 2.0, "coming_rate": 3.0, "trend": 1.0, "drain_seconds": None, "pending": 0}
    found = told(**{**usual, **fields})
    return {**found, "waiting": found["lag"], "condition": condition(found)}


@pytest.mark.parametrize(
    ("fields", "words", "when"),
    [
        ({"lag": 2}, "it keeps up.", "keeping up"),
        ({"lag": 60}, "more and more wait.", "not yet"),
        ({"lag": 200}, "it falls behind.", "falls behind"),
        ({"lag": 60, "trend": -1.0, "drain_seconds": 60}, "it catches up.", "in ~1 min"),
        ({"lag": 200, "trend": 0.0}, "it stays as far behind.", "not so soon"),
        ({"lag": 2, "age_ms": 40_000}, "it falls behind.", "falls behind"),
    ],
)
def test_a_group_that_is_fine_is_not_said_to_fall_behind(fields: dict[str, Any], words: str, when: str) -> None:
    group = paced(**fields)
    assert cause(group, 0, available=True).endswith(words)
    assert over(group) == when


def settle(event: Event) -> None:
    """Content with whatever comes."""


def fail(event: Event) -> None:
    raise ValueError(f"no {event.key}")


@pytest.fixture
def busy(
    run_worker: RunWorker, publisher: Publisher, record: Record, wait_until: WaitUntil, bus_client: Client
) -> Keys:
    """On orders: archive is done, email gave three up, fraud waits to try three again. Their worker is gone."""
    retry = Retry(attempts=5, base_seconds=600, cap_seconds=600)
    with run_worker(
        Subscription("orders", "archive", settle),
        Subscription("orders", "email", fail, retry=Retry(attempts=1)),
        Subscription("orders", "fraud", fail, retry=retry, types=frozenset({"order_placed"})),
    ):
        publisher.publish_many([publisher.draft("orders", "order_placed", n, key=f"o-{n}") for n in range(3)])
        wait_until(lambda: figures(bus_client) == {"archive": (0, 0), "email": (0, 3), "fraud": (3, 0)})
    record()
    return Keys(bus_client.config.prefix, "orders", 0)


def figures(client: Client) -> dict[str, tuple[int, int]]:
    prefix = client.config.prefix
    found = client.run(inspect.groups(prefix, [("orders", 0)]))
    return {state.group: (state.due, state.dead) for state in client.run(inspect.details(prefix, found))}


def live(client: Client, *groups: str) -> None:
    """A worker of these groups that beats."""
    info = msgspec.json.encode(inspect.WorkerInfo(host="web-1", pid=42, groups=list(groups), lease_ms=60_000))
    client.run(operations.heartbeat(client.config.prefix, "web-1-42-ab", info))


def test_what_is_in_trouble_comes_first_and_can_be_asked_for_alone(
    reader: Browser, busy: Keys, bus_client: Client
) -> None:
    live(bus_client, "archive", "email", "fraud")
    assert [group for group, _ in rows_of(reader, "/consumers/")] == ["email", "fraud", "archive"], "not by name"
    assert [group for group, _ in rows_of(reader, "/consumers/?trouble=1")] == ["email", "fraud"]
    assert [group for group, _ in rows_of(reader, "/consumers/?trouble=retrying")] == ["fraud"]
    assert [group for group, _ in rows_of(reader, "/consumers/?trouble=dead&topic=orders")] == ["email"]
    assert rows_of(reader, "/consumers/?topic=nothing") == []
    assert len(rows_of(reader, "/consumers/?trouble=nonsense")) == 3


def test_a_row_says_why_and_leads_to_the_group_and_its_dead_letters(
    reader: Browser, busy: Keys, bus_client: Client
) -> None:
    live(bus_client, "archive", "email", "fraud")
    text = text_of(reader, "/consumers/")
    assert "3 dead letters wait for you." in text
    assert "All 3 pending events failed and wait to be attempted again." in text
    assert 'href="/dead/?topic=orders&group=email"' in text
    assert 'href="/consumers/orders/fraud/"' in text


def test_groups_without_a_worker_are_said_to_have_none(reader: Browser, busy: Keys) -> None:
    text = text_of(reader, "/consumers/")
    assert text.count("No worker") == 3
    assert "No live worker; nothing waits yet." in text or "No live worker for" in text


def test_a_paused_group_says_who_paused_it_and_how_to_resume(
    reader: Browser, busy: Keys, bus_client: Client, publisher: Publisher, record: Record, wait_until: WaitUntil
) -> None:
    live(bus_client, "archive", "email", "fraud")
    bus_client.run(control.pause(busy, "archive", who="bob <b>"))
    publisher.publish(publisher.draft("orders", "order_placed", 4))
    record()
    wait_until(lambda: rows_of(reader, "/consumers/?trouble=paused") == [("archive", "orders")])
    text = text_of(reader, "/consumers/")
    assert "Paused by bob <b>: events wait until it is resumed." in text
    assert "when resumed" in text
    assert "bob <b>" not in reader.get("/consumers/").content.decode()
    page = text_of(reader, "/consumers/orders/archive/")
    assert "manage.py resume orders archive" in page
    assert "manage.py pause" not in page


def test_what_nobody_knows_reads_unknown_and_never_0(reader: Browser, config: object) -> None:
    recorded = Recorded()
    recorded.subscribe("email")
    text = text_of(reader, "/consumers/")
    assert rows_of(reader, "/consumers/") == [], "the bus, which answers, knows of no group"
    assert "No group has subscribed yet" in text
    assert "manage.py worker" in text


def test_while_the_server_is_away_figures_are_unknown(
    reader: Browser, config: Any, free_port: int, tmp_path: Any
) -> None:
    Recorded().subscribe("email")
    bus.configure(url=f"redis://127.0.0.1:{free_port}", data_folder=tmp_path, prefix=config.prefix)
    text = text_of(reader, "/consumers/")
    (row,) = re.findall(r"<tr id=.*?</tr>", text)
    assert "The server does not answer" in text
    assert ">0<" not in row
    assert row.count(">unknown<") == 7
    assert "Unknown: the server is away." in row
    assert reader.get("/consumers/orders/email/").status_code == 200


def test_while_the_server_is_away_no_page_counts_dead_letters_or_workers(
    reader: Browser, config: Any, free_port: int, tmp_path: Any
) -> None:
    recorded = Recorded()
    recorded.subscribe("email")
    bus.configure(url=f"redis://127.0.0.1:{free_port}", data_folder=tmp_path, prefix=config.prefix)
    text = text_of(reader, "/")
    figures = re.findall(r"data-figure=\"(\w+)\".*?<strong>(.*?)</strong>", text, re.DOTALL)
    assert figures == [(kind, "unknown") for kind in ("dead", "retrying", "behind", "silent")]
    assert "The server does not answer; what only it knows reads" in text
    chips = text_of(reader, "/topics/orders/").partition("Groups of this topic")[2].partition("</ul>")[0]
    assert "lag unknown" in chips
    assert "no live worker" not in chips
    assert "None" not in chips


def test_the_page_of_a_group_tells_what_it_has_in_hand(reader: Browser, busy: Keys, bus_client: Client) -> None:
    live(bus_client, "fraud")
    text = text_of(reader, "/consumers/orders/fraud/")
    for part in (
        "3 of 3, oldest first",
        "o-0",
        "nobody yet",
        "only order_placed",
        "5 attempts",
        "web-1-42-ab",
        "Alive",
    ):
        assert part in text, part
    assert "python manage.py pause orders fraud --reason why" in text
    assert "python manage.py rewind orders fraud --to 1h --dry-run" in text
    dead = text_of(reader, "/consumers/orders/email/")
    assert "ValueError: no o-" in dead
    assert "Nothing is pending" in dead
    assert "python manage.py replay orders email --dry-run" in dead


def test_pending_entries_are_bounded_and_the_page_says_of_how_many(
    reader: Browser, busy: Keys, bus_client: Client, publisher: Publisher, record: Record, run_worker: RunWorker,
    wait_until: WaitUntil,
) -> None:  # fmt: skip
    retry = Retry(attempts=5, base_seconds=600, cap_seconds=600)
    with run_worker(Subscription("orders", "fraud", fail, retry=retry, types=frozenset({"order_placed"}))):
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(60)])
        wait_until(lambda: figures(bus_client)["fraud"] == (63, 0))
    record()
    wait_until(lambda: "50 of 63, oldest first" in text_of(reader, "/consumers/orders/fraud/body/"))


def test_a_worker_that_holds_entries_is_named_at_their_partition(bus_client: Client, busy: Keys) -> None:
    bus_client.run(operations.subscribe(busy, "slow", SubscriptionRecord(), start="0-0", worker="web-1"))
    bus_client.run(operations.take_new(busy, "slow", "web-1#1", count=2, block_ms=None))
    found = bus_client.run(inspect.groups(busy.prefix, [("orders", 0)]))
    states = {state.group: state for state in bus_client.run(inspect.details(busy.prefix, found))}
    assert states["fraud"].held == (), "what waits for its time is nobody's"
    assert states["slow"].held == (("web-1", 2),), "its generation is nobody's business"


def test_an_unknown_group_is_not_found(reader: Browser, busy: Keys) -> None:
    for address in ("/consumers/orders/nothing/", "/consumers/nothing/email/", "/consumers/orders/nothing/body/"):
        assert reader.get(address).status_code == 404


def test_the_pages_take_the_same_number_of_queries_for_any_number_of_groups(
    reader: Browser, bus_client: Client, publisher: Publisher, record: Record, django_assert_max_num_queries: Any
) -> None:
    def subscribe(topic: str, *groups: str) -> None:
        publisher.publish(publisher.draft(topic, "t", 1))
        for group in groups:
            keys = Keys(bus_client.config.prefix, topic, 0)
            bus_client.run(operations.subscribe(keys, group, SubscriptionRecord(), start="0-0", worker="w"))
        record()

    subscribe("one", "a")
    with django_assert_max_num_queries(16):
        text_of(reader, "/consumers/")
    with django_assert_max_num_queries(31):
        text_of(reader, "/consumers/one/a/")
    for number in range(8):
        subscribe(f"topic-{number}", *(f"g-{n}" for n in range(10)))
    with django_assert_max_num_queries(16):
        text = text_of(reader, "/consumers/")
    assert "the 50 most in trouble of 81" in text
    with django_assert_max_num_queries(31):
        text_of(reader, "/consumers/topic-1/g-1/")
    assert len(rows_of(reader, "/consumers/?rows=all")) == 81


def test_what_strangers_call_their_groups_is_text(reader: Browser, busy: Keys, bus_client: Client) -> None:
    for name in (HOSTILE, "a/b c\n", "?q=&x"):
        bus_client.run(Operation([(b"XGROUP", b"CREATE", busy.events, name.encode(), b"0")], lambda _: None))
    page = reader.get("/consumers/")
    names = {row["group"] for row in page.context["groups"]}
    assert {HOSTILE, "a/b c\n"} <= names
    for address in ("/consumers/", *re.findall(r'<a class="open" href="([^"]+)"', page.content.decode())):
        shown = reader.get(html.unescape(address))
        assert shown.status_code == 200, address
        assert "<script>alert" not in shown.content.decode()
        assert "<img src=x" not in shown.content.decode()


def test_the_pages_are_for_people_who_are_logged_in(db: None) -> None:
    for address in ("/consumers/", "/consumers/body/", "/consumers/orders/email/", "/consumers/orders/email/body/"):
        assert Browser().get(address).status_code == 302


def test_the_overview_leads_to_what_its_figures_count(reader: Browser, busy: Keys) -> None:
    text = text_of(reader, "/")
    for address in ("/dead/", "/consumers/?trouble=retrying", "/consumers/?trouble=behind"):
        assert f'class="figure" href="{address}"' in text
    assert 'href="/consumers/?topic=orders"' in text_of(reader, "/topics/")


def test_restoring_is_offered_only_where_something_is_discarded(
    reader: Browser, busy: Keys, bus_client: Client, wait_until: WaitUntil
) -> None:
    why = "Restore discarded: no dead letter of email is discarded"
    assert why in text_of(reader, "/consumers/orders/email/")
    letters = bus_client.run(operations.dead_letters(busy, "email"))
    bus_client.run(control.discard(busy, "email", [letters[0].id], who="ann"))
    wait_until(lambda: why not in text_of(reader, "/consumers/orders/email/"))
    assert "Restore discarded…" in text_of(reader, "/consumers/orders/email/")
