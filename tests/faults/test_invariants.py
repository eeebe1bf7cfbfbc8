"""Each invariant finds what breaks it, and nothing in what is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from bus.event import Event
from bus.fsck import Problem
from bus.journal import JournalEntry, Record, Step
from tests.faults.effects import Effect
from tests.faults.evidence import Delivery, Evidence, Told
from tests.faults.invariants import INVARIANTS, findings

PLACE = ("orders", 0)


def record(step: Step, attempt: int = 1, entry: str = "1-0", group: str = "ledger") -> Told:
    return Told(PLACE, JournalEntry("9-0", group, "w#0", [Record(step, entry, attempt)]))


def whole() -> Evidence:
    """Two events of one key: the first succeeded at its second attempt, the second at once; a third is dead."""
    events = [Event(id=f"e-{n}", topic="orders", type="t", raw=b"{}", key="k", entry=f"{n}-0") for n in (1, 2, 3)]
    return Evidence(
        groups={"ledger"},
        with_inbox={"ledger"},
        ordered={"ledger"},
        events=events,
        acknowledged={event.id: event.entry for event in events},
        journal=[
            record(Step.DELIVERED),
            record(Step.RELEASED),
            record(Step.RECLAIMED),
            record(Step.SUCCEEDED, 2),
            record(Step.SUCCEEDED, 1, "2-0"),
            record(Step.DEAD_LETTERED, 1, "3-0"),
        ],
        effects=[Effect("ledger", "e-1", "k", 1), Effect("ledger", "e-2", "k", 2)],
        letters=Counter([Delivery(PLACE, "ledger", "3-0")]),
    )


def lose_event(evidence: Evidence) -> None:
    evidence.acknowledged["e-9"] = "9-0"


def lose_settling(evidence: Evidence) -> None:
    del evidence.journal[4]


def store_twice(evidence: Evidence) -> None:
    evidence.events.append(evidence.events[0])


def double_effect(evidence: Evidence) -> None:
    evidence.effects.append(evidence.effects[1])


def miss_effect(evidence: Evidence) -> None:
    evidence.effects.pop()


def swap_effects(evidence: Evidence) -> None:
    evidence.effects.reverse()


def settle_twice(evidence: Evidence) -> None:
    evidence.journal.append(record(Step.SUCCEEDED, 2, "2-0"))


def skip_attempt(evidence: Evidence) -> None:
    evidence.journal[3] = record(Step.SUCCEEDED, 3)


def never_end(evidence: Evidence) -> None:
    evidence.journal.append(record(Step.DELIVERED, 2, "2-0"))


def drop_letter(evidence: Evidence) -> None:
    evidence.letters.clear()


def find_problem(evidence: Evidence) -> None:
    evidence.problems.append(Problem("orders", 0, "ledger", "due, but not pending", "1-0"))


def leave_pending(evidence: Evidence) -> None:
    evidence.left["ledger: pending"] = 1


def differ(evidence: Evidence) -> None:
    evidence.differences.append("event e-1 is stored, and the journal does not say so")


BREAKS = {
    lose_event: "lost",
    lose_settling: "lost",
    store_twice: "stored twice",
    double_effect: "effects doubled",
    miss_effect: "effects missing",
    swap_effects: "order broken",
    settle_twice: "settled twice",
    skip_attempt: "journal gaps",
    never_end: "journal gaps",
    drop_letter: "dead letters wrong",
    find_problem: "found by fsck",
    leave_pending: "left behind",
    differ: "rows differ",
}


def test_what_is_whole_breaks_nothing() -> None:
    assert {name: broken for name, broken in findings(whole()).items() if broken} == {}


@pytest.mark.parametrize(("damage", "name"), BREAKS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_what_is_broken_is_found(damage: Callable[[Evidence], None], name: str) -> None:
    evidence = whole()
    damage(evidence)
    assert findings(evidence)[name]


def test_every_invariant_is_seen_to_fail() -> None:
    assert set(BREAKS.values()) == INVARIANTS.keys()


def test_a_replayed_delivery_may_be_settled_again() -> None:
    evidence = whole()
    evidence.journal += [record(Step.REPLAYED, 1, "3-0"), record(Step.SUCCEEDED, 2, "3-0")]
    evidence.effects.append(Effect("ledger", "e-3", "k", 3))
    evidence.letters.clear()
    assert {name: broken for name, broken in findings(evidence).items() if broken} == {}
