"""The operations against a plain-Python model: any sequence of them, and the invariants after every step.

Invariants (the numbers are those that README's promises rest on): (1) pending = running + due + parked, disjoint;
(2) of one key at most one entry runs or is due, and it is the oldest; (3) each change has exactly one journal
record; (4) a fencing token is used once; (5) an event leaves a group once; (6) nothing unread or pending is
trimmed; (7) one stream entry per event id. Each has a broken variant below that must be caught.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bus import fsck, operations, tail, wire
from bus.config import Config
from bus.event import Event
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement, entry_order
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import Operation
from tests.bus.conftest import records_of

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "500"))
STEPS = 60
FAR_MS = 3_600_000
MAX_CRASHES = 3
GROUPS = {"plain": False, "ordered": True}
KEYS = st.sampled_from([None, "a", "b"])
OWNERS = st.integers(0, 1)


@dataclass
class Delivery:
    """What the model knows of one event in one group."""

    entry: str
    key: str | None
    state: str = "waiting"  # waiting → held ⇄ due / far / parked → done or dead
    owner: str = ""
    count: int = 0
    crashes: int = 0


@dataclass
class Group:
    """The model of one group: deliveries in the order of the stream, and how many of them were read."""

    ordered: bool
    deliveries: list[Delivery] = field(default_factory=list)
    read: int = 0
    records: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    tokens: set[tuple[str, str, int]] = field(default_factory=set)
    dead: list[Delivery] = field(default_factory=list)

    def pending(self) -> list[Delivery]:
        return [d for d in self.deliveries if d.state in ("held", "due", "far", "parked")]

    def held(self, owner: str = "") -> list[Delivery]:
        return [d for d in self.deliveries if d.state == "held" and owner in ("", d.owner)]

    def key_is_busy(self, delivery: Delivery) -> bool:
        return self.ordered and delivery.key is not None and any(d.key == delivery.key for d in self.pending())

    def leave(self, delivery: Delivery, state: str) -> None:
        """It left the group: the next one of its key is due."""
        delivery.state = state
        if state == "dead":
            self.dead.append(delivery)
        mine = self.ordered and delivery.key is not None
        following = [d for d in self.pending() if mine and d.state == "parked" and d.key == delivery.key]
        if following:
            following[0].state = "due"

    def record(self, step: Step, delivery: Delivery) -> None:
        self.records[step.word, delivery.entry, delivery.count] += 1


class Bus(RuleBasedStateMachine):
    """Drives the real operations and the model side by side."""

    client: ClassVar[Client]
    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        config = Config(url=self.url, prefix=f"m{uuid4().hex[:10]}")
        self.client.config = config
        self.publisher = Publisher(config)
        self.keys = Keys(config.prefix, "orders", 0)
        self.groups = {name: Group(ordered) for name, ordered in GROUPS.items()}
        self.generation = Counter[int]()
        self.ids: dict[str, str] = {}

    def teardown(self) -> None:
        names = self.client.run(Operation([(b"KEYS", f"*{self.client.config.prefix}*".encode())], lambda r: r[0]))
        if names:
            self.client.run(Operation([(b"DEL", *names)], len))
        self.publisher.close()

    @initialize(keys=st.lists(KEYS, min_size=2, max_size=5))
    def subscribe(self, keys: list[str | None]) -> None:
        for name, ordered in GROUPS.items():
            record = SubscriptionRecord(ordered=ordered)
            self.client.run(operations.subscribe(self.keys, name, record, start="0-0", worker="w"))
        self._publish(keys)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def publish(self, keys: list[str | None]) -> None:
        self._publish(keys)

    def _publish(self, keys: list[str | None]) -> None:
        drafts = [self.publisher.draft("orders", "t", 1, key=key) for key in keys]
        for event in self.publisher.publish_many(drafts):
            self._published(event)

    @rule(number=st.integers(0, 2))
    def publish_with_an_id(self, number: int) -> None:
        """Again and again the same id: a lost reply makes a publisher do so."""
        event = self.publisher.publish(self.publisher.draft("orders", "t", number, key="k", id=f"mine-{number}"))
        if event.id in self.ids:
            assert self.ids[event.id] == event.entry, "(7) the same id was stored twice"
        else:
            self.ids[event.id] = event.entry
            self._published(event)

    @precondition(lambda self: any(d.state in ("waiting", "due") for d in self.deliveries()))
    @rule(name=st.sampled_from(sorted(GROUPS)), owner=OWNERS, count=st.integers(1, 5))
    def take(self, name: str, owner: int, count: int) -> None:
        group, who = self.groups[name], self._owner(owner)
        for event in self._take(name, who, count):
            delivery = next(d for d in group.deliveries if d.entry == event.entry)
            self._check_taken(group, delivery)
            delivery.state, delivery.owner, delivery.count = "held", who, delivery.count + 1
            assert event.attempt == delivery.count
            token = (event.entry, who, event.attempt)
            assert token not in group.tokens, "(4) a fencing token was used twice"
            group.tokens.add(token)

    @precondition(lambda self: any(d.state == "held" for d in self.deliveries()))
    @rule(data=st.data(), verdicts=st.lists(st.sampled_from("arRdd"), min_size=1, max_size=4))
    def settle(self, data: st.DataObject, verdicts: list[str]) -> None:
        name = data.draw(st.sampled_from([name for name, group in self.groups.items() if group.held()]))
        group = self.groups[name]
        who = data.draw(st.sampled_from(sorted({d.owner for d in group.held()})))
        ending = list(zip(verdicts, group.held(who), strict=False))
        self._settle(name, who, [(verdict, d, d.count) for verdict, d in ending], stale=set())
        for verdict, delivery in ending:
            self._ended(group, verdict, delivery)

    @precondition(lambda self: any(group.tokens for group in self.groups.values()))
    @rule(name=st.sampled_from(sorted(GROUPS)), data=st.data(), verdict=st.sampled_from("ard"))
    def settle_with_an_old_token(self, name: str, data: st.DataObject, verdict: str) -> None:
        """A zombie wakes: what it settles is not its own any more."""
        group = self.groups[name]
        held = {(d.entry, d.owner, d.count) for d in group.held()}
        old = sorted(token for token in group.tokens if token not in held)
        if old:
            entry, owner, count = data.draw(st.sampled_from(old))
            delivery = next(d for d in group.deliveries if d.entry == entry)
            self._settle(name, owner, [(verdict, delivery, count)], stale={entry})

    @precondition(lambda self: any(d.state == "held" for d in self.deliveries()))
    @rule(name=st.sampled_from(sorted(GROUPS)), owner=OWNERS)
    def die(self, name: str, owner: int) -> None:
        group, who = self.groups[name], self._owner(owner)
        self.client.run(operations.reclaim(self.keys, name, "w", {who: 0}, max_crashes=MAX_CRASHES))
        for delivery in group.held(who):
            delivery.crashes += 1
            crashed = delivery.crashes >= MAX_CRASHES
            group.record(Step.DEAD_LETTERED if crashed else Step.RECLAIMED, delivery)
            if crashed:
                group.leave(delivery, "dead")
            else:
                delivery.state = "due"

    @precondition(lambda self: any(d.state == "held" for d in self.deliveries()))
    @rule(owner=OWNERS)
    def give_back(self, owner: int) -> None:
        """A worker met trouble: it releases what it holds in every group and takes a new name."""
        who = self._owner(owner)
        for name, group in self.groups.items():
            self.client.run(operations.release(self.keys, name, who))
            for delivery in group.held(who):
                group.record(Step.RELEASED, delivery)
                delivery.state, delivery.count = "due", delivery.count - 1
        self.generation[owner] += 1

    @precondition(lambda self: any(group.dead for group in self.groups.values()))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Some dead letters, perhaps one of them twice, as after a lost reply."""
        name = data.draw(st.sampled_from([name for name, group in self.groups.items() if group.dead]))
        group = self.groups[name]
        letters = self.client.run(operations.dead_letters(self.keys, name))
        assert [letter.event.entry for letter in letters] == [d.entry for d in group.dead]
        some = data.draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3))
        ids = [letter.id for letter in some]
        done = self.client.run(operations.replay(self.keys, name, ids, who="w", ordered=group.ordered))
        handed = list(dict.fromkeys(letter.event.entry for letter in some if letter.id not in done.gone))
        assert done.done == len(handed)
        for delivery in [next(d for d in group.dead if d.entry == entry) for entry in handed]:
            group.record(Step.REPLAYED, delivery)
            delivery.state = "parked" if group.key_is_busy(delivery) else "due"
            delivery.crashes = 0
            group.dead.remove(delivery)

    @precondition(lambda self: any(d.state == "far" for d in self.deliveries()))
    @rule(name=st.sampled_from(sorted(GROUPS)))
    def time_passes(self, name: str) -> None:
        due = self.keys.due(name)
        far = [d for d in self.groups[name].deliveries if d.state == "far"]
        for delivery in far:
            self.client.run(Operation([(b"ZADD", due, b"XX", b"1", delivery.entry.encode())], len))
            delivery.state = "due"

    @rule(keep=st.integers(1, 3))
    def trim(self, keep: int) -> None:
        newest = self.client.run(tail.newest(self.keys.prefix, [("orders", 0)]))["orders", 0]
        self.client.run(tail.trim(self.keys.prefix, ("orders", 0), newest, keep))

    def deliveries(self) -> list[Delivery]:
        return [delivery for group in self.groups.values() for delivery in group.deliveries]

    @invariant()
    def pending_is_what_the_model_says(self) -> None:
        for name, group in self.groups.items():
            rows = self._run(b"XPENDING", self.keys.events, name.encode(), b"-", b"+", b"10000") or []
            found = {row[0].decode(): (row[1].decode(), row[3]) for row in rows}
            expected = {d.entry: (d.owner if d.state == "held" else "~", d.count) for d in group.pending()}
            assert found == expected, "(1) (5) the pending list is not what it should be"
            due = {entry.decode() for entry in self._run(b"ZRANGE", self.keys.due(name), b"0", b"-1")}
            assert due == {d.entry for d in group.pending() if d.state in ("due", "far")}, "(1) due"
            parked = self._run(b"ZCARD", self.keys.parked(name))
            assert parked == sum(d.state == "parked" for d in group.pending()), "(1) parked"

    @invariant()
    def every_change_is_in_the_journal_once(self) -> None:
        records = records_of(self.client, "orders")
        found = Counter((Step(r.step).word, r.entry, r.attempt) for r in records)
        assert found == sum((group.records for group in self.groups.values()), Counter()), "(3) the journal"

    @invariant()
    def nothing_needed_is_trimmed(self) -> None:
        rows = self._run(b"XRANGE", self.keys.events, b"-", b"+")
        there = {row[0].decode() for row in rows}
        needed = {
            d.entry for group in self.groups.values() for d in group.deliveries if d.state not in ("done", "dead")
        }
        assert needed <= there, "(6) an event was trimmed that a group needs"

    @invariant()
    def fsck_finds_nothing(self) -> None:
        assert list(fsck.check(self.client)) == []

    def _published(self, event: Event) -> None:
        for group in self.groups.values():
            group.deliveries.append(Delivery(event.entry, event.key))

    def _owner(self, number: int) -> str:
        return f"w{number}#{self.generation[number]}"

    def _take(self, name: str, who: str, count: int) -> list[Event]:
        if self.groups[name].ordered:
            events = self.client.run(operations.take_ordered(self.keys, name, who, count=count)).events
            self._admit(self.groups[name], {event.entry for event in events}, count)
            return events
        due = self.client.run(operations.take_due(self.keys, name, who, count=count)).events
        new = self.client.run(operations.take_new(self.keys, name, who, count=count, block_ms=None)).events
        self.groups[name].read += len(new)
        return due + new

    def _admit(self, group: Group, taken: set[str], count: int) -> None:
        """What the ordered take read but did not hand out: entries whose key somebody else has."""
        due = sum(d.state == "due" for d in group.deliveries)
        for delivery in group.deliveries[group.read : group.read + max(count - due, 0)]:
            group.read += 1
            if delivery.entry not in taken:
                assert group.key_is_busy(delivery) or any(
                    d.key == delivery.key and d.entry in taken for d in group.deliveries
                ), "an event was passed over whose key is free"
                delivery.state = "parked"

    def _check_taken(self, group: Group, delivery: Delivery) -> None:
        assert delivery.state in ("waiting", "due"), f"(5) taken although it is {delivery.state}"
        if group.ordered and delivery.key is not None:
            older = [d for d in group.pending() if d.key == delivery.key and d is not delivery]
            once_dead = {entry for word, entry, _ in group.records if word == Step.REPLAYED.word}
            replayed = [d for d in older if d.state == "parked" and d.entry in once_dead]
            for other in older:
                if other not in replayed:
                    assert entry_order(other.entry) > entry_order(delivery.entry), "(2) not the oldest"
            assert not any(d.state == "held" for d in older), "(2) two of one key run"

    def _settle(self, name: str, who: str, ending: list[tuple[str, Delivery, int]], *, stale: set[str]) -> None:
        made = [self._settlement(name, verdict, d, count) for verdict, d, count in ending]
        if made:
            assert self.client.run(operations.settle(self.keys, name, who, made, holds=99)) == stale

    def _settlement(self, name: str, verdict: str, delivery: Delivery, count: int) -> Settlement:
        step = {"a": Step.SUCCEEDED, "d": Step.DEAD_LETTERED}.get(verdict, Step.RETRY_SCHEDULED)
        failure = Failure("E", "no") if verdict == "d" else None
        record = Record(step, delivery.entry, count, due_in_ms=FAR_MS if verdict == "R" else 0, failure=failure)
        key = delivery.key if self.groups[name].ordered else None
        return Settlement(verdict.lower().encode(), record, key or "")

    def _ended(self, group: Group, verdict: str, delivery: Delivery) -> None:
        step = {"a": Step.SUCCEEDED, "d": Step.DEAD_LETTERED}.get(verdict, Step.RETRY_SCHEDULED)
        group.record(step, delivery)
        if verdict in "ad":
            group.leave(delivery, "done" if verdict == "a" else "dead")
        else:
            delivery.state = "far" if verdict == "R" else "due"

    def _run(self, *command: bytes) -> Any:
        return self.client.run(Operation([command], lambda replies: replies[0]))


