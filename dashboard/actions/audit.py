"""The record of what operators do, and the one way in: check → record → do → record the result → say it on the bus.

`perform` is for what ends at once. What takes longer calls `begin`, works, and calls `end`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

import bus
from bus.errors import BusError, one_line
from bus.event import new_id
from dashboard.actions.models import Action, Touched
from dashboard.actions.roles import Deed, Someone, may, may_somewhere
from dashboard.record.masking import masker
from dashboard.record.rows import clean

TOPIC: Final = "fanlight.actions"
MAX_REASON: Final = 500
MAX_CAUSED: Final = 500  # events that an outcome names

log = logging.getLogger("dashboard.actions")


class Forbidden(BusError):
    """The user may not do this; the text says what it needs."""


class Actor(NamedTuple):
    """Who acts, and by which way. `user` None: the command line, where the account on this machine is the proof."""

    name: str
    via: str
    user: Someone | None = None


@dataclass(frozen=True)
class Wanted:
    """What is asked for. `filter`: what was chosen, as asked. `count`: how many were shown when it was confirmed."""

    deed: Deed
    topic: str = ""
    group: str = ""
    reason: str = ""
    filter: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    parent: Action | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of it. `told`: a sentence. `events`: ids of events that it touched or caused."""

    told: str
    events: Sequence[str] = ()
    count: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def perform(actor: Actor, wanted: Wanted, do: Callable[[Action], Outcome]) -> Action:
    """Do it, on the record. Raises `Forbidden` (recorded as refused) and what `do` raises (recorded as failed)."""
    action = begin(actor, wanted)
    try:
        outcome = do(action)
    except BusError as error:
        end(action, "failed", Outcome(one_line(error)))
        raise
    except Exception as error:
        end(action, "failed", Outcome(f"{type(error).__name__}: a mistake of this program, see its log"))
        raise
    end(action, "done", outcome)
    return action


def admit(actor: Actor, wanted: Wanted) -> None:
    """Refuse who may not, before anything else of what they ask is looked at. Raises `Forbidden`, on record.

    Without a topic, it is not known yet: then only who may on none at all is refused.
    """
    if actor.user is None:
        return
    topic, deed = wanted.topic, wanted.deed
    if not (may(actor.user, deed, topic) if topic else may_somewhere(actor.user, deed)).allowed:
        begin(actor, wanted)


def begin(actor: Actor, wanted: Wanted) -> Action:
    """Check and record what is asked for. Raises `Forbidden`, which is recorded too."""
    verdict = may(actor.user, wanted.deed, wanted.topic) if actor.user is not None else None
    action = Action.objects.create(
        who=clean(actor.name, 150),
        via=actor.via,
        deed=wanted.deed.value,
        topic=clean(wanted.topic, 120),
        group=clean(wanted.group, 120),
        filter=_masked_json(wanted.filter),
        frozen_count=wanted.count,
        reason=masker().text(clean(wanted.reason, MAX_REASON))[:MAX_REASON],
        began_ms=int(time.time() * 1000),
        parent=wanted.parent,
        event_id=new_id(),
    )
    if verdict is not None and not verdict.allowed:
        end(action, "refused", Outcome(verdict.reason))
        raise Forbidden(f"not allowed: {verdict.reason}")
    return action


def end(action: Action, result: str, outcome: Outcome) -> None:
    """Record the result, once, and say on the bus what was done."""
    told = masker().text(clean(outcome.told, 500))
    said = {**asdict(outcome), "told": told, "events": list(outcome.events)[:MAX_CAUSED]}
    if action.end(result, told, _masked_json(said)):
        touched = (Touched(action=action, event_id=clean(one)) for one in said["events"])
        Touched.objects.bulk_create(touched, batch_size=100)
        _announce(action, outcome)


def outcome_of(action: Action) -> dict[str, Any]:
    """What the result says, as it was recorded."""
    found: dict[str, Any] = msgspec.json.decode(action.outcome) if action.outcome else {}
    return found


def _announce(action: Action, outcome: Outcome) -> None:
    """Put the action on the bus, under its own id. That it can't be changes nothing of what was done."""
    data = {
        "action": action.pk, "who": action.who, "via": action.via, "topic": action.topic, "group": action.group,
        "reason": action.reason, "result": action.result, "told": action.told, "count": outcome.count,
        "filter": msgspec.json.decode(action.filter) if action.filter else {},
    }  # fmt: skip
    try:
        bus.publish(TOPIC, action.deed, data, key=action.group or action.topic or None, id=action.event_id)
    except BusError as error:
        log.warning("action %s was not published on %s: %s", action.pk, TOPIC, error)


def _masked_json(value: Mapping[str, Any]) -> str:
    if not value:
        return ""
    raw = msgspec.json.encode(value)
    return masker().payload(raw, len(raw)).decode("utf-8", "backslashreplace")
