"""Hold: deliveries stop at a breakpoint before their handler, each once, and nothing else does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bus import control, fsck, hold, inspect, operations, pending
from bus.conditions import ANY, Condition, Value, holds
from bus.errors import GroupInvalid, HoldInvalid
from bus.event import Event
from bus.hold import Holding
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.pending import Chosen
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.wire import Operation
from tests.bus.conftest import journal_of, steps_of
from tests.conftest import RunWorker, WaitUntil

BAD = [Condition("payload", "<", [Value("0", 0)], path=["total"])]  # payload.total<0
WORKER = """
import sys
import bus
from bus.config import Config
from bus.subscription import Registry, Subscription
from bus.worker import Worker
registry = Registry()
registry.add(Subscription("orders", "email", lambda event: None))
Worker(Config(url=sys.argv[1], data_folder=sys.argv[2], prefix=sys.argv[3], lease_seconds=1), registry=registry).run()
"""


@pytest.fixture
def keys(client: Client) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    return made


class Seen:
    """A handler that remembers."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.attempts: list[tuple[int, int]] = []

    def __call__(self, event: Event) -> None:
        self.totals.append(event.data["total"])
        self.attempts.append((event.attempt, event.attempts_before))


def on(handler: object, **options: object) -> Subscription:
    return Subscription("orders", "email", handler, **{"retry": Retry(attempts=1), **options})  # type: ignore[arg-type]


def publish(publisher: Publisher, *totals: int, key: str | None = None, type: str = "t") -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", type, {"total": n}, key=key) for n in totals])


def begin(client: Client, keys: Keys, limit: int = 10, seconds: int = 900) -> None:
    asked = hold.hold(keys, "email", BAD, text="payload.total<0", who="ann", limit=limit, seconds=seconds)
    assert client.run(asked)


def state(client: Client, keys: Keys) -> Holding:
    found = client.run(hold.state(keys, "email"))
    assert found is not None
    return found


def chosen(client: Client, keys: Keys) -> list[Chosen]:
    return [Chosen(one.entry, one.attempt) for one in state(client, keys).held]


def is_sound(client: Client) -> bool:
    return list(fsck.check(client)) == []


@pytest.mark.parametrize("options", [{}, {"ordered": True}, {"concurrency": 4}])
def test_what_fits_stops_before_its_handler_and_all_else_goes_on(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil,
    options: dict[str, object],
) -> None:  # fmt: skip
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen, **options)):
        (bad,) = publish(publisher, -1, key="o-1")
        publish(publisher, *range(200), key="o-2")
        wait_until(lambda: len(seen.totals) == 200)
        assert sorted(seen.totals) == list(range(200))
        assert [one.entry for one in state(client, keys).held] == [bad.entry]
        assert is_sound(client)
    assert [one.entry for one in state(client, keys).held] == [bad.entry], "it is nobody's who could give it back"
    assert [s for s in steps_of(client, "orders") if s != "delivered"].count("held") == 1


def test_later_events_of_a_held_key_wait_in_an_ordered_group_and_follow_in_order(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen, ordered=True)):
        publish(publisher, 1, -1, 2, 3, key="o-1")
        publish(publisher, 10, key="o-2")
        wait_until(lambda: sorted(seen.totals) == [1, 10] and state(client, keys).held)
        assert client.run(pending.release(keys, "email", chosen(client, keys), who="ann")).done == 1
        wait_until(lambda: len(seen.totals) == 5)
        assert [n for n in seen.totals if n != 10] == [1, -1, 2, 3]
        wait_until(lambda: is_sound(client))
    assert (2, 1) in seen.attempts, "a new fencing token, and the attempt that never was does not count"


