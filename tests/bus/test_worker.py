"""A worker against a real server: what it runs, retries, gives up, gives back and takes over."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from bus import inspect, operations
from bus.context import current
from bus.errors import SubscriptionInvalid
from bus.event import Cause, Event
from bus.journal import Step, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Registry, Retry, Subscription
from bus.wire import Operation
from bus.worker import Worker
from tests.bus.conftest import records_of, steps_of
from tests.conftest import RunWorker, WaitUntil

QUICK = Retry(attempts=3, base_seconds=0.01)


class Seen:
    """A handler that remembers, and does what it is told first."""

    def __init__(self, act: Callable[[Event], object] = lambda _: None) -> None:
        self.events: list[Event] = []
        self._act = act

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._act(event)


def fail(event: Event) -> None:
    raise ValueError(f"no mail for {event.key}")


def on(handler: Callable[[Event], object], group: str = "email", **options: object) -> Subscription:
    options.setdefault("retry", QUICK)
    return Subscription("orders", group, handler, **options)  # type: ignore[arg-type]  # by name


def test_every_group_gets_every_event_once(run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil) -> None:
    email, stock = Seen(), Seen()
    with run_worker(on(email), on(stock, "stock")):
        drafts = [publisher.draft("orders", "order_placed", n, key=f"o-{n}") for n in range(700)]
        published = [event.entry for event in publisher.publish_many(drafts)]
        wait_until(lambda: len(email.events) == len(stock.events) == 700)
    assert [event.entry for event in email.events] == published
    assert [event.entry for event in stock.events] == published
    assert {event.attempt for event in email.events} == {1}


def test_a_group_gets_only_the_types_it_asked_for(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    seen = Seen()
    with run_worker(on(seen, types=frozenset({"order_placed"}))):
        publisher.publish(publisher.draft("orders", "order_shipped", 1))
        publisher.publish(publisher.draft("orders", "order_placed", 2))
        wait_until(lambda: sorted(steps_of(client, "orders")) == ["skipped", "succeeded"])
    assert [event.type for event in seen.events] == ["order_placed"]


def test_what_a_handler_publishes_knows_its_cause(
    run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil
) -> None:
    caused: list[Event] = []
    seen = Seen(lambda _: caused.append(publisher.publish(publisher.draft("mail", "mail_sent", {}))))
    with run_worker(on(seen)):
        first = publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: caused)
    assert caused[0].correlation_id == first.correlation_id
    assert caused[0].cause
    assert caused[0].cause == Cause(first.id, "email", 1, "orders")
    assert current.get() is None


def test_a_failing_delivery_is_retried_and_then_dead_lettered(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    seen = Seen(fail)
    with run_worker(on(seen)):
        publisher.publish(publisher.draft("orders", "order_placed", {}, key="o-1"))
        wait_until(lambda: "dead_lettered" in steps_of(client, "orders"))
    assert [event.attempt for event in seen.events] == [1, 2, 3]
    assert steps_of(client, "orders") == ["retry_scheduled", "retry_scheduled", "dead_lettered"]
    failure = records_of(client, "orders")[-1].failure
    assert failure
    assert (failure.error_class, failure.message) == ("ValueError", "no mail for o-1")
    assert "in fail: raise ValueError" in failure.frame
    assert "delivery.py" not in failure.traceback


def test_an_error_that_can_never_heal_is_not_retried(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    with run_worker(on(Seen(fail), retry=Retry(fatal=(ValueError,)))):
        publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: steps_of(client, "orders") == ["dead_lettered"])


def test_data_that_is_not_json_is_dead_lettered_and_harms_no_neighbour(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    seen = Seen(lambda event: event.data)
    with run_worker(on(seen)):
        command = (b"XADD", Keys(client.config.prefix, "orders", 0).events, b"*", b"data", b"\xff{")
        client.run(Operation([command], lambda replies: replies[0]))
        publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: sorted(steps_of(client, "orders")) == ["dead_lettered", "succeeded"])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseException("x"), RecursionError()])
def test_whatever_a_handler_raises_ends_only_its_attempt(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil, error: BaseException
) -> None:
    def act(event: Event) -> None:
        if event.attempt == 1:
            raise error

    with run_worker(on(Seen(act))):
        publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: steps_of(client, "orders") == ["retry_scheduled", "succeeded"])


def test_async_handlers_run_as_many_at_once_as_told(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    running, most = 0, 0

    async def handler(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1

    with run_worker(on(handler, concurrency=4)):
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(12)])
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 12)
    assert most == 4


def test_sync_handlers_run_as_many_at_once_as_told(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    barrier = threading.Barrier(3, timeout=10)
    with run_worker(on(lambda _: barrier.wait(), concurrency=3)):
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(3)])
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 3)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_handler_that_runs_too_long_times_out(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil, is_async: bool
) -> None:
    async def wait(event: Event) -> None:
        await asyncio.Event().wait()

    def spin(event: Event) -> None:
        while True:
            pass

    with run_worker(on(wait if is_async else spin, timeout_seconds=0.1, retry=Retry(attempts=1))):
        publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: "dead_lettered" in steps_of(client, "orders"))
    failure = records_of(client, "orders")[-1].failure
    assert failure
    assert failure.error_class == "TimedOut"
    assert "timeout of 0.1 s" in failure.message


def test_a_slow_delivery_is_announced_while_it_runs(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    gate = threading.Event()
    with run_worker(on(Seen(lambda _: gate.wait(10)))):
        publisher.publish(publisher.draft("orders", "order_placed", {}))
        wait_until(lambda: steps_of(client, "orders") == ["delivered"])
        gate.set()
        wait_until(lambda: steps_of(client, "orders") == ["delivered", "succeeded"])


def test_lines_logged_by_a_handler_stay_with_its_attempt(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    def chatty(event: Event) -> None:
        logging.getLogger("shop").warning("mailing %s", event.key)

    with run_worker(on(chatty)):
        publisher.publish(publisher.draft("orders", "order_placed", {}, key="o-1"))
        wait_until(lambda: steps_of(client, "orders") == ["succeeded"])
    assert records_of(client, "orders")[0].log == ["WARNING shop: mailing o-1"]


def test_stopping_finishes_what_runs_and_gives_back_the_rest(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    gate = threading.Event()
    seen = Seen(lambda _: gate.wait(10))
    with run_worker(on(seen)) as worker:
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(5)])
        wait_until(lambda: seen.events)
        worker.stop()
        gate.set()
    steps = [step for step in steps_of(client, "orders") if step != "delivered"]
    assert steps == ["succeeded"] + ["released"] * (len(steps) - 1)
    with run_worker(on(seen)):
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 5)
    assert {event.attempt for event in seen.events} == {1}
    assert client.run(inspect.workers(client.config.prefix)) == []


def test_what_a_dead_worker_held_is_reclaimed(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    keys = Keys(client.config.prefix, "orders", 0)
    client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="gone"))
    event = publisher.publish(publisher.draft("orders", "order_placed", {}))
    client.run(operations.heartbeat(client.config.prefix, "gone", b'{"lease_ms":1}'))
    client.run(operations.take_new(keys, "email", "gone#0", count=1, block_ms=None))
    seen = Seen()
    with run_worker(on(seen)):
        wait_until(lambda: seen.events)
        wait_until(lambda: steps_of(client, "orders") == ["reclaimed", "succeeded"])
    assert (seen.events[0].entry, seen.events[0].attempt) == (event.entry, 2)


def test_a_group_that_somebody_removed_begins_again(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    seen = Seen()
    with run_worker(on(seen)):
        publisher.publish(publisher.draft("orders", "order_placed", 1))
        wait_until(lambda: len(seen.events) == 1)
        events = Keys(client.config.prefix, "orders", 0).events
        client.run(Operation([(b"DEL", events)], lambda replies: replies[0]))
        publisher.publish(publisher.draft("orders", "order_placed", 2))
        wait_until(lambda: [event.data for event in seen.events] == [1, 2])


def test_partitions_are_all_handled_and_a_key_stays_in_one(
    run_worker: RunWorker, publisher: Publisher, wait_until: WaitUntil
) -> None:
    publisher.declare("orders", 4)
    seen = Seen()
    with run_worker(on(seen)):
        publisher.publish_many([publisher.draft("orders", "t", n, key=f"k{n % 8}") for n in range(80)])
        wait_until(lambda: len(seen.events) == 80)
    places = {event.key: {other.partition for other in seen.events if other.key == event.key} for event in seen.events}
    assert all(len(partitions) == 1 for partitions in places.values())
    assert len({partition for partitions in places.values() for partition in partitions}) > 1


def test_a_worker_with_nothing_to_do_says_so(client: Client) -> None:
    with pytest.raises(SubscriptionInvalid, match="expected at least one subscription"):
        Worker(client.config, registry=Registry()).run()


def test_every_step_has_a_word() -> None:
    assert all(step.word == step.word.lower() for step in Step)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_slow_handler_leaves_the_other_places_free(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil, is_async: bool
) -> None:
    gate = threading.Event()

    def handler(event: Event) -> None:
        if event.data == 0:
            gate.wait(20)

    async def later(event: Event) -> None:
        await asyncio.to_thread(handler, event)

    with run_worker(on(later if is_async else handler, concurrency=2)):
        publisher.publish(publisher.draft("orders", "order_placed", 0))
        wait_until(lambda: "delivered" in steps_of(client, "orders"))
        for number in range(1, 30):
            publisher.publish(publisher.draft("orders", "order_placed", number))
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 29)
        gate.set()
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 30)


def test_stopping_waits_for_all_that_run_at_once(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    gate = threading.Event()
    with run_worker(on(lambda _: gate.wait(20), concurrency=3)) as worker:
        publisher.publish_many([publisher.draft("orders", "order_placed", n) for n in range(3)])
        wait_until(lambda: steps_of(client, "orders").count("delivered") == 3)
        worker.stop()
        gate.set()
    assert steps_of(client, "orders").count("succeeded") == 3


def test_what_a_strangers_consumer_held_is_taken_over_whatever_its_name(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    keys, seen = Keys(client.config.prefix, "orders", 0), Seen()
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    publisher.publish(publisher.draft("orders", "order_placed", 1))
    read = (b"XREADGROUP", b"GROUP", b"email", b"\xff\xfe", b"COUNT", b"1", b"STREAMS", keys.events, b">")
    client.run(Operation([read], len))
    with run_worker(on(seen)):
        wait_until(lambda: seen.events, seconds=20)
    assert seen.events[0].attempt == 2