def explore(url: str, examples: int, *, shrink: bool = True) -> None:
    Bus.url, Bus.client = url, connect(Config(url=url))
    try:
        run_state_machine_as_test(
            Bus,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                derandomize=not shrink,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
                phases=list(Phase) if shrink else [Phase.generate],
            ),
        )
    finally:
        Bus.client.close()


@pytest.mark.timeout(900)
def test_any_sequence_of_operations_keeps_the_invariants(server_url: str) -> None:
    explore(server_url, EXAMPLES)


Change = Callable[[bytes], bytes]


def replace(old: str, new: str) -> Change:
    def change(text: bytes) -> bytes:
        assert old.encode() in text, "the variant no longer fits the script"
        return text.replace(old.encode(), new.encode())

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("settle", replace("held[id] ~= count", "false")),  # (3) (5) no fence
        ("settle", replace("redis.call('ZADD', KEYS[3], now + more, id)", "")),  # (1) a retry that never comes
        ("settle", replace("free_key(KEYS[3], KEYS[4], KEYS[5], pair[1], pair[2], now)", "")),  # (2) a key held forever
        ("settle", replace("redis.call('XADD', KEYS[2], '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3])", "")),  # (3)
        ("take_ordered", replace("redis.call('HSETNX', KEYS[4], key, row[1]) == 1", "true")),  # (2) no order
        ("settle", replace("'RETRYCOUNT', count, 'JUSTID'", "'RETRYCOUNT', 0, 'JUSTID'")),  # (4) tokens used twice
        ("release", replace("math.max(row[4] - 1, 0)", "row[4]")),  # (1) given back, but counted
        ("reclaim", replace("records[#records + 1] = {STEP.RECLAIMED, id, count}", "")),  # (3)
        ("replay", replace("'RETRYCOUNT', count, 'FORCE'", "'RETRYCOUNT', 0, 'FORCE'")),  # (4) tokens used twice
        ("replay", replace("redis.call('HSETNX', KEYS[4], key, id) == 1", "true")),  # (2) no order
        ("replay", replace("redis.call('XDEL', KEYS[6], ARGV[at])", "")),  # (5) handed back twice
        ("trim", replace("if older(needed, floor) then floor = needed end", "")),  # (6)
        ("publish", replace("known = redis.call('GET', KEYS[key]) or mine[KEYS[key]]", "known = nil")),  # (7)
    ],
)
def test_a_broken_script_is_caught(server_url: str, monkeypatch: pytest.MonkeyPatch, name: str, change: Change) -> None:
    broken = wire.made_script(change(wire.script(name).text))
    real = wire.script
    monkeypatch.setattr(wire, "script", lambda asked: broken if asked == name else real(asked))
    with pytest.raises(AssertionError):
        explore(server_url, 400, shrink=False)