def test_what_is_run_stops_no_second_time_even_when_it_is_attempted_again(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    attempts: list[int] = []

    def fail_once(event: Event) -> None:
        attempts.append(event.attempt)
        if len(attempts) == 1:
            raise ValueError

    begin(client, keys)
    with run_worker(on(fail_once, retry=Retry(attempts=2, base_seconds=0.01))):
        publish(publisher, -1)
        wait_until(lambda: state(client, keys).held)
        client.run(pending.release(keys, "email", chosen(client, keys), who="ann"))
        wait_until(lambda: "succeeded" in steps_of(client, "orders"))
    told = [step for step in steps_of(client, "orders") if step != "delivered"]
    assert told == ["held", "released", "retry_scheduled", "succeeded"]
    assert next(entry.worker for entry in journal_of(client, "orders") if entry.worker == "ann")


def test_what_is_skipped_is_never_handled_and_its_key_passes_on(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen, ordered=True)):
        publish(publisher, -1, 2, key="o-1")
        wait_until(lambda: state(client, keys).held)
        which = chosen(client, keys)
        assert client.run(pending.skip(keys, "email", which, who="ann")).done == 1
        assert client.run(pending.skip(keys, "email", which, who="ann")).done == 0
        wait_until(lambda: seen.totals == [2])
        wait_until(lambda: is_sound(client))
    assert steps_of(client, "orders").count("skipped") == 1


def test_no_more_than_the_limit_stop(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys, limit=2)
    with run_worker(on(seen)):
        publish(publisher, -1, -2, -3, -4)
        wait_until(lambda: seen.totals == [-3, -4])
        client.run(pending.release(keys, "email", chosen(client, keys), who="ann"))
        wait_until(lambda: len(seen.totals) == 4)
        publish(publisher, -5)
        wait_until(lambda: -5 in seen.totals)
    assert state(client, keys).stopped == 2, "what was let go does not make room"


def test_removing_the_breakpoint_lets_go_what_it_holds(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen)):
        publish(publisher, -1, -2)
        wait_until(lambda: len(state(client, keys).held) == 2)
        assert client.run(hold.unhold(keys, "email", who="ann", reason="seen")) == 2
        assert client.run(hold.unhold(keys, "email", who="ann")) is None
        wait_until(lambda: sorted(seen.totals) == [-2, -1])
        assert seen.attempts == [(2, 1)] * 2, "the attempt that never was does not count"
        publish(publisher, -3)
        wait_until(lambda: -3 in seen.totals)
    kinds = [entry.control.kind for entry in journal_of(client, "orders") if entry.control]
    assert kinds == ["hold_began", "hold_ended"]
    assert client.run(hold.state(keys, "email")) is None
    assert is_sound(client)


def test_a_worker_lets_go_what_is_held_when_the_time_is_over(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys, seconds=1)
    with run_worker(on(seen)):
        publish(publisher, -1)
        wait_until(lambda: seen.totals == [-1])
    assert "held" in steps_of(client, "orders")
    kinds = [entry.control.kind for entry in journal_of(client, "orders") if entry.control]
    assert kinds == ["hold_began", "hold_expired"]


def test_what_is_held_outlives_a_worker_that_is_killed_and_others_do_not_reclaim_it(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil, tmp_path: Path
) -> None:
    begin(client, keys)
    place = [client.config.url, str(tmp_path), client.config.prefix]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *map(str, place)])
    try:
        (bad,) = publish(publisher, -1)
        wait_until(lambda: state(client, keys).held, seconds=30)
    finally:
        worker.kill()
        worker.wait()
    seen = Seen()
    with run_worker(on(seen)):
        wait_until(lambda: [w for w in client.run(inspect.workers(client.config.prefix)) if not w.alive], seconds=30)
        client.run(control.pause(keys, "email", who="ann"))
        client.run(control.resume(keys, "email", who="ann"))
        publish(publisher, 7)
        wait_until(lambda: seen.totals == [7])
        assert client.run(operations.owners(keys, "email")) == []
        assert [one.entry for one in state(client, keys).held] == [bad.entry]
        client.run(pending.release(keys, "email", chosen(client, keys), who="ann"))
        wait_until(lambda: seen.totals == [7, -1])
    assert steps_of(client, "orders").count("reclaimed") == 0


