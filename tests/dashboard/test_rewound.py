"""A server that forgot what is recorded: it is noticed, said and marked, and the recorder goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from bus import operations
from bus.event import Event
from bus.journal import Record as Line
from bus.journal import Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation
from dashboard import queries
from dashboard.models import Attempt, Delivery, Partition, Rewind
from dashboard.models import Event as Stored
from dashboard.record.spans import Span, count_between, forgotten_at, step, stretches
from dashboard.recorder import Recorder
from tests.conftest import WaitUntil
from tests.dashboard.conftest import Record

TOPIC = "orders"
Copy = Callable[[], Callable[[], None]]


def run(client: Client, *commands: tuple[bytes, ...]) -> list[Any]:
    return client.run(Operation(list(commands), lambda replies: replies))


@pytest.fixture
def copy(bus_client: Client) -> Copy:
    """`restore = copy()` keeps all keys of the bus; `restore()` puts them back, as an older log of the server would."""

    def keep() -> Callable[[], None]:
        names = sorted(run(bus_client, (b"KEYS", f"*{bus_client.config.prefix}*".encode()))[0])
        dumps = [run(bus_client, (b"DUMP", name))[0] for name in names]

        def restore() -> None:
            present = run(bus_client, (b"KEYS", f"*{bus_client.config.prefix}*".encode()))[0]
            run(bus_client, (b"DEL", *present))
            for name, dump in zip(names, dumps, strict=True):
                run(bus_client, (b"RESTORE", name, b"0", dump))

        return restore

    return keep


@pytest.fixture
def keys(bus_client: Client) -> Keys:
    return Keys(bus_client.config.prefix, TOPIC, 0)


def publish(publisher: Publisher, count: int) -> list[Event]:
    return publisher.publish_many([publisher.draft(TOPIC, "order_placed", n) for n in range(count)])


def states(event_id: str) -> dict[str, str]:
    """Group → state of the event's lanes, as pages show them."""
    found = queries.event(event_id)
    assert found is not None
    return {lane["group"]: lane["state"] for lane in found["lanes"]}


def subscribe(client: Client, keys: Keys, group: str = "email") -> None:
    client.run(operations.subscribe(keys, group, SubscriptionRecord(), start="0-0", worker="w"))


def settle(client: Client, keys: Keys, count: int, step: Step = Step.SUCCEEDED, owner: str = "w#0") -> list[str]:
    """Take so many and end each of them. Result: their entries."""
    taken = client.run(operations.take_new(keys, "email", owner, count=count, block_ms=None)).events
    verdict = {Step.SUCCEEDED: b"a", Step.RETRY_SCHEDULED: b"r"}[step]
    lines = [Settlement(verdict, Line(step, event.entry, event.attempt, due_in_ms=60_000)) for event in taken]
    client.run(operations.settle(keys, "email", owner, lines, holds=count))
    return [event.entry for event in taken]


def test_events_that_the_server_forgot_are_marked_and_what_follows_is_recorded(
    publisher: Publisher, record: Record, copy: Copy, caplog: pytest.LogCaptureFixture
) -> None:
    kept = publish(publisher, 6)
    restore = copy()
    gone = publish(publisher, 4)
    record()
    restore()
    new = publish(publisher, 3)
    record()
    assert [line for line in caplog.messages if "rewound" in line and "4 events" in line]
    assert Stored.objects.count() == 13
    partition, rewind = Partition.objects.get(), Rewind.objects.get()
    assert (partition.epoch, rewind.first, rewind.last, partition.newest_number) == (1, 7, 10, 13)
    for event, is_forgotten in [(kept[5], False), (gone[0], True), (gone[3], True), (new[0], False)]:
        found = queries.event(event.id)
        assert found is not None
        assert (found["forgotten_ms"] == rewind.at_ms) == is_forgotten


