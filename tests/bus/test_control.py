"""What an operator does to a group, while its workers run: pause, resume, move, discard, and keys that halt."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

import bus
from bus import control, fsck, operations, positions
from bus.errors import GroupBusy, GroupInvalid, PositionInvalid, SubscriptionInvalid
from bus.event import Event
from bus.journal import Control, SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Registry, Retry, Subscription
from bus.testing import drain
from bus.wire import Operation
from tests.bus.conftest import journal_of, steps_of
from tests.conftest import RunWorker, WaitUntil

ONCE = Retry(attempts=1)
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


@pytest.fixture
def keys(client: Client) -> Keys:
    made = Keys(client.config.prefix, "orders", 0)
    client.run(operations.declare_topic(client.config.prefix, "orders", 1))
    client.run(operations.subscribe(made, "email", SubscriptionRecord(), start="0-0", worker="w"))
    return made


def publish(publisher: Publisher, *numbers: int, key: str | None = None) -> list[Event]:
    return publisher.publish_many([publisher.draft("orders", "t", n, key=key) for n in numbers])


class Seen:
    """A handler that remembers; it waits while `gate` is shut, and fails for `bad` numbers."""

    def __init__(self, *bad: int) -> None:
        self.numbers: list[int] = []
        self.running = 0
        self.gate = threading.Event()
        self.gate.set()
        self.bad = set(bad)

    def __call__(self, event: Event) -> None:
        self.running += 1
        assert self.gate.wait(20)
        self.running -= 1
        if event.data in self.bad:
            raise ValueError(event.data)
        self.numbers.append(event.data)


def on(handler: Seen, **options: object) -> Subscription:
    return Subscription("orders", "email", handler, **{"retry": ONCE, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_paused_group_takes_nothing_and_goes_on_where_it_was(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil, ordered: bool
) -> None:
    seen = Seen()
    with run_worker(on(seen, ordered=ordered)):
        publish(publisher, 0)
        wait_until(lambda: seen.numbers == [0])
        assert client.run(control.pause(keys, "email", who="ann", reason="deploy"))
        assert not client.run(control.pause(keys, "email", who="bob"))
        assert client.run(control.paused_by(keys, "email")) == "ann"
        publish(publisher, 1, 2, 3)
        # The proof that it has noticed: it holds no entry although it was handed some, or has read none.
        wait_until(lambda: "paused" in [c.kind for c in controls(client)] and not held(client, keys))
        other = Seen()
        with run_worker(Subscription("orders", "other", other, start="earliest")):
            wait_until(lambda: other.numbers == [0, 1, 2, 3])
        assert seen.numbers == [0]
        assert client.run(control.resume(keys, "email", who="ann"))
        wait_until(lambda: seen.numbers == [0, 1, 2, 3])
    assert client.run(control.paused_by(keys, "email")) is None
    assert controls(client)[0] == Control("paused", "ann", "deploy")
    assert [c.kind for c in controls(client)] == ["paused", "resumed"]
    assert list(fsck.check(client)) == []


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_runs_while_its_group_is_paused_ends_well(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil, concurrency: int
) -> None:
    seen = Seen()
    seen.gate.clear()
    with run_worker(on(seen, concurrency=concurrency)):
        publish(publisher, *range(10))
        wait_until(lambda: seen.running == concurrency)
        client.run(control.pause(keys, "email", who="ann"))
        seen.gate.set()
        wait_until(lambda: not held(client, keys))
        ended = len(seen.numbers)
        assert ended >= concurrency
        assert steps_of(client, "orders").count("succeeded") == ended
        client.run(control.resume(keys, "email", who="ann"))
        wait_until(lambda: len(seen.numbers) == 10)
    assert sorted(seen.numbers) == list(range(10))


def test_moving_a_group_back_while_its_worker_runs_delivers_anew(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil
) -> None:
    seen = Seen(3)
    with run_worker(on(seen)):
        events = publish(publisher, *range(6))
        wait_until(lambda: len(seen.numbers) == 5)
        wait_until(lambda: len(client.run(operations.dead_letters(keys, "email"))) == 1)
        seen.bad.clear()
        moved = control.move(client, keys, "email", events[1].entry, who="ann", reason="prices were wrong")
        assert moved == control.Moved(events[5].entry, events[1].entry, 1)
        wait_until(lambda: seen.numbers == [0, 1, 2, 4, 5, 2, 3, 4, 5])
        wait_until(lambda: not client.run(operations.owners(keys, "email")))
    assert client.run(operations.dead_letters(keys, "email")) == []
    rewound = Control("rewound", "ann", "prices were wrong", events[5].entry, events[1].entry)
    assert [c for c in controls(client) if c.kind == "rewound"] == [rewound]
    assert list(fsck.check(client)) == []


def test_moving_a_group_forth_passes_events_over(publisher: Publisher, client: Client, keys: Keys) -> None:
    events = publish(publisher, *range(4))
    moved = control.move(client, keys, "email", positions.LATEST, who="ann")
    assert (moved.before, moved.after) == ("0-0", events[3].entry)
    assert client.run(operations.take_new(keys, "email", "w#0", count=9, block_ms=None)).events == []


def test_a_group_that_runs_something_is_not_moved_and_goes_on(publisher: Publisher, client: Client, keys: Keys) -> None:
    publish(publisher, 1)
    [taken] = client.run(operations.take_new(keys, "email", "w#0", count=9, block_ms=None)).events
    with pytest.raises(GroupBusy, match="1 deliveries still run"):
        control.move(client, keys, "email", "0-0", who="ann", wait_seconds=0.1)
    assert client.run(control.paused_by(keys, "email")) is None
    with pytest.raises(GroupBusy, match="to be paused"):
        client.run(control.rewind(keys, "email", "0-0", who="ann"))
    assert client.run(operations.owners(keys, "email")) == ["w#0"]
    assert taken.data == 1


@pytest.mark.parametrize("act", [control.pause, control.resume])
def test_a_group_that_is_not_there_can_not_be_paused(client: Client, keys: Keys, act: object) -> None:
    with pytest.raises(GroupInvalid, match=r"subscribed to orders .* got 'nobody'"):
        client.run(act(keys, "nobody", who="ann"))  # type: ignore[operator]
    with pytest.raises(GroupInvalid, match="got 'nobody'"):
        client.run(control.rewind(keys, "nobody", "0-0", who="ann"))


def test_a_dead_letter_that_halts_blocks_its_key_and_no_other_until_it_is_replayed(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil
) -> None:
    seen = Seen(1)
    with run_worker(on(seen, ordered=True, on_dead="halt")):
        publish(publisher, 1, 2, 3, key="a")
        publish(publisher, 10, 11, key="b")
        wait_until(lambda: seen.numbers == [10, 11])
        [letter] = client.run(operations.dead_letters(keys, "email"))
        assert list(fsck.check(client)) == []
        seen.bad.clear()
        client.run(operations.replay(keys, "email", [letter.id], who="ann", ordered=True))
        wait_until(lambda: seen.numbers == [10, 11, 1, 2, 3])
    assert list(fsck.check(client)) == []


def test_discarding_a_dead_letter_frees_the_key_that_it_blocked(
    run_worker: RunWorker, publisher: Publisher, client: Client, keys: Keys, wait_until: WaitUntil
) -> None:
    seen = Seen(1)
    with run_worker(on(seen, ordered=True, on_dead="halt")):
        publish(publisher, 1, 2, key="a")
        letter = wait_until(lambda: client.run(operations.dead_letters(keys, "email")))[0]
        assert client.run(control.discard(keys, "email", [letter.id, letter.id], who="ann")) == 1
        wait_until(lambda: seen.numbers == [2])
    [aside] = client.run(control.discarded(keys, "email"))
    assert (aside.event.data, aside.failure.error_class) == (1, "ValueError")
    assert client.run(control.restore(keys, "email", [aside.id], who="ann")) == 1
    assert [one.event.data for one in client.run(operations.dead_letters(keys, "email"))] == [1]
    assert {"discarded", "restored"} <= set(steps_of(client, "orders"))


def test_a_blocked_key_whose_dead_letter_somebody_removed_is_found_and_freed(
    publisher: Publisher, client: Client, keys: Keys
) -> None:
    registry = Registry()
    seen = Seen(1)
    registry.add(on(seen, ordered=True, on_dead="halt"))
    publish(publisher, 1, 2, key="a")
    assert drain_all(publisher, registry) == 1
    client.run(Operation([(b"DEL", keys.dead("email"))], len))
    assert [problem.what for problem in fsck.check(client)] == ["a key is blocked by a dead letter that is not there"]
    assert len(list(fsck.check(client, repair=True))) == 1
    assert list(fsck.check(client)) == []
    assert drain_all(publisher, registry) == 1
    assert seen.numbers == [2]


def test_only_an_ordered_group_can_halt() -> None:
    register = bus.subscribe("orders", group="email", on_dead="halt")
    with pytest.raises(SubscriptionInvalid, match="expected ordered=True with on_dead='halt'"):
        register(print)


def test_retries_move_back_with_a_clock_that_fell(client: Client, keys: Keys, publisher: Publisher) -> None:
    """The group has seen a time an hour ahead; a retry was set for half a minute after that."""
    [event] = publish(publisher, 1)
    client.run(operations.take_new(keys, "email", "w#0", count=1, block_ms=None))
    client.run(operations.release(keys, "email", "w#0"))
    now = client.run(operations.heartbeat(client.config.prefix, "w", b"{}"))
    hour = 3_600_000
    client.run(Operation([(b"HSET", keys.meta, b"clock:email", b"%d" % (now + hour))], len))
    client.run(Operation([(b"ZADD", keys.due("email"), b"%d" % (now + hour + 30_000), event.entry.encode())], len))
    assert client.run(operations.rebase(keys, "email", "w")) > hour - 10_000
    assert client.run(operations.rebase(keys, "email", "other")) == 0
    taken = client.run(operations.take_due(keys, "email", "w#1", count=1))
    assert taken.events == []
    assert taken.next_due_ms is not None
    assert 0 < taken.next_due_ms <= 40_000
    assert [c.kind for c in controls(client)] == ["rebased"]


def test_a_worker_that_beat_in_the_future_is_not_alive_until_then(client: Client) -> None:
    prefix = client.config.prefix
    beats = f"{{{prefix}}}:workers".encode()
    client.run(Operation([(b"ZADD", beats, b"99999999999999", b"ghost")], len))
    now = client.run(operations.heartbeat(prefix, "w", b"{}"))
    score = client.run(Operation([(b"ZSCORE", beats, b"ghost")], lambda replies: float(replies[0])))
    assert score == now


def test_names_of_owners_that_hold_nothing_are_reaped(client: Client, keys: Keys, publisher: Publisher) -> None:
    publish(publisher, 1)
    client.run(operations.take_new(keys, "email", "holds#0", count=1, block_ms=None))
    client.run(operations.take_new(keys, "email", "idle#0", count=1, block_ms=None))
    assert client.run(operations.reap(keys, "email")) == 0  # nobody is forgotten within the hour
    raw = operations.reap(keys, "email").commands[0]
    client.run(Operation([(*raw[:-2], b"-1", raw[-1])], len_of))
    consumers = client.run(Operation([(b"XINFO", b"CONSUMERS", keys.events, b"email")], lambda replies: replies[0]))
    assert [row[1] for row in consumers] == [b"holds#0"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("earliest", positions.Wanted("0-0")),
        ("latest", positions.Wanted(positions.LATEST)),
        ("-5", positions.Wanted(by=-5)),
        ("+12", positions.Wanted(by=12)),
        ("1763000000000-3", positions.Wanted("1763000000000-3")),
        ("15m", positions.Wanted(f"{int(NOW.timestamp() * 1000) - 900_001}-18446744073709551615")),
        ("2026-01-31T07:00", positions.Wanted(f"{int(NOW.timestamp() * 1000) - 3_600_001}-18446744073709551615")),
    ],
)
def test_where_to_move_is_said_in_words(text: str, wanted: positions.Wanted) -> None:
    assert positions.parse(text, now=NOW) == wanted


@pytest.mark.parametrize("text", ["", "yesterday", "-", "+1234567", "15 m", "1-2-3", "9" * 40])
def test_a_place_that_can_not_be_read_is_refused(text: str) -> None:
    with pytest.raises(PositionInvalid, match="expected earliest, latest"):
        positions.parse(text, now=NOW)


def test_so_many_events_back_or_forth(client: Client, keys: Keys, publisher: Publisher) -> None:
    entries = [event.entry for event in publish(publisher, *range(10))]
    assert positions.resolve(client, keys, entries[6], positions.Wanted(by=-2)) == entries[4]
    assert positions.resolve(client, keys, entries[6], positions.Wanted(by=-7)) == "0-0"
    assert positions.resolve(client, keys, entries[6], positions.Wanted(by=2)) == entries[8]
    assert positions.resolve(client, keys, entries[6], positions.Wanted(by=99)) == entries[9]
    assert positions.resolve(client, keys, entries[9], positions.Wanted(by=1)) == entries[9]
    assert positions.count_between(client, keys, entries[2], entries[6]) == (4, True)
    assert positions.count_between(client, keys, "0-0", positions.LATEST) == (10, True)


def controls(client: Client) -> list[Control]:
    return [entry.control for entry in journal_of(client, "orders") if entry.control]


def held(client: Client, keys: Keys) -> list[str]:
    return client.run(operations.owners(keys, "email"))


def drain_all(publisher: Publisher, registry: Registry) -> int:
    with bus.replaced(publisher):
        return drain(subscriptions=registry)


def len_of(replies: list[object]) -> int:
    return len(replies)
