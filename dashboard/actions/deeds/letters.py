"""Discard dead letters of a group, and restore what was discarded: soft, for 30 days."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from bus import control, operations
from bus.event import check_topic
from bus.keys import Keys
from bus.management.groups import partitions_of
from bus.operations import DeadLetter
from bus.streams import Client
from bus.wire import Operation
from dashboard.actions.audit import Outcome
from dashboard.actions.plan import Asked, Doing, Plan
from dashboard.actions.roles import Deed

MAX_AT_ONCE: Final = 5_000  # ids that a form can carry
MAX_SHOWN: Final = 10
Read = Callable[[Keys, str], Operation[list[DeadLetter]]]


def plan_discard(client: Client, asked: Asked) -> Plan:
    """Which dead letters, frozen as ids."""
    topic, group, found, more = _found(client, asked, discarded=False)
    day = datetime.now(UTC) + timedelta(milliseconds=control.DISCARDED_KEPT_MS)
    noun = _noun(len(found))
    return Plan(
        Deed.DISCARD, topic, f"Discard {noun} of {group} on {topic}?",
        [f"{noun} put aside: no longer counted, listed or replayed.", "A key that one of them blocked is free.", more],
        f"Yes, until {day:%d %B %Y}: restore. Afterwards {'they are' if len(found) != 1 else 'it is'} gone.",
        f"Discard {noun}", group=group, reason="not worth a replay", count=len(found),
        impossible="" if found else "no dead letter matches any more",
        columns=("Event", "Type", "Error"), rows=[_row(letter) for _, letter in found[:MAX_SHOWN]],
        chosen=_chosen(asked), frozen=_frozen(found),
    )  # fmt: skip


def plan_restore(client: Client, asked: Asked) -> Plan:
    """Which discarded ones, frozen as ids."""
    topic, group, found, more = _found(client, asked, discarded=True)
    noun = f"{len(found):,} discarded dead letter{'s' * (len(found) != 1)}"
    return Plan(
        Deed.RESTORE, topic, f"Restore {noun} of {group} on {topic}?",
        [f"{noun.capitalize()} are dead letters again: counted, listed, and ready to be replayed.", more],
        "Yes: discard again.", f"Restore {noun}", group=group, reason="discarded by mistake", count=len(found),
        impossible="" if found else f"nothing of {group} is discarded, or it is gone: kept for 30 days",
        columns=("Event", "Type", "Error"), rows=[_row(letter) for _, letter in found[:MAX_SHOWN]],
        chosen=_chosen(asked), frozen=_frozen(found),
    )  # fmt: skip


def discard(doing: Doing) -> Outcome:
    """Put aside exactly those that were shown and are still there."""
    return _done(doing, control.discard, "discarded")


def restore(doing: Doing) -> Outcome:
    """Put back exactly those that were shown and are still there."""
    return _done(doing, control.restore, "restored")


def _done(doing: Doing, operation: Any, word: str) -> Outcome:
    done, wanted = 0, 0
    for number, ids in doing.frozen["ids"].items():
        keys = Keys(doing.client.config.prefix, doing.topic, int(number))
        wanted += len(ids)
        for first in range(0, len(ids), operations.MAX_BATCH):
            some = ids[first : first + operations.MAX_BATCH]
            done += doing.client.run(operation(keys, doing.group, some, who=doing.who))
    gone = f"; {wanted - done:,} were not there any more" if done < wanted else ""
    return Outcome(f"{done:,} of {wanted:,} {word}{gone}", doing.frozen["events"], done)


def _found(client: Client, asked: Asked, *, discarded: bool) -> tuple[str, str, list[tuple[int, DeadLetter]], str]:
    topic, group = check_topic(asked.needed("topic")), asked.needed("group")
    places = partitions_of(client, topic)
    read: Any = control.discarded if discarded else operations.dead_letters
    all_of = ((keys.partition, one) for keys in places for one in _all(client, keys, group, read) if _fits(one, asked))
    found = list(islice(all_of, MAX_AT_ONCE))
    is_more = next(all_of, None) is not None
    more = f"There are more than {MAX_AT_ONCE:,}: these are the oldest; do it again for the others." if is_more else ""
    return topic, group, found, more


def _all(client: Client, keys: Keys, group: str, read: Any) -> Iterator[DeadLetter]:
    after = ""
    while letters := client.run(read(keys, group, after=after)):
        yield from letters
        after = letters[-1].id


def _fits(letter: DeadLetter, asked: Asked) -> bool:
    """Whether it is of the kind, or one of the events, that are meant. A kind without a fingerprint is its error."""
    failure, kind, events = letter.failure, asked.get("error"), asked.all("event")
    named = (
        {failure.fingerprint}
        if failure.fingerprint
        else {failure.error_class, f"{failure.error_class}: {failure.message}"}
    )
    return (not kind or kind in named) and (not events or letter.event.id in events)


def _frozen(found: Iterable[tuple[int, DeadLetter]]) -> Mapping[str, Any]:
    ids: dict[str, list[str]] = {}
    events = []
    for partition, letter in found:
        ids.setdefault(str(partition), []).append(letter.id)
        events.append(letter.event.id)
    return {"ids": ids, "events": events[:500]}


def _chosen(asked: Asked) -> dict[str, Any]:
    return {name: value for name in ("error", "event") if (value := asked.get(name))}


def _row(letter: DeadLetter) -> tuple[str, str, str]:
    return letter.event.id, letter.event.type, f"{letter.failure.error_class}: {letter.failure.message}"[:200]


def _noun(count: int) -> str:
    return f"{count:,} dead letter{'s' * (count != 1)}"