def test_open_lanes_of_forgotten_events_are_lost_and_settled_ones_stay(
    bus_client: Client, publisher: Publisher, record: Record, copy: Copy, keys: Keys
) -> None:
    publish(publisher, 1)
    subscribe(bus_client, keys)
    restore = copy()
    done, retrying, waiting = publish(publisher, 3)
    settle(bus_client, keys, 2)
    settle(bus_client, keys, 1, Step.RETRY_SCHEDULED)
    waiting_too = publish(publisher, 1)[0]
    record()
    restore()
    record()
    shown = [states(event.id)["email"] for event in (done, retrying, waiting, waiting_too)]
    assert shown == ["succeeded", "lost", "lost", "lost"]
    assert Delivery.objects.get(event__event_id=retrying.id).state == "lost"


def test_what_the_server_forgot_of_events_that_it_has_is_recorded_as_it_happens_again(
    bus_client: Client, publisher: Publisher, record: Record, copy: Copy, keys: Keys
) -> None:
    first, second = publish(publisher, 2)
    subscribe(bus_client, keys)
    settle(bus_client, keys, 1)
    restore = copy()
    settle(bus_client, keys, 1)
    record()
    assert states(second.id) == {"email": "succeeded"}
    restore()
    record()
    assert (states(first.id), states(second.id)) == ({"email": "succeeded"}, {"email": "waiting"})
    settle(bus_client, keys, 1, Step.RETRY_SCHEDULED, owner="w#1")
    record()
    assert states(second.id) == {"email": "retrying"}
    assert Attempt.objects.filter(event__event_id=second.id).count() == 1
    assert Rewind.objects.get().last < Rewind.objects.get().first, "no event was forgotten"


def test_a_server_that_is_empty_forgets_everything_and_is_recorded_anew(
    bus_client: Client, publisher: Publisher, record: Record, keys: Keys
) -> None:
    subscribe(bus_client, keys)
    old = publish(publisher, 5)
    record()
    run(bus_client, (b"DEL", keys.events, keys.journal, keys.meta))
    subscribe(bus_client, keys)
    new = publish(publisher, 2)
    record()
    assert [states(event.id)["email"] for event in (*old, *new)] == ["lost"] * 5 + ["waiting"] * 2
    [group] = queries.overview()["groups"]
    assert group["waiting"] == 2


def test_a_failover_that_gave_ids_again_is_noticed_by_what_lies_at_them(
    bus_client: Client, record: Record, keys: Keys
) -> None:
    began_ms = int(time.time() * 1000) - 60_000

    def add(entry: int, event_id: str) -> tuple[bytes, ...]:
        return (b"XADD", keys.events, b"%d-1" % (began_ms + entry), b"id", event_id.encode(), b"type", b"t")

    bus_client.run(operations.declare_topic(bus_client.config.prefix, TOPIC, 1))
    run(bus_client, *(add(n, f"a-{n}") for n in range(1, 9)))
    record()
    run(
        bus_client, (b"DEL", keys.events), *(add(n, f"a-{n}") for n in range(1, 5)), *(add(n, f"b-{n}") for n in (5, 8))
    )
    run(bus_client, add(20, "b-20"))
    record()
    rewind = Rewind.objects.get()
    assert (rewind.first, rewind.last) == (5, 8)
    assert list(Stored.objects.order_by("id").values_list("event_id", flat=True)[8:]) == ["b-5", "b-8", "b-20"]
    subscribe(bus_client, keys)
    settle(bus_client, keys, 6)
    late = [Line(Step.DELIVERED, f"{began_ms + 6}-1", 1)]  # of an event that is forgotten
    bus_client.run(operations.announce(keys, "email", "w#0", late))
    another = Recorder(bus_client)
    another.turn()
    settled = Delivery.objects.filter(state="succeeded").values_list("event__event_id", flat=True)
    assert sorted(settled) == ["a-1", "a-2", "a-3", "a-4", "b-5", "b-8"], "not those whose ids were given again"
    assert not Delivery.objects.filter(event__event_id__in=["a-5", "a-6", "a-7", "a-8"]).exists()


