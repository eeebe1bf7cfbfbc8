"""A cycle in trouble: what a lost reply left under its name is given back before anything else is taken."""

from __future__ import annotations

from bus.event import Event
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from tests.bus.conftest import steps_of
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
