"""A cycle in trouble: what a lost reply left under its name is given back before anything else is taken."""

from __future__ import annotations

import asyncio

import pytest

from bus.event import Event
from bus.journal import Step
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.wire import Operation
from tests.bus.conftest import records_of, steps_of
from tests.bus.swallower import Swallower
from tests.conftest import RunWorker, WaitUntil


def test_events_whose_reply_was_lost_are_handled_although_the_worker_lives_on(
    run_worker: RunWorker, publisher: Publisher, client: Client, swallower: Swallower, wait_until: WaitUntil
) -> None:
    seen: list[Event] = []
    subscription = Subscription("orders", "email", seen.append, retry=Retry(attempts=1))
    with run_worker(subscription, url=swallower.url, lease_seconds=600):
        for number in range(3):
            swallower.swallow.set()  # the server hands events out, and nobody hears of it
            publisher.publish_many([publisher.draft("orders", "t", number) for _ in range(20)])
            wait_until(lambda: swallower.swallowed, seconds=20)
            swallower.refusals = 1  # and what would give it back does not reach the server
            swallower.swallow.clear()
            swallower.swallowed = 0
            wait_until(lambda n=number: len({event.entry for event in seen}) == 20 * (n + 1), seconds=20)
    settled = [step for step in steps_of(client, "orders") if step == "succeeded"]
    assert len(settled) == 60


def fill(publisher: Publisher, count: int) -> None:
    for first in range(0, count, 500):
        publisher.publish_many([publisher.draft("orders", "t", n) for n in range(first, min(first + 500, count))])


@pytest.mark.parametrize("lost_at", [450, 1_000])
def test_replies_that_are_lost_while_the_next_batch_is_taken_ahead_lose_and_repeat_nothing(
    run_worker: RunWorker,
    publisher: Publisher,
    client: Client,
    swallower: Swallower,
    wait_until: WaitUntil,
    lost_at: int,
) -> None:
    fill(publisher, 1_500)
    seen: list[str] = []

    def handler(event: Event) -> None:
        seen.append(event.entry)
        if len(seen) == lost_at:
            swallower.lose = 2  # of what settles these and takes the next, and of what is asked instead

    with run_worker(Subscription("orders", "email", handler, start="earliest"), url=swallower.url, lease_seconds=600):
        wait_until(lambda: len(set(seen)) == 1_500, seconds=30)
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 1_500, seconds=30)
    assert swallower.swallowed == 2
    assert len({(r.entry, r.attempt) for r in records_of(client, "orders") if r.step == Step.SUCCEEDED}) == 1_500
    assert pending(client, publisher) == 0


def test_a_worker_that_stops_gives_back_what_it_took_ahead(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    fill(publisher, 1_500)
    seen: list[str] = []

    def handler(event: Event) -> None:
        seen.append(event.entry)
        if len(seen) == 450:
            worker.stop()

    subscription = Subscription("orders", "email", handler, start="earliest")
    with run_worker(subscription) as worker:
        wait_until(lambda: len(seen) == 450)
    assert steps_of(client, "orders").count("succeeded") == 450
    with run_worker(subscription):
        wait_until(lambda: steps_of(client, "orders").count("succeeded") == 1_500, seconds=30)
    assert len(set(seen)) == len(seen) == 1_500


def test_an_async_handler_that_cancels_its_own_task_harms_no_other_event(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    async def handler(event: Event) -> None:
        task = asyncio.current_task()
        assert task
        if event.data % 3 == 0:
            task.cancel()  # it is cancelled when it waits for something next, and it never does

    for concurrency in (1, 4):
        with run_worker(Subscription("orders", f"g{concurrency}", handler, concurrency=concurrency)):
            publisher.publish_many([publisher.draft("orders", "t", n) for n in range(20)])
            wait_until(lambda: steps_of(client, "orders").count("succeeded") == 20, seconds=20)
        client.run(Operation([(b"DEL", Keys(publisher.config.prefix, "orders", 0).journal)], len))


def pending(client: Client, publisher: Publisher) -> int:
    keys = Keys(publisher.config.prefix, "orders", 0)
    return int(client.run(Operation([(b"XPENDING", keys.events, b"email")], lambda replies: replies[0][0])))
