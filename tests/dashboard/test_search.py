"""Search: what it finds, in which order, how far it looks, and that it uses its indexes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import bus
from bus import operations
from bus.event import Cause, Event, entry_ms
from bus.journal import Failure, Step, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from dashboard import queries
from dashboard.queries import QueryInvalid
from dashboard.queries.follow import Follower
from dashboard.queries.lag import partitions
from dashboard.queries.search import Budget
from dashboard.queries.spans import Span, first_at
from dashboard.record.rows import MAX_PAYLOAD
from tests.dashboard.conftest import Record
from tests.dashboard.hostile import TEXTS
from tests.dashboard.recorded import Recorded

PLENTY = Budget(1_000_000, 60)
DATA: dict[str, Any] = {
    "total": 120, "paid": True, "note": None, "sku": "A1", "code": "42", "big": 10**19, "rate": 2.5,
    "items": [{"sku": "A1", "n": 1}, {"sku": "B2", "n": 7}], "tags": ["red", "blue"], "when": "2025-11-13",
}  # fmt: skip


@pytest.fixture
def recorded(db: None, config: object) -> Recorded:
    return Recorded()


def search(text: str, **more: Any) -> dict[str, Any]:
    return queries.search(queries.parse(text), **{"budget": PLENTY, **more})


def ids(text: str, **more: Any) -> list[str]:
    return [row["id"] for row in search(text, **more)["rows"]]


def raw(data: Any) -> bytes:
    return json.dumps(data).encode()


def pages(text: str, **more: Any) -> list[str]:
    """All that matches, page by page."""
    found, mark = list[str](), None
    while True:
        page = search(text, mark=mark, **more)
        found += [row["id"] for row in page["rows"]]
        mark = page["next"]
        if mark is None:
            return found


@pytest.mark.parametrize(
    ("term", "is_found"),
    [
        ("payload.total:120", True),
        ("payload.total=120.0", True),
        ("payload.total:121,120", True),
        ('payload.total:"120"', False),
        ("payload.total>100", True),
        ("payload.total>120", False),
        ("payload.total>=120", True),
        ("payload.total<120.5", True),
        ("payload.total<=119", False),
        ("payload.total!=7", True),
        ("payload.total!=120", False),
        ("-payload.total:120", False),
        ("payload.missing!=7", True),
        ("payload.missing:7", False),
        ("payload.missing>7", False),
        ("payload.paid:true", True),
        ("payload.paid:1", False),
        ('payload.paid:"true"', False),
        ("payload.note:null", True),
        ("payload.code:42", True),
        ("payload.code>5", False),
        ("payload.big>10000000000000000000", False),
        ("payload.big:10000000000000000000", True),
        ("payload.rate:2.5", True),
        ("payload.items[0].sku:A1", True),
        ("payload.items[1].sku:A1", False),
        ("payload.items[9].sku:A1", False),
        ("payload.items[*].sku:B2", True),
        ("payload.items[*].n>5", True),
        ("payload.items[*].n>7", False),
        ("payload.items.sku:A1", False),
        ("payload.tags:blue", True),
        ("payload.tags:green", False),
        ("payload.tags!=blue", False),
        ("payload.when>2025-01-01", True),
        ("payload.when>2026", False),
        ("header.tenant:acme", True),
        ("header.tenant:other", False),
        ("header.other:acme", False),
        ("size>10", True),
        ("size<10", False),
        ("source:web-shop", True),
        ("source!=web-shop", False),
        ("trace:trace-1", True),
        ("trace:trace-2", False),
        ("id:e-1", True),
        ("id:e-1,e-2", True),
        ("-id:e-1", False),
        ("cause:c-1", True),
        ("cause:c-2", False),
        ("is:root", False),
        ("-is:root", True),
        ("is:ghost", False),
        ("is:cut", False),
        ("topic:orders", True),
        ("-topic:orders", False),
        ("topic!=orders", False),
        ("WEB-shop", True),
        ("ACME", True),
        ('"a1"', True),
        ("-a1", False),
        ("e-1", True),
        ("%", False),
        ("e_1", False),
        ("since:1970-01-01", True),
        ("until:1970-01-01", False),
        ("since:2100-01-01", False),
        ("type:order_placed key:o-1", True),
        ("type:order_placed key:o-2", False),
        ("type:other,order_placed", True),
        ("type!=order_placed", False),
        ("key!=o-2", True),
        ("type:order_placed type:other", False),
    ],
)
def test_a_term_finds_what_it_says(recorded: Recorded, term: str, is_found: bool) -> None:
    recorded.publish(
        id="e-1", key="o-1", source="web-shop", correlation_id="trace-1", raw=raw(DATA), headers={"tenant": "acme"},
        cause=Cause("c-1", "payment", 1),
    )  # fmt: skip
    assert ids(term) == (["e-1"] if is_found else [])


@pytest.fixture
def fanned(recorded: Recorded) -> Recorded:
    """Two groups; of six events email took all but the last in its own way, stock succeeded with the first."""
    recorded.subscribe("email")
    recorded.subscribe("stock")
    events = [recorded.publish(id=f"e-{number}", raw=raw({"n": number}))[0] for number in range(6)]
    timeout, value = (Failure(name, "no", fingerprint=name) for name in ("TimeoutError", "ValueError"))
    recorded.settle(events[:1], Step.SUCCEEDED)
    recorded.settle(events[1:2], Step.DEAD_LETTERED, failure=timeout)
    recorded.settle(events[2:3], Step.DEAD_LETTERED, failure=value)
    recorded.settle(events[3:4], Step.RETRY_SCHEDULED, failure=timeout, due_in_ms=60_000)
    recorded.settle(events[4:5], Step.DELIVERED)
    recorded.settle(events[:1], Step.SUCCEEDED, group="stock")
    recorded.settle(events[1:2], Step.RETRY_SCHEDULED, group="stock", failure=value, due_in_ms=60_000)
    return recorded


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("state:dead", [2, 1]),
        ("state:dead,retrying", [3, 2, 1]),
        ("state:retrying", [3, 1]),
        ("state:running", [4]),
        ("state:succeeded", [0]),
        ("state:waiting", [5, 4, 3, 2]),
        ("group:email state:waiting", [5]),
        ("group:email state:retrying", [3]),
        ("group:stock state:retrying", [1]),
        ("group:email,stock state:retrying", [3, 1]),
        ("group:email -state:succeeded", [5, 4, 3, 2, 1]),
        ("group:email -state:succeeded,waiting", [4, 3, 2, 1]),
        ("group:email state:dead -error:timeout", [2]),
        ("group:email error!=TimeoutError state:dead", [2]),
        ("group:email state!=succeeded", [5, 4, 3, 2, 1]),
        ("-state:succeeded", [5, 4, 3, 2, 1]),
        ("state:dead -state:retrying", [2]),
        ("state:dead -state:waiting", [1]),
        ("error:timeout", [3, 1]),
        ("error=TimeoutError", [3, 1]),
        ("error=Timeout", []),
        ("error:timeout state:dead", [1]),
        ("error:valueerror group:stock", [1]),
        ("-error:no", [5, 4, 0]),
        ("worker:w1 state:dead", [2, 1]),
        ("worker:w2 state:dead", []),
        ("attempt>0 state:dead,retrying", [3, 2, 1]),
        ("attempt>1", []),
        ("state:dead payload.n:2", [2]),
        ("state:dead type:other", []),
        ("id:e-1 state:dead", [1]),
        ("group:email id:e-5", [5]),
        ("state:dead state:retrying", []),
        ("group:email group:stock", []),
    ],
)
def test_lanes_are_found_by_state_group_error_worker_and_attempt(
    fanned: Recorded, query: str, numbers: list[int]
) -> None:
    assert ids(query) == [f"e-{number}" for number in numbers]
    assert pages(query, limit=1) == [f"e-{number}" for number in numbers]
    assert pages(query, limit=2, oldest_first=True) == [f"e-{number}" for number in reversed(numbers)]


@pytest.mark.parametrize("group", ["a", "b", "c", "d"])
def test_no_lane_is_lost_between_two_portions(recorded: Recorded, group: str) -> None:
    events = recorded.publish(3)
    for name in ("a", "b", "c", "d"):
        recorded.subscribe(name)
        recorded.settle(events, Step.DEAD_LETTERED, group=name)
    newest_first = [event.id for event in reversed(events)]
    assert pages(f"state:dead group:{group}", limit=1) == newest_first
    assert pages(f"state:dead group:{group}", limit=1, oldest_first=True) == newest_first[::-1]


def test_pages_over_many_partitions_hold_everything_once_in_order_of_time(db: None, config: object) -> None:
    recorded = Recorded("spread", partitions=3)
    events = [
        recorded.publish(partition=n % 3, type=f"t{n % 4}", key=f"k{n % 5}", raw=raw({"n": n}))[0] for n in range(90)
    ]
    recorded.settle(events[::3], Step.DEAD_LETTERED, partition=0)

    def expected(wanted: Any) -> list[str]:
        return [event.id for n, event in reversed(list(enumerate(events))) if wanted(n)]

    for text, wanted in {
        "": lambda _: True,
        "type:t1,t2": lambda n: n % 4 in (1, 2),
        "key:k0": lambda n: n % 5 == 0,
        "key:k0,k1 type:t1": lambda n: n % 5 < 2 and n % 4 == 1,
        "payload.n>=45": lambda n: n >= 45,
        "state:dead": lambda n: n % 3 == 0,
        "state:dead key:k0": lambda n: n % 15 == 0,
        "-type:t0": lambda n: n % 4,
        f"since:{entry_ms(events[40].entry)} until:{entry_ms(events[49].entry)}": lambda n: 40 <= n < 50,
        "trace:trace": lambda _: True,
    }.items():
        for limit in (7, 500):
            assert pages(text, limit=limit) == expected(wanted), text
            assert pages(text, limit=limit, oldest_first=True) == expected(wanted)[::-1], text


def test_a_search_goes_on_where_its_budget_ended(recorded: Recorded) -> None:
    events = [recorded.publish(raw=raw({"n": n}))[0] for n in range(300)]
    one = search("payload.n:5", budget=Budget(100, 60))
    assert one["rows"] == []
    assert one["searched"] == {"count": 100, "of": 300, "to_ms": entry_ms(events[200].entry)}
    assert pages("payload.n:5", budget=Budget(100, 60)) == [events[5].id]


def test_time_ends_a_search_but_never_before_it_got_anywhere(recorded: Recorded) -> None:
    recorded.publish(3)
    page = search("nothing", budget=Budget(1_000, 0.0))
    assert (page["searched"]["count"], page["rows"]) == (1, [])
    assert pages("nothing", budget=Budget(1_000, 0.0)) == []


def test_a_full_page_needs_no_words_about_how_far_it_got(recorded: Recorded) -> None:
    recorded.publish(3)
    page = search("", limit=2)
    assert (len(page["rows"]), page["searched"], page["next"] is not None) == (2, None, True)
    assert search("", limit=3)["next"] is None


@pytest.mark.parametrize(("asked", "got"), [(10**9, 500), (0, 1), (-5, 1)])
def test_the_limit_is_clamped(recorded: Recorded, asked: int, got: int) -> None:
    recorded.publish(510)
    assert len(search("", limit=asked)["rows"]) == got


def test_data_that_was_not_kept_whole_is_said_rather_than_guessed(recorded: Recorded) -> None:
    recorded.publish(id="long", raw=raw({"n": 1, "text": "beginning" + "x" * MAX_PAYLOAD + "ending"}))
    recorded.publish(id="short", raw=raw({"n": 1}))
    page = search("payload.n:1")
    assert ([row["id"] for row in page["rows"]], page["unreadable"]) == (["short"], 1)
    assert search("-payload.n:2")["unreadable"] == 1
    assert (ids("beginning"), ids("ending"), ids("is:cut")) == (["long"], [], ["long"])


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xfe", b"NaN", b"[" * 5_000, b"9" * 5_000, b'"\\ud800"', b"null", b'{"a":1,"a":2}', b"\0"]
)
def test_data_of_any_kind_can_be_looked_at(recorded: Recorded, payload: bytes) -> None:
    recorded.publish(raw=payload)
    for query in ("payload.a:1", "payload.a>1", "payload.a!=1", "payload[0]:1", '"no such text"'):
        assert len(ids(query)) <= 1
    assert ids("payload.a:7") == []


@pytest.mark.parametrize("text", [*TEXTS, "group:\ud800", "id:\ud800", "trace:\0", "cause:\ud800", "payload.a:\ud800"])
def test_no_text_breaks_a_search(fanned: Recorded, text: str) -> None:
    """As it comes from a command line, where not even UTF-8 is sure."""
    queries.suggest(text)
    assert queries.history(text)["rows"] == []
    try:
        search(text)
    except QueryInvalid as error:
        assert 0 <= error.start <= error.end <= len(text)  # noqa: PT017  either outcome is right


def test_ghosts_are_found_only_when_asked_for(recorded: Recorded) -> None:
    recorded.publish(id="real")
    ghost = Event(id="x", topic="orders", type="t", raw=b"", entry="1-1")
    recorded.settle([ghost], Step.DEAD_LETTERED)
    assert ids("") == ["real"]
    (name,) = ids("is:ghost")
    assert name.startswith("ghost-")
    assert ids("is:ghost state:dead") == [name]
    assert ids("is:ghost", oldest_first=True) == [name]


@pytest.mark.parametrize(
    ("text", "word", "said"),
    [
        ("topic:ordres", "ordres", "did you mean orders?"),
        ("type:a group:emial", "emial", "did you mean email?"),
        ("topic:mail", "topic:mail", "this looks at orders only"),
        ("-topic:orders", "-topic:orders", "this looks at orders only"),
    ],
)
def test_names_that_lead_nowhere_are_pointed_at(recorded: Recorded, text: str, word: str, said: str) -> None:
    recorded.subscribe("email")
    Recorded("mail").publish()
    with pytest.raises(QueryInvalid) as caught:
        search(text, topic="orders")
    assert text[caught.value.start : caught.value.end] == word
    assert said in caught.value.message


def test_what_waits_can_not_be_told_without_a_server(fanned: Recorded, config: bus.Config) -> None:
    bus.configure(url="unix:///nowhere/server.sock", data_folder=config.data_folder)
    with pytest.raises(QueryInvalid, match="the server is away") as caught:
        search("type:x state:waiting")
    assert (caught.value.start, caught.value.end) == (7, 20)
    assert ids("state:dead") == ["e-2", "e-1"], "what is recorded is found all the same"


def test_what_waits_lies_behind_the_position_of_its_group(
    bus_client: Client, publisher: Publisher, record: Record
) -> None:
    keys = Keys(bus_client.config.prefix, "orders", 0)
    publisher.publish_many([publisher.draft("orders", "t", n, id=f"e-{n}") for n in range(1_000)])
    bus_client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    bus_client.run(operations.take_new(keys, "email", "w#0", count=500, block_ms=None))
    bus_client.run(operations.take_new(keys, "email", "w#0", count=497, block_ms=None))
    record()
    page = search("group:email state:waiting", budget=Budget(5, 60))
    assert [row["id"] for row in page["rows"]] == ["e-999", "e-998", "e-997"]
    assert page["next"] is None, "the 997 that were handed out are not looked at"


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
WHOLE_TABLE = re.compile(r"SCAN (dashboard_(event|delivery|attempt)|e)\b|Seq Scan on dashboard_(event|delivery)")
SORTED = re.compile(r"TEMP B-TREE|Sort Key")


def plans(text: str, **more: Any) -> list[str]:
    """How the database goes about each statement of a search on events or deliveries."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # of so few rows it would rather read all, whatever the indexes
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    with CaptureQueriesContext(connection) as asked:
        search(text, **more)
    found = []
    for query in asked.captured_queries:
        if "dashboard_event" in query["sql"] or "dashboard_delivery" in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"{EXPLAIN[connection.vendor]} {query['sql']}")
                found.append(" | ".join(str(row[-1]) for row in cursor.fetchall()))
    return found


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("", "PRIMARY KEY (rowid"),
        ("type:order_placed", "event_by_type"),
        ("type:order_placed,other payload.n>3", "event_by_type"),
        ("key:o-1 state:dead", "event_by_key"),
        ("state:dead", "delivery_by_trouble"),
        ("state:dead,retrying group:email type:order_placed", "delivery_by_trouble"),
        ("group:email state!=succeeded", "delivery_by_trouble"),
        ("error:timeout", "delivery_by_trouble"),
        ("id:e-1", "event_by_id"),
        ("trace:trace", "event_by_trace"),
        ("cause:c-1", "event_by_cause"),
        ("since:2002-01-01", "sqlite_autoindex_dashboard_event_1 (partition_id=?"),
        ("payload.n>3", "PRIMARY KEY (rowid"),
    ],
)
def test_no_search_reads_a_whole_table(fanned: Recorded, text: str, index: str) -> None:
    found = plans(text, topic="orders")
    assert not [plan for plan in found if WHOLE_TABLE.search(plan)]
    if connection.vendor == "sqlite":  # the other one chooses by what the tables hold, and these hold next to nothing
        assert [plan for plan in found if index in plan]


