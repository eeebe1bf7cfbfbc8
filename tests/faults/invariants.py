"""What must be true after any faults. Each invariant is asked of the evidence and answers with what breaks it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from bus.journal import Record, Step
from tests.faults.evidence import SETTLED, Delivery, Evidence

LEFT: Final = {*SETTLED, Step.SKIPPED, Step.LOST}
LETTER_MADE: Final = {Step.DEAD_LETTERED, Step.RESTORED}
LETTER_GONE: Final = {Step.REPLAYED, Step.DISCARDED}
ENDED: Final = {Step.SUCCEEDED, Step.DEAD_LETTERED, Step.RETRY_SCHEDULED, Step.RECLAIMED}


def lost(evidence: Evidence) -> list[str]:
    """What was acknowledged is on the stream, and every group has settled every event."""
    there = {event.id for event in evidence.events}
    gone = [
        f"{event_id} was acknowledged and is not on the stream" for event_id in evidence.acknowledged.keys() - there
    ]
    settled = {delivery for delivery, record in evidence.records() if record.step in SETTLED}
    left = [
        f"{event.id} was never settled by {group}"
        for event in evidence.events
        for group in evidence.groups
        if Delivery((event.topic, event.partition), group, event.entry) not in settled
    ]
    return sorted(gone) + sorted(left)


def stored_twice(evidence: Evidence) -> list[str]:
    """One entry an event id, however often it was published."""
    counts = Counter(event.id for event in evidence.events)
    return [f"{event_id} is on the stream {count} times" for event_id, count in counts.items() if count > 1]


def effects_doubled(evidence: Evidence) -> list[str]:
    """Of one event in one group at most one effect."""
    counts = Counter((effect.group, effect.event_id) for effect in evidence.effects)
    return [
        f"{event_id} took effect {count} times in {group}" for (group, event_id), count in counts.items() if count > 1
    ]


def effects_missing(evidence: Evidence) -> list[str]:
    """What succeeded, took effect."""
    entries = {(event.topic, event.partition, event.entry): event.id for event in evidence.events}
    found = {(effect.group, effect.event_id) for effect in evidence.effects}
    return [
        f"{event_id} succeeded in {delivery.group} without effect"
        for delivery, record in evidence.records()
        if record.step == Step.SUCCEEDED and delivery.group in evidence.with_inbox
        if (event_id := entries.get((*delivery.partition, delivery.entry)))
        if (delivery.group, event_id) not in found
    ]


def order_broken(evidence: Evidence) -> list[str]:
    """Of each key the effects come in the order of its numbers.

    What ended as a dead letter is left out: its key went on without it.
    """
    ids = {(event.topic, event.partition, event.entry): event.id for event in evidence.events}
    dead = {
        (delivery.group, ids.get((*delivery.partition, delivery.entry)))
        for delivery, record in evidence.records()
        if record.step == Step.DEAD_LETTERED
    }
    newest: dict[tuple[str, str], int] = {}
    broken = []
    for effect in evidence.effects:
        if effect.group not in evidence.ordered or not effect.key or (effect.group, effect.event_id) in dead:
            continue
        before = newest.get((effect.group, effect.key), 0)
        if effect.number < before:
            broken.append(f"{effect.key} in {effect.group}: number {effect.number} took effect after {before}")
        newest[effect.group, effect.key] = max(effect.number, before)
    return broken


def settled_twice(evidence: Evidence) -> list[str]:
    """A delivery leaves its group once; again only after a replay."""
    counts: Counter[Delivery] = Counter()
    for delivery, record in evidence.records():
        counts[delivery] += (record.step in LEFT) - (record.step == Step.REPLAYED)
    return [f"{_shown(delivery)} was settled {count} times" for delivery, count in counts.items() if count > 1]


def journal_gaps(evidence: Evidence) -> list[str]:
    """Attempts are numbered 1, 2, 3… without a gap, and each that began has ended."""
    records: dict[Delivery, list[Record]] = defaultdict(list)
    for delivery, record in evidence.records():
        records[delivery].append(record)
    return [f"{_shown(delivery)}: {gap}" for delivery, found in records.items() if (gap := _gap(found))]


def _gap(records: list[Record]) -> str:
    expected, began, ended = 1, set(), set()
    for record in records:
        if record.step == Step.DELIVERED:
            began.add(record.attempt)
        elif record.step in ENDED or record.step == Step.RELEASED:
            if record.attempt != expected:
                return f"{Step(record.step).word} ends attempt {record.attempt}, expected {expected}"
            ended.add(record.attempt)
            expected += record.step in ENDED
    return f"attempts {sorted(began - ended)} began and never ended" if began - ended else ""


def dead_letters_wrong(evidence: Evidence) -> list[str]:
    """For each delivery that was given up, not replayed and not put aside, there is one dead letter, and no other."""
    expected: Counter[Delivery] = Counter()
    for delivery, record in evidence.records():
        expected[delivery] += (record.step in LETTER_MADE) - (record.step in LETTER_GONE)
    return [
        f"{_shown(delivery)}: {evidence.letters[delivery]} dead letters, expected {max(expected[delivery], 0)}"
        for delivery in expected.keys() | evidence.letters.keys()
        if evidence.letters[delivery] != max(expected[delivery], 0)
    ]


def found_by_fsck(evidence: Evidence) -> list[str]:
    """The bus agrees with itself."""
    return [f"{p.group} on {p.topic}/{p.partition}: {p.which} {p.what}" for p in evidence.problems]


def left_behind(evidence: Evidence) -> list[str]:
    """Nothing is pending, due, parked or busy once all is settled."""
    return [f"{count} {what}" for what, count in evidence.left.items()]


def rows_differ(evidence: Evidence) -> list[str]:
    """The rows of the read model are the journal, replayed."""
    return evidence.differences


INVARIANTS: Final[Mapping[str, Callable[[Evidence], list[str]]]] = {
    "lost": lost,
    "stored twice": stored_twice,
    "effects doubled": effects_doubled,
    "effects missing": effects_missing,
    "order broken": order_broken,
    "settled twice": settled_twice,
    "journal gaps": journal_gaps,
    "dead letters wrong": dead_letters_wrong,
    "found by fsck": found_by_fsck,
    "left behind": left_behind,
    "rows differ": rows_differ,
}


def findings(evidence: Evidence) -> dict[str, list[str]]:
    """What each invariant answers; all empty where nothing is broken."""
    return {name: ask(evidence) for name, ask in INVARIANTS.items()}


def _shown(delivery: Delivery) -> str:
    topic, number = delivery.partition
    return f"{delivery.entry} of {topic}/{number} in {delivery.group}"
