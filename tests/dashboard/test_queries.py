"""Lists, one event in full, lag and the overview: exact, bounded, and honest about what nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import bus
from bus.event import Event, entry_ms
from bus.inspect import GroupState
from bus.journal import Failure, Step
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.tail import Position
from bus.wire import Operation
from dashboard import cursors, queries
from dashboard.queries.event import readable
from dashboard.queries.facts import preview, printable
from dashboard.queries.lag import PartitionRow, count_waiting, last_number, number_between
from dashboard.queries.search import Budget
from dashboard.record.rates import PUBLISHED, Rates, Series, bucket_of
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.recorded import NOW_MS, Recorded


@pytest.fixture
def recorded(db: None, config: object) -> Recorded:
    return Recorded()


def found(text: str, **more: Any) -> dict[str, Any]:
    return queries.search(queries.parse(text), **more)


def ids(page: dict[str, Any]) -> list[str]:
    return [row["id"] for row in page["rows"]]


def test_events_come_newest_first_page_by_page(recorded: Recorded) -> None:
    events = recorded.publish(120)
    newest_first = [event.id for event in reversed(events)]
    first = found("", topic="orders")
    second = found("", topic="orders", mark=first["next"])
    third = found("", topic="orders", mark=second["next"])
    assert ids(first) + ids(second) + ids(third) == newest_first
    assert (first["total_shown"], third["total_shown"], third["next"]) == (50, 20, None)


def test_pages_merge_the_partitions_of_a_topic(db: None, config: object) -> None:
    recorded = Recorded("spread", partitions=3)
    events = [event for turn in range(40) for event in recorded.publish(partition=turn % 3)]
    first = found("", topic="spread", limit=25)
    second = found("", topic="spread", mark=first["next"], limit=25)
    assert ids(first) + ids(second) == [event.id for event in reversed(events)]
    assert {row["partition"] for row in first["rows"]} == {0, 1, 2}


def test_events_that_come_meanwhile_do_not_shift_the_next_page(recorded: Recorded) -> None:
    events = recorded.publish(20)
    first = found("", topic="orders", limit=10)
    recorded.publish(5)
    second = found("", topic="orders", mark=first["next"], limit=10)
    assert ids(second) == [event.id for event in reversed(events[:10])]


def test_lists_are_narrowed_by_type_and_key(recorded: Recorded) -> None:
    recorded.publish(5)
    shipped = recorded.publish(2, type="order_shipped", key="o-1")
    placed = recorded.publish(1, key="o-1")
    assert ids(found("type:order_shipped", topic="orders")) == [e.id for e in reversed(shipped)]
    assert ids(found("key:o-1", topic="orders")) == [e.id for e in reversed([*shipped, *placed])]
    assert ids(found("key:o-1 type:order_placed", topic="orders")) == [placed[0].id]


def test_lists_are_narrowed_by_state_and_group(recorded: Recorded) -> None:
    recorded.subscribe("email")
    recorded.subscribe("stock")
    dead, fine, open_ = recorded.publish(3)
    recorded.settle([dead], Step.DEAD_LETTERED)
    recorded.settle([dead, fine], Step.SUCCEEDED, group="stock")
    recorded.settle([fine], Step.SUCCEEDED)
    assert ids(found("state:dead", topic="orders")) == [dead.id]
    assert ids(found("state:dead group:stock", topic="orders")) == []
    assert ids(found("state:succeeded group:stock", topic="orders")) == [fine.id, dead.id]
    assert ids(found("state:waiting", topic="orders")) == [open_.id]
    assert ids(found("state:dead type:order_shipped", topic="orders")) == []


def test_a_search_that_finds_little_stops_and_says_how_far_it_got(recorded: Recorded) -> None:
    events = recorded.publish(1_200)
    page = found("state:succeeded", topic="orders", budget=Budget(1_000, 60))
    assert page["total_shown"] == 0
    assert page["searched"] == {"count": 1_000, "of": 1_200, "to_ms": entry_ms(events[200].entry)}
    rest = found("state:succeeded", topic="orders", mark=page["next"], budget=Budget(1_000, 60))
    assert (rest["next"], rest["searched"]) == (None, None)


def test_a_list_asks_no_query_per_row(recorded: Recorded) -> None:
    events = recorded.publish(200)
    recorded.settle(events, Step.DEAD_LETTERED)
    with CaptureQueriesContext(connection) as asked:
        assert found("state:dead", topic="orders", limit=100)["total_shown"] == 100
    assert len(asked) <= 10


@pytest.mark.parametrize("before", ["", "1", "x:y", "1:2;3", "9" * 400, "1:-5", "1:2," * 400, "\x00", "7:7"])
def test_a_page_mark_of_somebody_elses_making_is_the_beginning(recorded: Recorded, before: str) -> None:
    recorded.publish(3)
    assert found("", topic="orders", mark=before)["total_shown"] == 3


def test_an_unknown_topic_has_no_events(db: None, config: object) -> None:
    assert found("", topic="nowhere")["rows"] == []
    assert queries.topic("nowhere") is None


def test_one_event_is_told_in_full(recorded: Recorded) -> None:
    recorded.subscribe("email")
    (event,) = recorded.publish(raw=b'{"b":1,"a":[1,2]}', headers={"tenant": "x"}, traceparent="00-a-b-01", key="k")
    failure = Failure("ValueError", "no\nmore", "Traceback (most recent call last): …", "shop.py:3 in f: x()", "f")
    recorded.settle([event], Step.DEAD_LETTERED, failure=failure, log=["WARNING shop: careful"])
    found = queries.event(event.id)
    assert found
    assert (found["data"], found["headers"]) == ({"b": 1, "a": [1, 2]}, {"tenant": "x"})
    assert found["data_text"] == '{\n  "b": 1,\n  "a": [\n    1,\n    2\n  ]\n}'
    attempt = found["lanes"][0]["attempts"][0]
    assert (attempt["traceback"], attempt["frame"]) == (failure.traceback, failure.frame)
    assert attempt["log"] == ["WARNING shop: careful"]
    assert not found["is_repeated"]


def test_of_events_with_the_same_id_the_newest_is_told(recorded: Recorded) -> None:
    recorded.publish(id="twice", type="old")
    recorded.publish(id="twice", type="new")
    found = queries.event("twice")
    assert found
    assert (found["type"], found["is_repeated"]) == ("new", True)
    assert queries.event("never") is None


@pytest.mark.parametrize(
    ("payload", "is_json"),
    [
        (b'{"a": 1}', True),
        (b"", False),
        (b"\xff\xfe", False),
        (b"NaN", False),
        (b"[" * 5_000, False),
        (b"9" * 5_000, None),
        (b'"\\ud800"', None),
        (b"<script>alert(1)</script>", False),
    ],
)
def test_data_of_any_kind_can_be_read(payload: bytes, is_json: bool | None) -> None:
    data, text = readable(payload, is_whole=True)
    assert bool(text.encode()) == bool(payload)
    if is_json is not None:
        assert (data is not None) == is_json


def test_data_that_was_not_kept_whole_is_shown_as_it_is() -> None:
    assert readable(b'{"a": 1', is_whole=False) == (None, '{"a": 1')


def test_a_preview_is_one_line_that_cannot_pretend() -> None:
    assert preview(b'{"a":\n1}') == '{"a":\\n1}'
    assert preview("\u202eevil".encode()) == "\\u202eevil"
    assert len(preview(b"x" * 480)) == 120
    assert printable("plain") == "plain"


def place(**fields: Any) -> PartitionRow:
    usual = {
        "id": 1, "topic": "orders", "number": 0, "events_cursor": f"{NOW_MS}-0", "journal_cursor": "0-0",
        "newest_number": 100, "newest_ms": NOW_MS, "trimmed_number": 0, "epoch": 0,
    }  # fmt: skip
    return PartitionRow(**{**usual, **fields})


def state(last_delivered: str, newest: str = f"{NOW_MS}-0", **fields: Any) -> GroupState:
    usual = {"topic": "orders", "partition": 0, "group": "email", "pending": 0}
    return GroupState(**{**usual, **fields}, last_delivered=last_delivered, newest=newest)


def test_waiting_is_counted_by_ordinals() -> None:
    assert count_waiting(state(f"{NOW_MS - 50}-0"), place(), 40) == 60
    assert count_waiting(state(f"{NOW_MS}-0"), place(), None) == 0


def test_what_was_trimmed_does_not_wait() -> None:
    behind = state("0-0")
    trimmed = place(trimmed_number=90)
    assert last_number(behind, trimmed, None, f"{NOW_MS - 10}-0") == 90
    assert count_waiting(behind, trimmed, 90) == 10


def test_an_unknown_lag_is_none_and_never_zero() -> None:
    assert count_waiting(state(f"{NOW_MS - 50}-0"), place(), None) is None
    late = place(events_cursor=f"{NOW_MS - 60_000}-0")
    assert count_waiting(state(f"{NOW_MS - 90_000}-0"), late, 40) is None, "the recorder is a minute behind"
    assert last_number(state(f"{NOW_MS - 50}-0"), place(), None, None) is None


def test_a_group_ahead_of_the_recorder_is_handed_all_that_is_known() -> None:
    assert last_number(state(f"{NOW_MS + 5}-0"), place(), None, None) == 100


def test_numbers_tell_how_much_was_missed(recorded: Recorded) -> None:
    events = recorded.publish(10)
    assert number_between("orders", 0, events[1].entry, events[7].entry) == 6
    assert number_between("orders", 0, "1-1", events[7].entry) is None
    assert number_between("nowhere", 0, "1-1", "2-2") is None


def stuck(event: Event) -> None:
    raise ValueError("not today")


def test_the_overview_tells_what_is_wrong_and_where(
    run_worker: RunWorker, publisher: Publisher, record: Record, wait_until: WaitUntil
) -> None:
    def forward(event: Event) -> None:
        publisher.publish(publisher.draft("mail", "mail_sent", 1))

    slow = Retry(attempts=5, base_seconds=600, cap_seconds=600)
    with run_worker(
        Subscription("orders", "email", forward),
        Subscription("orders", "stock", stuck, retry=Retry(attempts=1)),
        Subscription("orders", "fraud", stuck, retry=slow),
    ):
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(7)])
        wait_until(lambda: record() and settled() == (0, 7, 7))
    publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(150)])
    record()
    wait_until(lambda: lag_of("email") == 150)
    overview = queries.overview()
    groups = {group["group"]: group for group in overview["groups"]}
    assert overview["figures"]["dead"] == groups["stock"]["dead"] == 7
    assert overview["figures"]["behind"] == 3
    assert (groups["fraud"]["waiting"], groups["fraud"]["pending"], groups["fraud"]["lag"]) == (150, 7, 157)
    assert [topic["topic"] for topic in overview["topics"]] == ["mail", "orders"]
    assert overview["topics"][1]["total"] == 157
    assert overview["topics"][1]["rate"] > 1
    assert overview["edges"]["publishes"] == [
        {
            "group": "email",
            "from_topic": "orders",
            "topic": "mail",
            "total": 7,
            "rate": overview["edges"]["publishes"][0]["rate"],
        }
    ]
    assert {edge["topic"] for edge in overview["edges"]["sources"]} == {"orders"}, (
        "what a group publishes has no source"
    )
    kinds = {happening["kind"] for happening in overview["recent"]}
    assert kinds == {"dead_lettered", "retry_scheduled", "subscribed"} or kinds == {"dead_lettered", "retry_scheduled"}
    assert len(overview["recent"]) <= 20


def settled() -> tuple[int | None, int | None, int | None]:
    """What email has pending, stock has dead and fraud retries."""
    groups = {group["group"]: group for group in queries.overview()["groups"]}
    return groups["email"]["lag"], groups["stock"]["dead"], groups["fraud"]["retrying"]


def lag_of(name: str) -> int | None:
    lags: dict[str, int | None] = {group["group"]: group["lag"] for group in queries.overview()["groups"]}
    return lags[name]


def test_without_a_server_nothing_is_claimed(db: None, config: bus.Config) -> None:
    recorded = Recorded()
    recorded.subscribe("email")
    recorded.publish(3)
    bus.configure(url="unix:///nowhere/server.sock", data_folder=config.data_folder)
    overview = queries.overview()
    assert not overview["server"]["available"]
    assert (overview["groups"][0]["lag"], overview["groups"][0]["dead"]) == (None, None)
    assert overview["topics"][0]["total"] == 3


def test_a_group_of_strangers_is_shown_too(bus_client: Client, publisher: Publisher, record: Record) -> None:
    publisher.publish(publisher.draft("orders", "t", 1))
    keys = Keys(bus_client.config.prefix, "orders", 0)
    create = (b"XGROUP", b"CREATE", keys.events, b"by hand \xff", b"0")
    bus_client.run(Operation([create], lambda replies: replies[0]))
    record()
    groups = queries.overview()["groups"]
    assert [(group["waiting"], group["workers"]) for group in groups] == [(1, 0)]


def test_rates_are_those_of_whoever_counted_more() -> None:
    series = Series(PUBLISHED, "", "orders")
    now = bucket_of(NOW_MS)
    recorded = Rates([(series, now - 1, 10), (series, now - 2, 8)])
    live = Rates([(series, now - 1, 4), (series, now - 2, 20)])
    both = recorded.merged(live)
    assert both.spark(series, NOW_MS)[-2:] == [20, 10]
    assert both.rate(series, NOW_MS) == pytest.approx(3.0)
    both.drop_before(now + 1)
    assert both.rate(series, NOW_MS) == 0


def test_where_a_page_has_read_to_survives_the_browser() -> None:
    positions = {0: Position("5-1", "6-0"), 12: Position("0-0", "7-7")}
    assert cursors.decode(cursors.encode(positions)) == positions
    assert cursors.decode("") == {}


@pytest.mark.parametrize(
    "text", ["0=1-1", "0=1-1/2-2;", "x=1-1/1-1", "0=1-1/1-1\n", None, 5, "0=" + "9" * 99 + "-1/1-1"]
)
def test_a_cursor_of_somebody_elses_making_is_refused(text: object) -> None:
    assert cursors.decode(text) is None