@pytest.mark.parametrize("text", ["", "type:order_placed", "key:o-1"])
def test_the_order_of_time_comes_from_the_index_and_is_not_sorted(fanned: Recorded, text: str) -> None:
    found = plans(text)
    assert found
    assert not [plan for plan in found if SORTED.search(plan)]


def test_no_search_asks_a_query_per_row(fanned: Recorded) -> None:
    fanned.settle(fanned.publish(200), Step.DEAD_LETTERED)
    for text in ("", "type:order_placed", "state:dead", "group:email -state:succeeded", "payload.n>3", "trace:trace"):
        with CaptureQueriesContext(connection) as asked:
            search(text, topic="orders", limit=200)
        assert len(asked) <= 20, text  # one for each state that may be meant, and a dozen


def test_the_history_of_a_key_goes_across_topics_oldest_first(recorded: Recorded) -> None:
    mail = Recorded("mail")
    mail.at_ms = recorded.at_ms
    for turn in range(6):
        one = recorded if turn % 2 else mail
        one.at_ms = max(recorded.at_ms, mail.at_ms)
        one.publish(id=f"h-{turn}", key="o-1")
        one.publish(key="o-2")
    first = queries.history("o-1", limit=4)
    rest = queries.history("o-1", mark=first["next"], limit=4)
    assert [row["id"] for row in first["rows"] + rest["rows"]] == [f"h-{turn}" for turn in range(6)]
    assert [row["id"] for row in queries.history("o-1", topic="mail")["rows"]] == ["h-0", "h-2", "h-4"]
    assert [row["id"] for row in queries.history("o-1", newest_first=True, limit=1)["rows"]] == ["h-5"]
    assert queries.history("")["rows"] == []


