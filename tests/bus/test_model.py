"""The operations against a plain-Python model: any sequence of them, and the invariants after every step.

Invariants (the numbers are those that README's promises rest on): (1) pending = running + due + parked, disjoint;
(2) of one key at most one entry runs or is due, and it is the oldest; (3) each change has exactly one journal
record; (4) a fencing token is used once; (5) an event leaves a group once; (6) nothing unread or pending is
trimmed; (7) one stream entry per event id. Each has a broken variant below that must be caught.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
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

from bus import control, fsck, operations, tail, wire
from bus.config import Config
from bus.errors import GroupBusy
from bus.event import Event
from bus.journal import Failure, JournalEntry, Record, Step, SubscriptionRecord, unpack
from bus.keys import Keys
from bus.operations import Settlement, Taken, entry_order
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import Operation

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "500"))
STEPS = 60
FAR_MS = 3_600_000
MAX_CRASHES = 3
GROUPS = {"plain": SubscriptionRecord(), "ordered": SubscriptionRecord(ordered=True)}
GROUPS["halting"] = SubscriptionRecord(ordered=True, on_dead="halt")
KEYS = st.sampled_from([None, "a", "b"])
OWNERS = st.integers(0, 1)


@dataclass
class Delivery:
    """What the model knows of one event in one group."""

    entry: str
    key: str | None
    state: str = "waiting"  # waiting → held ⇄ due / far / parked → done, dead or discarded
    owner: str = ""
    count: int = 0
    crashes: int = 0
    run: int = 0  # times that the group was moved back past it


@dataclass
class Group:
    """The model of one group: deliveries in the order of the stream, and how many of them were read."""

    ordered: bool
    halts: bool
    deliveries: list[Delivery] = field(default_factory=list)
    read: int = 0
    records: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    tokens: set[tuple[str, str, int]] = field(default_factory=set)
    dead: list[Delivery] = field(default_factory=list)
    discarded: list[Delivery] = field(default_factory=list)
    halted: dict[str | None, Delivery] = field(default_factory=dict)  # by key: the dead letter that blocks it
    paused: bool = False
    controls: Counter[str] = field(default_factory=Counter)

    def pending(self) -> list[Delivery]:
        return [d for d in self.deliveries if d.state in ("held", "due", "far", "parked")]

    def held(self, owner: str = "") -> list[Delivery]:
        return [d for d in self.deliveries if d.state == "held" and owner in ("", d.owner)]

    def key_is_busy(self, delivery: Delivery) -> bool:
        blocked = delivery.key in self.halted or any(d.key == delivery.key for d in self.pending())
        return self.ordered and delivery.key is not None and blocked

    def leave(self, delivery: Delivery, state: str) -> None:
        """It left the group: the next one of its key is due, unless a dead letter blocks it."""
        delivery.state = state
        if state == "dead":
            self.dead.append(delivery)
        if state == "dead" and self.halts and delivery.key is not None:
            self.halted[delivery.key] = delivery
        else:
            self.free(delivery.key)

    def free(self, key: str | None) -> None:
        mine = [d for d in self.pending() if self.ordered and key is not None and d.key == key]
        if mine and all(d.state == "parked" for d in mine):
            mine[0].state = "due"

    def undo(self, delivery: Delivery) -> None:
        """As if it had never been given to the group."""
        delivery.state, delivery.owner, delivery.count, delivery.crashes = "waiting", "", 0, 0
        for some in (self.dead, self.discarded):
            some[:] = [d for d in some if d is not delivery]
        if self.halted.get(delivery.key) is delivery:
            del self.halted[delivery.key]

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
        self.groups = {name: Group(record.ordered, record.on_dead == "halt") for name, record in GROUPS.items()}
        self.generation = Counter[int]()
        self.ids: dict[str, str] = {}
        self.rewinds = Counter[str]()  # back, by group
        self.read_to = b"0-0"  # of the journal
        self.records = Counter[tuple[str, str, int]]()
        self.controls = Counter[tuple[str, str]]()

    def teardown(self) -> None:
        names = self.client.run(Operation([(b"KEYS", f"*{self.client.config.prefix}*".encode())], lambda r: r[0]))
        if names:
            self.client.run(Operation([(b"DEL", *names)], len))
        self.publisher.close()

    @initialize(keys=st.lists(KEYS, min_size=2, max_size=5))
    def subscribe(self, keys: list[str | None]) -> None:
        for name, record in GROUPS.items():
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
        events = self._take(name, who, count)
        for event in events:
            delivery = next(d for d in group.deliveries if d.entry == event.entry)
            self._check_taken(group, delivery)
            delivery.state, delivery.owner, delivery.count = "held", who, delivery.count + 1
            assert event.attempt == delivery.count
            assert event.run == delivery.run, "its effects would be left out, or doubled"
            token = (event.entry, who, event.attempt)
            assert token not in group.tokens, "(4) a fencing token was used twice"
            group.tokens.add(token)
        if group.paused and events:  # read while somebody paused the group: the owner stands back
            self.give_back(owner)

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
        dead = {who: 0}
        self.client.run(operations.reclaim(self.keys, name, "w", dead, max_crashes=MAX_CRASHES, halts=group.halts))
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
            holds = group.halted.get(delivery.key) is delivery
            if holds:
                del group.halted[delivery.key]
            delivery.state = "parked" if group.key_is_busy(delivery) and not holds else "due"
            delivery.crashes = 0
            group.dead.remove(delivery)

    @precondition(lambda self: any(group.dead for group in self.groups.values()))
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, group in self.groups.items() if group.dead]))
        group = self.groups[name]
        letters = {letter.id: letter for letter in self.client.run(operations.dead_letters(self.keys, name))}
        ids = data.draw(st.lists(st.sampled_from(sorted(letters)), min_size=1, max_size=3))
        some = [next(d for d in group.dead if d.entry == letters[one].event.entry) for one in dict.fromkeys(ids)]
        assert self.client.run(control.discard(self.keys, name, ids, who="ann")) == len(some)
        for delivery in some:
            group.record(Step.DISCARDED, delivery)
            group.dead.remove(delivery)
            group.discarded.append(delivery)
            delivery.state = "discarded"
            if group.halted.get(delivery.key) is delivery:
                del group.halted[delivery.key]
                group.free(delivery.key)

    @precondition(lambda self: any(group.discarded for group in self.groups.values()))
    @rule(name=st.sampled_from(sorted(GROUPS)))
    def restore(self, name: str) -> None:
        group = self.groups[name]
        letters = self.client.run(control.discarded(self.keys, name))
        assert [letter.event.entry for letter in letters] == [d.entry for d in group.discarded]
        if letters:
            assert self.client.run(control.restore(self.keys, name, [one.id for one in letters], who="ann"))
        for delivery in group.discarded:
            group.record(Step.RESTORED, delivery)
            group.dead.append(delivery)
            delivery.state = "dead"
        group.discarded.clear()

    @rule(name=st.sampled_from(sorted(GROUPS)))
    def pause(self, name: str) -> None:
        group = self.groups[name]
        assert self.client.run(control.pause(self.keys, name, who="ann")) is not group.paused
        group.controls["paused"] += not group.paused
        group.paused = True

    @precondition(lambda self: any(group.paused for group in self.groups.values()))
    @rule(name=st.sampled_from(sorted(GROUPS)))
    def resume(self, name: str) -> None:
        group = self.groups[name]
        assert self.client.run(control.resume(self.keys, name, who="ann")) is group.paused
        group.controls["resumed"] += group.paused
        group.paused = False

    @precondition(lambda self: any(group.paused and not group.held() for group in self.groups.values()))
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        """To anywhere, back or forth; everything after that which is still there comes anew."""
        fit = [name for name, group in self.groups.items() if group.paused and not group.held()]
        name = data.draw(st.sampled_from(fit))
        group = self.groups[name]
        place = data.draw(st.integers(0, len(group.deliveries)))
        target = group.deliveries[place - 1].entry if place else "0-0"
        moved = self.client.run(control.rewind(self.keys, name, target, who="ann"))
        if entry_order(moved.after) < entry_order(moved.before):
            self.rewinds[name] += 1
            for delivery in group.deliveries[place:]:
                delivery.run += 1
        group.controls["rewound"] += 1
        there = self._there()
        undone = [d for d in group.deliveries[place:] if d.entry in there and d.state != "waiting"]
        for delivery in undone:
            group.undo(delivery)
        for delivery in group.deliveries[:place]:
            if delivery.state == "waiting":
                delivery.state = "done"  # passed over
        for key in {d.key for d in undone}:
            group.free(key) if key not in group.halted else None
        group.read = place
        for owner in (0, 1):
            self.give_back(owner)

    @precondition(lambda self: any(d.state == "held" for d in self.deliveries()))
    @rule(name=st.sampled_from(sorted(GROUPS)))
    def rewind_too_soon(self, name: str) -> None:
        group = self.groups[name]
        if group.held() or not group.paused:
            with pytest.raises(GroupBusy):
                self.client.run(control.rewind(self.keys, name, "0-0", who="ann"))

    @precondition(lambda self: any(d.state == "far" for d in self.deliveries()))
    @rule(name=st.sampled_from(sorted(GROUPS)))
    def the_clock_falls(self, name: str) -> None:
        """Far more than retries wait: the group has seen a time that is yet to come."""
        group = self.groups[name]
        future = b"%d" % ((int(time.time()) + 9 * FAR_MS) * 1000)
        self._run(b"HSET", self.keys.meta, b"clock:" + name.encode(), future)
        assert self.client.run(operations.rebase(self.keys, name, "w")) > FAR_MS
        assert self.client.run(operations.rebase(self.keys, name, "w")) == 0
        soon = b"%d" % ((int(time.time()) + 60) * 1000)
        assert self._run(b"ZCOUNT", self.keys.due(name), soon, b"+inf") == 0, "(1) due when the clock has caught up"
        group.controls["rebased"] += 1
        for delivery in group.deliveries:
            if delivery.state == "far":
                delivery.state = "due"

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
    def the_server_holds_what_the_model_says(self) -> None:
        """Asked in one round trip, since it is asked after every step."""
        rows, journal, *lists = self.client.run(self._look())
        for (name, group), (pending, due, parked, *given_up) in zip(
            self.groups.items(), batched(lists, 5), strict=True
        ):
            found = {row[0].decode(): (row[1].decode(), row[3]) for row in pending}
            expected = {d.entry: (d.owner if d.state == "held" else "~", d.count) for d in group.pending()}
            assert found == expected, f"(1) (5) the pending list of {name} is not what it should be"
            assert {one.decode() for one in due} == {d.entry for d in group.pending() if d.state in ("due", "far")}
            assert parked == sum(d.state == "parked" for d in group.pending()), "(1) parked"
            assert given_up == [len(group.dead), len(group.discarded)], "(5) dead letters"
        there = {row[0].decode() for row in rows}
        settled = ("done", "dead", "discarded")
        needed = {d.entry for group in self.groups.values() for d in group.deliveries if d.state not in settled}
        assert needed <= there, "(6) an event was trimmed that a group needs"
        self._read_journal([unpack(row[0].decode(), row[1]) for row in journal])

    def _look(self) -> Operation[list[Any]]:
        commands: list[tuple[bytes, ...]] = [
            (b"XRANGE", self.keys.events, b"-", b"+"),
            (b"XRANGE", self.keys.journal, b"(" + self.read_to, b"+"),
        ]
        for name in self.groups:
            commands += [
                (b"XPENDING", self.keys.events, name.encode(), b"-", b"+", b"10000"),
                (b"ZRANGE", self.keys.due(name), b"0", b"-1"),
                (b"ZCARD", self.keys.parked(name)),
                (b"XLEN", self.keys.dead(name)),
                (b"XLEN", self.keys.discarded(name)),
            ]
        return Operation(commands, list)

    def _read_journal(self, fresh: list[JournalEntry]) -> None:
        for entry in fresh:
            self.read_to = entry.position.encode()
            self.records.update((Step(r.step).word, r.entry, r.attempt) for r in entry.records)
            self.controls.update([(entry.group, entry.control.kind)] if entry.control else [])
        assert self.records == sum((group.records for group in self.groups.values()), Counter()), "(3) the journal"
        said = {(name, kind): n for name, group in self.groups.items() for kind, n in group.controls.items() if n}
        assert self.controls == said, "(3) what was done to groups"

    @invariant()
    def fsck_finds_nothing(self) -> None:
        assert list(fsck.check(self.client)) == []

    def _there(self) -> set[str]:
        """Entries of the stream."""
        return {row[0].decode() for row in self._run(b"XRANGE", self.keys.events, b"-", b"+")}

    def _published(self, event: Event) -> None:
        for name, group in self.groups.items():
            group.deliveries.append(Delivery(event.entry, event.key, run=self.rewinds[name]))

    def _owner(self, number: int) -> str:
        return f"w{number}#{self.generation[number]}"

    def _take(self, name: str, who: str, count: int) -> list[Event]:
        if self.groups[name].ordered:
            taken = self.client.run(operations.take_ordered(self.keys, name, who, count=count))
            events = taken.events
            assert taken.paused is self.groups[name].paused
            assert not (taken.paused and events), "taken although the group is paused"
            self._check_alone(name, taken)
            if taken.paused or taken.alone:
                return events
            self._admit(self.groups[name], {event.entry for event in events}, count)
            return events
        taken = self.client.run(operations.take_due(self.keys, name, who, count=count))
        due, new = taken.events, self.client.run(operations.take_new(self.keys, name, who, count=count, block_ms=None))
        assert taken.paused is new.paused is self.groups[name].paused
        assert not (taken.paused and due), "taken although the group is paused"
        self._check_alone(name, taken)
        self.groups[name].read += len(new.events)
        return due + new.events

    def _check_alone(self, name: str, taken: Taken) -> None:
        """What killed its worker, perhaps, is not handed out beside others that wait."""
        crashes = {d.entry: d.crashes for d in self.groups[name].deliveries}
        suspects = [event.entry for event in taken.events if crashes[event.entry]]
        assert suspects == ([taken.alone] if taken.alone else [])
        assert not taken.alone or len(taken.events) == 1

    def _admit(self, group: Group, taken: set[str], count: int) -> None:
        """What the ordered take read but did not hand out: entries whose key somebody else has."""
        due = sum(d.state == "due" and d.entry in taken for d in group.deliveries)
        unread = [d for d in group.deliveries[group.read :] if d.state == "waiting"]  # others were trimmed
        for delivery in unread[: max(count - due, 0)]:
            group.read = group.deliveries.index(delivery) + 1
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
        ends = "h" if verdict == "d" and self.groups[name].halts else verdict.lower()
        record = Record(step, delivery.entry, count, due_in_ms=FAR_MS if verdict == "R" else 0, failure=failure)
        key = delivery.key if self.groups[name].ordered else None
        return Settlement(ends.encode(), record, key or "")

    def _ended(self, group: Group, verdict: str, delivery: Delivery) -> None:
        step = {"a": Step.SUCCEEDED, "d": Step.DEAD_LETTERED}.get(verdict, Step.RETRY_SCHEDULED)
        group.record(step, delivery)
        if verdict in "ad":
            group.leave(delivery, "done" if verdict == "a" else "dead")
        else:
            delivery.state = "far" if verdict == "R" else "due"

    def _run(self, *command: bytes) -> Any:
        return self.client.run(Operation([command], lambda replies: replies[0]))


def batched(values: list[Any], count: int) -> Iterator[list[Any]]:
    return (values[start : start + count] for start in range(0, len(values), count))


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


@pytest.mark.timeout(900 if EXAMPLES <= 1_000 else 0)  # thousands are for a long evening
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
        (
            "settle",
            replace("park(ARGV[1], id, count, now + more, lost, now)", "park(ARGV[1], id, count, nil, lost, now)"),
        ),  # (1) a retry that never comes
        ("settle", replace("free_key(pair[1], pair[2], now)", "")),  # (2) a key held forever
        ("settle", replace("redis.call('XADD', JOURNAL, '*', 'g', ARGV[1], 'w', ARGV[2], 'b', ARGV[3])", "")),  # (3)
        ("take_ordered", replace("not holder[key]", "true")),  # (2) no order
        ("settle", replace("'RETRYCOUNT', count, 'JUSTID'", "'RETRYCOUNT', 0, 'JUSTID'")),  # (4) tokens used twice
        ("release", replace("math.max(row[4] - 1, 0)", "row[4]")),  # (1) given back, but counted
        ("reclaim", replace("records[#records + 1] = {STEP.RECLAIMED, id, count}", "")),  # (3)
        ("replay", replace("'RETRYCOUNT', count, 'FORCE'", "'RETRYCOUNT', 0, 'FORCE'")),  # (4) tokens used twice
        ("replay", replace("redis.call('HSETNX', BUSY, key, id) == 1", "true")),  # (2) no order
        ("replay", replace("redis.call('XDEL', DEAD, ARGV[at])", "")),  # (5) handed back twice
        ("settle", replace("not holds and", "true and")),  # (2) a key that should be blocked
        ("replay", replace("redis.call('HDEL', HALTED, key)", "local _ = 0")),  # (2) blocked for ever
        (
            "discard",
            replace("free_key(key, id, now)\n    end\n    records", "end\n    records"),
        ),  # (2) blocked for ever
        ("discard", replace("redis.call('XDEL', DEAD, ARGV[at])", "")),  # (5) dead and discarded
        ("take_due", replace("if control[1] then", "if false then")),  # taken while paused
        ("rewind", replace("redis.call('XACK', EVENTS, group, unpack(ids))", "")),  # (1) pending and yet to come
        ("rewind", replace("free_key(holders[i], holders[i + 1], now)", "")),  # (2) a key held by nobody
        ("rewind", replace("undone = undone + redis.call('XDEL', letters, last)", "")),  # (5) dead and yet to come
        ("take_ordered", replace("alone = suspect and id or ''", "")),  # taken beside others
        ("rebase", replace("math.max(now, waiting[i + 1] - fell)", "waiting[i + 1]")),  # (1) due when the clock is back
        ("trim", replace("if is_older(needed, floor) then floor = needed end", "")),  # (6)
        ("publish", replace("known = redis.call('GET', KEYS[key]) or mine[KEYS[key]]", "known = nil")),  # (7)
    ],
)
def test_a_broken_script_is_caught(server_url: str, monkeypatch: pytest.MonkeyPatch, name: str, change: Change) -> None:
    broken = wire.made_script(change(wire.script(name).text))
    real = wire.script
    monkeypatch.setattr(wire, "script", lambda asked: broken if asked == name else real(asked))
    with pytest.raises(AssertionError):
        explore(server_url, 400, shrink=False)
