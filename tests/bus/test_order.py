"""Order per key: any worker may take any key, a failing key blocks only itself, nothing is left behind."""

from __future__ import annotations

import random
import threading
from collections import defaultdict

import pytest
from msgspec.structs import replace

from bus import operations
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.wire import Operation
from tests.bus.conftest import steps_of
from tests.bus.test_operations import Ending, dead, length, pending, retry, settle, succeeded
from tests.conftest import RunWorker, WaitUntil

GROUP = "email"


@pytest.fixture
def keys(client: Client) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.subscribe(made, GROUP, SubscriptionRecord(ordered=True), start="0-0", worker="w"))
    return made


def take(client: Client, keys: Keys, owner: str = "w#0") -> list[Event]:
    return client.run(operations.take_ordered(keys, GROUP, owner, count=100)).events


def put(publisher: Publisher, *names: str | None) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "t", n, key=key) for n, key in enumerate(names)])


def ordered(settlement: operations.Settlement, key: str | None) -> operations.Settlement:
    return replace(settlement, key=key or "")


def test_of_one_key_only_the_oldest_is_taken(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a", "b", None, None, "a")
    assert [event.data for event in take(client, keys)] == [0, 2, 3, 4]
    assert take(client, keys, "other#0") == []


@pytest.mark.parametrize("ending", [succeeded, dead])
def test_a_key_passes_to_its_next_event_when_one_leaves_the_group(
    client: Client, keys: Keys, publisher: Publisher, ending: Ending
) -> None:
    put(publisher, "a", "a", "a")
    for number in range(3):
        [event] = take(client, keys, "other#0")
        assert (event.data, event.attempt) == (number, 1)
        settle(client, keys, ordered(ending(event), "a"), owner="other#0")
    assert pending(client, keys) == 0
    assert length(client, keys.busy(GROUP), b"HLEN") == length(client, keys.parked(GROUP), b"ZCARD") == 0


def test_a_key_that_waits_for_its_retry_blocks_only_itself(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a", "b")
    first, _ = take(client, keys)
    settle(client, keys, ordered(retry(first, 60_000), "a"))
    put(publisher, "a", "b", "c")
    assert [event.key for event in take(client, keys)] == ["c"]


def test_a_stale_settle_frees_no_key(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a")
    [event] = take(client, keys)
    client.run(operations.reclaim(keys, GROUP, "other", {"w#0": 0}, max_crashes=3))
    assert settle(client, keys, ordered(succeeded(event), "a")) == {event.entry}
    assert [(event.data, event.attempt) for event in take(client, keys, "other#0")] == [(0, 2)]


def test_what_a_dead_worker_held_stays_the_oldest_of_its_key(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a")
    take(client, keys)
    client.run(operations.release(keys, GROUP, "w#0"))
    assert [event.data for event in take(client, keys, "w#1")] == [0]


def test_a_crash_loop_frees_its_key(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a")
    take(client, keys)
    client.run(operations.reclaim(keys, GROUP, "other", {"w#0": 0}, max_crashes=1))
    assert [event.data for event in take(client, keys)] == [1]


def test_a_key_whose_event_is_gone_is_freed(client: Client, keys: Keys, publisher: Publisher) -> None:
    put(publisher, "a", "a")
    [event] = take(client, keys)
    settle(client, keys, ordered(retry(event), "a"))
    client.run(Operation([(b"XDEL", keys.events, event.entry.encode())], lambda replies: replies[0]))
    take(client, keys)
    assert [event.data for event in take(client, keys)] == [1]
    assert "lost" in steps_of(client, "orders")


def test_keys_of_any_bytes_keep_their_order(client: Client, keys: Keys, publisher: Publisher) -> None:
    names = [":", ";", "a:b", "a\nb", "ä", "{x}", " "]
    put(publisher, *names, *names)
    for _ in range(2):
        taken = take(client, keys)
        assert {event.key for event in taken} == set(names)
        settle(client, keys, *(ordered(succeeded(event), event.key) for event in taken))
    assert pending(client, keys) == 0


def test_too_many_waiting_entries_stop_new_reads_and_lose_nothing(
    client: Client, keys: Keys, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MAX_WAITING", 3)
    put(publisher, *["a"] * 5, "b")
    done = []
    for _ in range(12):
        for event in client.run(operations.take_ordered(keys, GROUP, "w#0", count=2)).events:
            assert length(client, keys.parked(GROUP), b"ZCARD") <= 4
            done.append(event.data)
            settle(client, keys, ordered(succeeded(event), event.key))
    assert sorted(done) == [0, 1, 2, 3, 4, 5]
    assert [number for number in done if number < 5] == [0, 1, 2, 3, 4]


def test_three_workers_and_a_flaky_handler_keep_every_key_in_order(
    run_worker: RunWorker, publisher: Publisher, client: Client, wait_until: WaitUntil
) -> None:
    effects: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    lock, dice = threading.Lock(), random.Random(7)

    def handler(event: Event) -> None:
        key = str(event.key)
        with lock:
            assert key not in running, "two workers run the same key at once"
            running.add(key)
            fails = dice.random() < 0.1
        try:
            if fails:
                raise ValueError("flaky")
            effects[key].append(event.data)
        finally:
            with lock:
                running.discard(key)

    retries = Retry(attempts=50, base_seconds=0.01, cap_seconds=0.02)
    subscription = Subscription("orders", GROUP, handler, ordered=True, retry=retries, concurrency=2)
    with run_worker(subscription), run_worker(subscription), run_worker(subscription):
        drafts = [publisher.draft("orders", "t", n, key=f"k{n % 10}") for n in range(600)]
        publisher.publish_many(drafts)
        wait_until(lambda: sum(map(len, effects.values())) == 600, seconds=30)
    assert {key: list(numbers) for key, numbers in effects.items()} == {
        f"k{k}": list(range(k, 600, 10)) for k in range(10)
    }
    assert "dead_lettered" not in steps_of(client, "orders")