def test_following_tells_each_new_event_once(recorded: Recorded) -> None:
    recorded.publish(3, id="old")
    follower = Follower(queries.parse("type:wanted"))
    assert follower.begin(10) == []
    recorded.publish(700, type="wanted")
    recorded.publish(type="other")
    found = [row for rows in follower.fresh() for row in rows]
    assert len({row["entry"] for row in found}) == len(found) == 700
    assert found[0]["at_ms"] < found[-1]["at_ms"]
    assert list(follower.fresh()) == []
    recorded.publish(id="next", type="wanted")
    assert [row["id"] for rows in follower.fresh() for row in rows] == ["next"]


def test_following_a_state_tells_an_old_event_when_it_gets_there(fanned: Recorded) -> None:
    follower = Follower(queries.parse("state:dead"))
    assert [row["id"] for row in follower.begin(10)] == ["e-1", "e-2"]
    (event,) = fanned.publish(id="late")
    assert [row for rows in follower.fresh() for row in rows] == []
    fanned.settle([event], Step.DEAD_LETTERED)
    assert [row["id"] for rows in follower.fresh() for row in rows] == ["late"]


def texts(text: str, cursor: int | None = None) -> list[str]:
    return [one["text"] for one in queries.suggest(text, cursor)]


def test_suggestions_are_fields_and_values_that_exist(fanned: Recorded) -> None:
    fanned.publish(type="order_shipped", key="o-17")
    fanned.publish(type="with space", key="o-18")
    assert texts("st") == ["state:"]
    assert texts("tpye") == ["type:"]
    assert texts("type:") == ["order_placed", "order_shipped", '"with space"']
    assert texts("type:order_s") == ["order_shipped"]
    assert texts('type:"with') == ['"with space"']
    assert texts("key:o-1") == ["o-17", "o-18"]
    assert texts("key:") == []
    assert texts("state:de") == ["dead"]
    assert texts("state:dead,re") == ["retrying", "replaying"]
    assert texts("group:") == ["email", "stock"]
    assert texts("topic:o") == ["orders"]
    assert texts("since:")[0] == "15m"
    assert texts("payload.x:") == texts("payload.x") == []
    assert texts("pay") == ["payload."]
    assert len(texts("")) == 12


