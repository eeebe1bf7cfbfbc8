"""Pause, resume and rewind of a group, over all partitions of its topic."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from bus import control, positions
from bus.event import check_topic, entry_ms
from bus.inspect import GroupState
from bus.keys import Keys
from bus.management.groups import partitions_of
from bus.streams import Client
from dashboard.actions.audit import Outcome
from dashboard.actions.plan import Asked, Doing, Plan, Unclear
from dashboard.actions.roles import Deed
from dashboard.queries.bus_state import bus_state

WAIT_SECONDS: Final = 15.0  # for what runs to end: a person looks at the page meanwhile


def plan_pause(client: Client, asked: Asked) -> Plan:
    """Nothing more is taken."""
    topic, group, places, states = _found(client, asked)
    running, retrying = sum(count for s in states for _, count in s.held), sum(s.due for s in states)
    paused = [client.run(control.paused_by(keys, group)) for keys in places]
    return Plan(
        Deed.PAUSE, topic, f"Pause {group} on {topic}?",
        [
            f"{group} takes nothing more from {topic}, on {_partitions(len(places))}, until somebody resumes it.",
            f"What runs now may end ({running:,}). Retries wait ({retrying:,}), events keep arriving and wait too.",
            "Other groups go on as they are.",
        ],
        "Yes: resume it. Nothing is lost or reordered meanwhile.", f"Pause {group}",
        group=group, reason="to look into it", count=len(places),
        impossible=f"{group} is paused already, by {paused[0]}" if all(paused) else "",
    )  # fmt: skip


def pause(doing: Doing) -> Outcome:
    """Pause it on each partition."""
    new = [
        doing.client.run(control.pause(keys, doing.group, who=doing.who, reason=doing.reason)) for keys in _of(doing)
    ]
    return Outcome(f"{doing.group} on {doing.topic} {'is paused' if any(new) else 'was paused before'}", count=sum(new))


def plan_resume(client: Client, asked: Asked) -> Plan:
    """It goes on."""
    topic, group, places, _ = _found(client, asked)
    paused = [who for keys in places if (who := client.run(control.paused_by(keys, group)))]
    return Plan(
        Deed.RESUME, topic, f"Resume {group} on {topic}?",
        [
            f"{group} goes on with all that waited for it, oldest first, on {_partitions(len(places))}.",
            f"It was paused by {paused[0]}." if paused else "",
        ],
        "Yes: pause it again. What it has handled by then stays handled.", f"Resume {group}",
        group=group, reason="looked into, it may go on", count=len(places),
        impossible="" if paused else f"{group} is not paused",
    )  # fmt: skip


def resume(doing: Doing) -> Outcome:
    """Resume it on each partition."""
    was = [
        doing.client.run(control.resume(keys, doing.group, who=doing.who, reason=doing.reason)) for keys in _of(doing)
    ]
    return Outcome(f"{doing.group} on {doing.topic} {'goes on' if any(was) else 'was not paused'}", count=sum(was))


def plan_rewind(client: Client, asked: Asked) -> Plan:
    """Before → after of each partition, and how many events that is."""
    topic, group, places, _ = _found(client, asked)
    to = asked.needed("to")
    wanted = positions.parse(to, now=datetime.now(UTC))
    moves = []
    for keys in places:
        before = client.run(positions.position_of(keys, group))
        moves.append(_counted(client, keys, before, positions.resolve(client, keys, before, wanted)))
    back, forth = (sum(row["count"] for row in moves if row["is_forth"] is way) for way in (False, True))
    about = "" if all(row["is_exact"] for row in moves) else "over "
    return Plan(
        Deed.REWIND, topic, f"Move {group} on {topic} to {to}?",
        [
            f"{about}{back:,} events come to {group} anew, whether it has handled them or not." if back else "",
            f"{about}{forth:,} events are passed over: {group} never gets them." if forth else "",
            f"It is paused meanwhile, until what runs has ended ({WAIT_SECONDS:g} s at most), then it goes on.",
            "Dead, discarded and retrying deliveries of events that come anew are undone." if back else "",
        ],
        "Only in part: it can be moved again, but what was handled twice stays handled twice.",
        f"Move {group}", group=group, reason=f"to go on from {to}", count=back + forth,
        impossible="" if back or forth else "it is there already: no event would come anew or be passed over",
        warning="Its handlers run again for events that they have handled: only safe where twice is." if back else "",
        columns=("Partition", "Before", "After", "Events"),
        rows=[(row["partition"], told(row["before"]), told(row["after"]), _words(row)) for row in moves],
        chosen={"to": to}, frozen={str(row["partition"]): [row["before"], row["after"]] for row in moves},
    )  # fmt: skip


def rewind(doing: Doing) -> Outcome:
    """Move it, partition by partition, to the entries that were shown; says where it had moved on since."""
    moves, said = [], []
    for keys in _of(doing):
        if str(keys.partition) not in doing.frozen:
            said.append(f"partition {keys.partition} is new since, and stays as it is")
            continue
        shown, after = doing.frozen[str(keys.partition)]
        moved = control.move(
            doing.client, keys, doing.group, after, who=doing.who, reason=doing.reason, wait_seconds=WAIT_SECONDS
        )
        row = _counted(doing.client, keys, moved.before, moved.after)
        moves.append({**row, "undone": moved.undone, "shown": shown})
        if moved.before != shown:
            said.append(f"partition {keys.partition} had moved on from {shown} to {moved.before} since it was shown")
    back, forth = (sum(row["count"] for row in moves if row["is_forth"] is way) for way in (False, True))
    parts = [f"{back:,} events come anew"] * bool(back) + [f"{forth:,} are passed over"] * bool(forth)
    text = f"{doing.group} on {doing.topic} was moved: {', '.join(parts) or 'no event between'}"
    return Outcome("; ".join([text, *said]), count=back + forth, details={"moves": moves})


def told(entry: str) -> str:
    """A position for people: the entry with its time."""
    if entry in (positions.EARLIEST, positions.LATEST):
        return "the beginning" if entry == positions.EARLIEST else "the newest event"
    ms = entry_ms(entry)
    return f"{entry} ({datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC)" if 0 < ms < 2**42 else entry


def _counted(client: Client, keys: Keys, before: str, after: str) -> dict[str, Any]:
    forth = positions.is_older(before, after)
    count, exact = positions.count_between(client, keys, *((before, after) if forth else (after, before)))
    return {
        "partition": keys.partition, "before": before, "after": after, "is_forth": forth,
        "count": count, "is_exact": exact,
    }  # fmt: skip


def _words(row: dict[str, Any]) -> str:
    number = f"{'' if row['is_exact'] else 'over '}{row['count']:,}"
    return f"{number} {'passed over' if row['is_forth'] else 'come anew'}" if row["count"] else "stays"


def _found(client: Client, asked: Asked) -> tuple[str, str, list[Keys], list[GroupState]]:
    topic, group = check_topic(asked.needed("topic")), asked.needed("group")
    places = partitions_of(client, topic)
    for keys in places[:1]:
        client.run(positions.position_of(keys, group))  # raises where there is no such group
    states = [state for (name, _, of), state in bus_state().groups.items() if (name, of) == (topic, group)]
    return topic, group, places, states


def _of(doing: Doing) -> Iterable[Keys]:
    found = partitions_of(doing.client, doing.topic)
    if not found:
        raise Unclear(f"expected a topic with partitions, {doing.topic} has none")
    return found


def _partitions(count: int) -> str:
    return f"its {count:,} partitions" if count > 1 else "its one partition"
