"""Release, skip or give up pending entries of a group, chosen one by one.

An entry is named `partition:entry:attempt`, as it was seen; what was handed out anew since is passed over.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from bus import pending
from bus.event import check_topic
from bus.keys import Keys
from bus.management.groups import partitions_of
from bus.pending import Chosen, Intervened
from bus.streams import Client
from bus.wire import Operation
from dashboard.actions.audit import Outcome
from dashboard.actions.plan import Asked, Doing, Plan, Unclear
from dashboard.actions.roles import Deed
from dashboard.models import Event

MAX_CHOSEN: Final = 500
_NAMED: Final = re.compile(r"(\d{1,4}):(\d{1,15}-\d{1,20}):(\d{1,9})\Z")
_WHY: Final = {
    "gone": "settled meanwhile",
    "moved": "handed out anew since it was shown",
    "key": "waiting for an older event of the same key",
    "due": "due already, a worker takes it next",
}


def named(entry: Mapping[str, Any]) -> str:
    """A pending entry as these deeds take it."""
    return f"{entry['partition']}:{entry['entry']}:{entry['attempt']}"


def plan_release(client: Client, asked: Asked) -> Plan:
    """They need not wait."""
    return _plan(
        client, asked, Deed.RELEASE, "Release",
        "A worker takes {them} at once: a retry need not wait for its time, and what is in a worker's hands is taken"
        " from it. The attempt that it was at does not count.",
        "No. If a worker still runs {them}, the handler runs twice, and the first result is ignored.",
    )  # fmt: skip


def plan_skip(client: Client, asked: Asked) -> Plan:
    """They leave the group."""
    return _plan(
        client, asked, Deed.SKIP, "Skip",
        "{group} never handles {them}. Other groups are not touched, and the event stays on the topic.",
        "No. To let {group} have {them} after all, publish anew, or rewind the group.",
    )  # fmt: skip


def plan_dead_letter(client: Client, asked: Asked) -> Plan:
    """They are given up; with `edit` to be edited on the next page."""
    if asked.get("edit"):
        return _plan(
            client, asked, Deed.DEAD_LETTER, "Edit",
            "First {group} gives {them} up: {they} to its dead letters. On the next page you edit the data, see the"
            " difference, and hand the edited event to {group} alone.",
            "Yes: as long as it is not handed over, replay the dead letter as it was.",
        )  # fmt: skip
    return _plan(
        client, asked, Deed.DEAD_LETTER, "Give up",
        "{group} attempts no more: {they} to its dead letters, with your reason.",
        "Yes: replay the dead letter.",
    )  # fmt: skip


def release(doing: Doing) -> Outcome:
    """Let them be taken."""
    return _done(doing, "released", lambda keys, chosen: pending.release(keys, doing.group, chosen, who=doing.who))


def skip(doing: Doing) -> Outcome:
    """Take them out."""
    return _done(doing, "skipped", lambda keys, chosen: pending.skip(keys, doing.group, chosen, who=doing.who))


def dead_letter(doing: Doing) -> Outcome:
    """Give them up."""
    return _done(
        doing,
        "given up, now dead letters",
        lambda keys, chosen: pending.dead_letter(keys, doing.group, chosen, who=doing.who, reason=doing.reason),
    )


def _plan(client: Client, asked: Asked, deed: Deed, verb: str, says: str, undo: str) -> Plan:
    topic, group = check_topic(asked.needed("topic")), asked.needed("group")
    partitions_of(client, topic)
    chosen = asked.all("entry")
    if not 1 <= len(chosen) <= MAX_CHOSEN:
        raise Unclear(f"expected 1 to {MAX_CHOSEN} entries, as entry=partition:entry:attempt, got {len(chosen)}")
    named = [_parsed(text) for text in chosen]
    many = len(named) > 1
    words = {"group": group, "them": "them" if many else "it", "they": "they go" if many else "it goes"}
    noun = f"{len(named):,} pending entries" if many else "1 pending entry"
    ids = _ids(topic, named)
    return Plan(
        deed, topic, f"{verb} {noun} of {group} on {topic}?", [says.format(**words)], undo.format(**words),
        f"{verb} {noun}", group=group, reason=f"{verb.lower()} by hand", count=len(named),
        columns=("Event", "Partition", "Entry", "Attempt"),
        rows=[(ids.get((p, e), "not recorded"), p, e, a) for p, e, a in named[:20]],
        chosen={"entries": len(named)}, frozen={"entries": named},
    )  # fmt: skip


def _done(doing: Doing, word: str, operation: Callable[[Keys, list[Chosen]], Operation[Intervened]]) -> Outcome:
    by_partition: dict[int, list[Chosen]] = defaultdict(list)
    for partition, entry, attempt in doing.frozen["entries"]:
        by_partition[partition].append(Chosen(entry, attempt))
    done = 0
    passed: dict[tuple[int, str], str] = {}
    for partition, chosen in sorted(by_partition.items()):
        result = doing.client.run(operation(Keys(doing.client.config.prefix, doing.topic, partition), chosen))
        done += result.done
        passed |= {(partition, entry): why for entry, why in result.passed.items()}
    ids = _ids(doing.topic, doing.frozen["entries"])
    why = [f"{count:,} {_WHY[name]}" for name, count in sorted(Counter(passed.values()).items())]
    text = f"{done:,} of {len(doing.frozen['entries']):,} {word}"
    touched = [event_id for place, event_id in ids.items() if place not in passed]
    return Outcome("; passed over: ".join([text, ", ".join(why)]) if why else text, touched, done)


def _parsed(text: str) -> tuple[int, str, int]:
    if not (found := _NAMED.match(text)):
        raise Unclear(f"expected partition:entry:attempt such as 0:1763000000000-0:1, got {text[:60]!r}")
    return int(found[1]), found[2], int(found[3])


def _ids(topic: str, named: Iterable[Any]) -> Mapping[tuple[int, str], str]:
    """Ids of the events, by partition and entry, as far as they are recorded."""
    entries = [entry for _, entry, _ in named]
    rows = Event.objects.filter(partition__topic=topic, entry__in=entries)
    return {(p, e): event_id for p, e, event_id in rows.values_list("partition__number", "entry", "event_id")}