def test_a_suggestion_stands_where_the_cursor_is(fanned: Recorded) -> None:
    text = '-st "a type:" x'
    (one,) = queries.suggest(text, 3)
    assert text[: one["start"]] + one["text"] + text[one["end"] :] == '-state: "a type:" x'
    (one,) = queries.suggest("a state:dead,ret", 16)
    assert "a state:dead,ret"[: one["start"]] + one["text"] == "a state:dead,retrying"


def test_values_are_suggested_by_steps_through_an_index(fanned: Recorded) -> None:
    fanned.publish(300, type="many")
    with CaptureQueriesContext(connection) as asked:
        assert "many" in texts("type:m")
    assert len(asked) <= 3


def test_a_moment_is_found_among_odd_entries_and_many_of_one_ms(recorded: Recorded) -> None:
    for entry in ("7-1", "1700000000000-9", "1700000000000-10", "1700000000005-2", "17000000000000-0"):
        recorded.publish(entry=entry)
    whole = {place.id: Span(0, 6) for place in partitions().values()}
    [place] = partitions().values()

    def first(moment: int) -> int:
        return first_at([(place, moment)], whole)[place.id, moment]

    assert [first(moment) for moment in (-5, 7, 8, 1_700_000_000_000, 1_700_000_000_001)] == [1, 1, 2, 2, 4]
    assert [first(moment) for moment in (1_700_000_000_006, 17_000_000_000_000, 17_000_000_000_001)] == [5, 5, 6]