def test_a_second_rewind_that_reaches_further_back_takes_the_first_one_in(
    bus_client: Client, publisher: Publisher, record: Record, copy: Copy, keys: Keys
) -> None:
    subscribe(bus_client, keys)
    publish(publisher, 3)
    older = copy()
    publish(publisher, 3)
    newer = copy()
    publish(publisher, 3)
    record()
    newer()
    publish(publisher, 2)
    record()
    assert [(r.first, r.last) for r in Rewind.objects.all()] == [(7, 9)]
    older()
    publish(publisher, 1)
    record()
    assert [(r.first, r.last) for r in Rewind.objects.all()] == [(4, 11)]
    [group] = queries.overview()["groups"]
    assert group["waiting"] == 4


def test_a_topic_trimmed_by_hand_is_not_called_rewound(
    bus_client: Client, publisher: Publisher, record: Record, keys: Keys
) -> None:
    publish(publisher, 5)
    record()
    run(bus_client, (b"XTRIM", keys.events, b"MAXLEN", b"0"))
    publish(publisher, 2)
    record()
    assert (Stored.objects.count(), Rewind.objects.count(), Partition.objects.get().epoch) == (7, 0, 0)


def test_a_rewind_is_noticed_while_nothing_new_comes(
    bus_client: Client, publisher: Publisher, record: Record, keys: Keys, wait_until: WaitUntil
) -> None:
    publish(publisher, 5)
    recorder = Recorder(bus_client)
    wait_until(lambda: turned(recorder) and Stored.objects.count() == 5)
    run(bus_client, (b"DEL", keys.events))
    wait_until(lambda: turned(recorder) and Rewind.objects.exists(), seconds=20)


def test_pages_say_that_the_server_forgot_an_event(
    bus_client: Client, publisher: Publisher, record: Record, keys: Keys
) -> None:
    subscribe(bus_client, keys)
    [event] = publish(publisher, 1)
    record()
    run(bus_client, (b"DEL", keys.events))
    Recorder(bus_client).turn()
    reader = Browser()
    reader.force_login(User.objects.create_user("ann"))
    trace = reader.get(reverse("trace", args=[event.correlation_id])).content.decode()
    assert "The server forgot this event" in trace
    assert "the server was rewound and forgot the event" in trace
    listing = reader.get(reverse("trace-list", args=[event.correlation_id])).content.decode()
    assert "the server was rewound and forgot this event" in listing
    topic = reader.get(reverse("topic", args=[TOPIC])).content.decode()
    assert "email: Lost" in topic
    assert ">forgotten<" in topic


def turned(recorder: Recorder) -> bool:
    recorder.turn()
    return True


def test_lost_lanes_are_found_by_the_topic_pages_filter(
    bus_client: Client, publisher: Publisher, record: Record, keys: Keys
) -> None:
    subscribe(bus_client, keys)
    publish(publisher, 3)
    record()
    assert Delivery.objects.count() == 0
    run(bus_client, (b"DEL", keys.events))
    record()
    Recorder(bus_client).turn()
    assert len(queries.search(queries.parse("state:lost"), topic=TOPIC)["rows"]) == 3


numbers = st.integers(0, 40)


@given(cuts=st.sets(numbers, max_size=12), after=numbers, to=numbers, count=st.integers(0, 10))
def test_spans_count_as_a_plain_list_of_numbers_does(cuts: set[int], after: int, to: int, count: int) -> None:
    edges = sorted(cuts)
    spans = [Span(first, last - 1, 7) for first, last in zip(edges[::2], edges[1::2], strict=False)]
    forgotten = {number for number in range(100) if forgotten_at(spans, number) is not None}
    assert forgotten == {number for span in spans for number in range(span.first, span.last + 1)}
    assert count_between(spans, after, to) == len(forgotten & set(range(after + 1, to + 1)))
    there = [number for number in range(after + 1, 100) if number not in forgotten]
    assert step(spans, after, count) >= after
    if count:
        assert step(spans, after, count) == there[count - 1]
    told = [number for first, last in stretches(spans, after, to) for number in range(first, last + 1)]
    assert sorted(told) == [number for number in range(after + 1, to + 1) if number not in forgotten]