def test_another_group_and_types_that_are_not_taken_know_nothing_of_it(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen, other = Seen(), Seen()
    begin(client, keys)
    with run_worker(on(seen, types=frozenset({"t"})), Subscription("orders", "stock", other, start="earliest")):
        publish(publisher, -1, type="other")
        publish(publisher, 1)
        wait_until(lambda: seen.totals == [1] and other.totals == [-1, 1])
    assert state(client, keys).stopped == 0


def test_there_is_one_breakpoint_and_asked_for_twice_it_is_there_once(client: Client, keys: Keys) -> None:
    asked = hold.hold(keys, "email", BAD, text="x", who="ann", id="b1")
    assert client.run(asked)
    assert client.run(asked)
    assert not client.run(hold.hold(keys, "email", BAD, text="x", who="bob"))
    assert [entry.control.who for entry in journal_of(client, "orders") if entry.control] == ["ann"]
    found = client.run(inspect.groups(keys.prefix, [("orders", 0)]))
    (state,) = client.run(inspect.details(keys.prefix, found))
    assert state.breakpoint is not None
    assert (state.breakpoint.who, state.breakpoint.limit, state.stopped) == ("ann", hold.DEFAULT_LIMIT, 0)


def test_what_is_held_without_a_breakpoint_is_found_and_mended(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen)):
        publish(publisher, -1)
        wait_until(lambda: state(client, keys).held)
        client.run(Operation([(b"HDEL", keys.meta, b"hold:email")], lambda _: None))
        (problem,) = fsck.check(client)
        assert "no breakpoint" in str(problem)
        list(fsck.check(client, repair=True))
        wait_until(lambda: seen.totals == [-1])
    assert is_sound(client)


def test_a_group_that_is_moved_back_gets_what_was_held_anew(
    client: Client, keys: Keys, publisher: Publisher, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    seen = Seen()
    begin(client, keys)
    with run_worker(on(seen)):
        publish(publisher, -1)
        wait_until(lambda: state(client, keys).held)
        control.move(client, keys, "email", "0-0", who="ann")
        wait_until(lambda: seen.totals == [-1])
    assert state(client, keys).held == []
    assert is_sound(client)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 501}, {"seconds": 0}, {"seconds": 86_401}])
def test_limit_and_time_are_bounded(keys: Keys, wrong: dict[str, int]) -> None:
    with pytest.raises(HoldInvalid, match="expected"):
        hold.hold(keys, "email", BAD, text="x", who="ann", **wrong)  # type: ignore[arg-type]


def test_a_group_or_a_field_that_is_not_there_is_an_error(client: Client, keys: Keys) -> None:
    with pytest.raises(GroupInvalid):
        client.run(hold.hold(keys, "nobody", BAD, text="x", who="ann"))
    with pytest.raises(HoldInvalid, match="state"):
        hold.hold(keys, "email", [Condition("state", ":", [Value("dead")])], text="x", who="ann")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Condition("type", ":", [Value("t"), Value("u")]), True),
        (Condition("type", "!=", [Value("t")]), False),
        (Condition("key", ":", [Value("o-1")], is_negated=True), False),
        (Condition("payload", "<", [Value("0", 0)], path=["total"]), True),
        (Condition("payload", ">=", [Value("0", 0)], path=["total"]), False),
        (Condition("payload", ":", [Value("A1")], path=["items", ANY, "sku"]), True),
        (Condition("payload", ":", [Value("A1")], path=["items", 1, "sku"]), False),
        (Condition("payload", ":", [Value("true")], path=["paid"]), True),
        (Condition("payload", ":", [Value("null")], path=["gone"]), False),
        (Condition("header", ":", [Value("acme")], path=["tenant"]), True),
        (Condition("size", ">", [Value("10", 10)]), True),
        (Condition("of-a-later-version", ":", [Value("x")]), False),
    ],
)
def test_a_condition_compares_as_the_query_language_does(condition: Condition, expected: bool) -> None:
    raw = b'{"total":-5,"items":[{"sku":"A1"},{"sku":"B2"}],"paid":true}'
    event = Event(id="e", topic="orders", type="t", raw=raw, key="o-1", headers={"tenant": "acme"})
    assert holds([condition], event) is expected


def test_data_that_is_no_json_fits_no_condition_on_it() -> None:
    event = Event(id="e", topic="orders", type="t", raw=b"\xff{")
    assert not holds(BAD, event)
    assert not holds([Condition("payload", "!=", [Value("1", 1)], is_negated=True, path=["a"])], event)
