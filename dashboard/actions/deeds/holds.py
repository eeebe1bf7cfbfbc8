"""Hold and unhold: set a breakpoint on a group, over all partitions of its topic, and remove it."""

from __future__ import annotations

import re
from typing import Final

from bus import hold as holds
from bus import positions
from bus.conditions import FIELDS, Condition, Value
from bus.event import check_topic, new_id
from bus.hold import DEFAULT_LIMIT, DEFAULT_SECONDS, Holding
from bus.keys import Keys
from bus.management.groups import partitions_of
from bus.streams import Client
from dashboard.actions.audit import Outcome
from dashboard.actions.plan import Asked, Doing, Plan, Unclear
from dashboard.actions.roles import Deed
from dashboard.queries.fields import TEXT
from dashboard.queries.language import QueryInvalid, Term, parse

_SPACED: Final = re.compile(r'("(?:[^"\\]|\\.)*")|\s*(!=|>=|<=|[=><])\s*')  # outside quotes: `a < 0` is `a<0`


def plan_hold(client: Client, asked: Asked) -> Plan:
    """Which deliveries would stop, how many at most, and until when."""
    topic, group, places, there = _found(client, asked)
    text, limit = asked.get("when"), _whole(asked, "limit", DEFAULT_LIMIT)
    minutes = _whole(asked, "minutes", DEFAULT_SECONDS // 60)
    conditions = conditions_of(text)
    for keys in places[:1]:  # raises where it can't be
        holds.hold(keys, group, conditions, text=text, who="", limit=limit, seconds=minutes * 60)
    each = f" on each of its {len(places):,} partitions" if len(places) > 1 else ""
    return Plan(
        Deed.HOLD, topic, f"Hold deliveries of {group} on {topic}?",
        [
            f"The next {limit:,} deliveries{each} that fit {text or 'anything at all'} stop before their handler.",
            "Each waits until somebody runs or skips it. Other deliveries go on.",
            "Where the group keeps order, later events of a held key wait behind it.",
            f"After {_told(minutes)} the breakpoint is removed, and what it still holds is run.",
            "Everybody sees a line about it on every page.",
        ],
        "Yes: remove the breakpoint, and all that it holds is run.", "Set the breakpoint",
        group=group, reason="to look at them before they are handled", count=len(places),
        impossible=f"{group} has a breakpoint already, set by {there[0].breakpoint.who}; remove it first"
        if there else "",
        chosen={"when": text, "limit": limit, "minutes": minutes},
        frozen={"id": new_id(), "when": text, "limit": limit, "minutes": minutes},
    )  # fmt: skip


def hold(doing: Doing) -> Outcome:
    """Set it on each partition. Asked for twice it is there once."""
    said = doing.frozen
    conditions = conditions_of(said["when"])
    new = [
        doing.client.run(
            holds.hold(
                keys, doing.group, conditions, text=said["when"], who=doing.who, reason=doing.reason,
                limit=said["limit"], seconds=said["minutes"] * 60, id=said["id"],
            )
        )
        for keys in partitions_of(doing.client, doing.topic)
    ]  # fmt: skip
    if not any(new):
        raise Unclear(f"expected {doing.group} on {doing.topic} without a breakpoint, one was set meanwhile; reload")
    return Outcome(f"{doing.group} on {doing.topic} holds what fits {said['when'] or 'anything'}", count=sum(new))


def plan_unhold(client: Client, asked: Asked) -> Plan:
    """What goes on."""
    topic, group, _, there = _found(client, asked)
    count = sum(len(one.held) for one in there)
    by = f" It was set by {there[0].breakpoint.who}." if there else ""
    return Plan(
        Deed.UNHOLD, topic, f"Remove the breakpoint of {group} on {topic}?",
        [f"Held: {count:,}. A worker runs {'it' if count == 1 else 'them'} at once; nothing stops any more.{by}"],
        "No: what ran, ran. A new breakpoint holds what comes then.", "Remove, and run what it holds",
        group=group, reason="looked into, they may go on", count=count,
        impossible="" if there else f"{group} has no breakpoint",
    )  # fmt: skip


def unhold(doing: Doing) -> Outcome:
    """Remove it on each partition."""
    found = [
        doing.client.run(holds.unhold(keys, doing.group, who=doing.who, reason=doing.reason))
        for keys in partitions_of(doing.client, doing.topic)
    ]
    went = sum(count or 0 for count in found)
    was = any(count is not None for count in found)
    told = f"the breakpoint is removed, {went:,} go on" if was else "there was no breakpoint"
    return Outcome(f"{doing.group} on {doing.topic}: {told}", count=went)


def conditions_of(text: str) -> list[Condition]:
    """What the query language says of events, as the bus takes it. Raises `QueryInvalid`."""
    query = parse(_SPACED.sub(lambda found: found[1] or found[2], text))
    for term in query.terms:
        if term.field not in FIELDS:
            what = "text in quotes" if term.field == TEXT else term.field
            known = ", ".join(sorted(FIELDS))
            raise QueryInvalid(query.text, term.start, term.end, f"expected a condition on {known}, got {what}")
    return [_condition(term) for term in query.terms]


def _condition(term: Term) -> Condition:
    values = [Value(value.text, value.number, value.is_quoted) for value in term.values]
    return Condition(term.field, term.operator, values, term.is_negated, list(term.path))


def _found(client: Client, asked: Asked) -> tuple[str, str, list[Keys], list[Holding]]:
    topic, group = check_topic(asked.needed("topic")), asked.needed("group")
    places = partitions_of(client, topic)
    for keys in places[:1]:
        client.run(positions.position_of(keys, group))  # raises where there is no such group
    return topic, group, places, [there for keys in places if (there := client.run(holds.state(keys, group)))]


def _whole(asked: Asked, name: str, usual: int) -> int:
    text = asked.get(name) or str(usual)
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Unclear(f"expected {name} to be a whole number, got {text[:40]!r}")
    return int(text)


def _told(minutes: int) -> str:
    return f"{minutes:,} minute{'s' * (minutes != 1)}"
