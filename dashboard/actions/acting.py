"""Planning and doing a deed, the same way for page, API and command line: only who asks, and how, differs."""

from __future__ import annotations

from typing import Any, NamedTuple

from bus.management.groups import connected
from dashboard import visible
from dashboard.actions.audit import Actor, Outcome, Wanted, admit, outcome_of, perform
from dashboard.actions.deeds import WAYS, events
from dashboard.actions.models import Action
from dashboard.actions.plan import Asked, Doing, Outdated, Plan, Unclear, freeze, thaw
from dashboard.actions.roles import Deed, Someone, Verdict, may


class Proposal(NamedTuple):
    """A plan, whether this user may carry it out, and the text that carries it out as it was shown."""

    plan: Plan
    verdict: Verdict
    frozen: str


def deed_of(word: str) -> Deed:
    """The deed that an address names. Raises `Unclear`."""
    found = next((deed for deed in WAYS if deed.value == word), None)
    if found is None:
        raise Unclear(f"expected one of {', '.join(deed.value for deed in WAYS)}, got {word[:40]!r}")
    return found


def propose(user: Someone, deed: Deed, asked: Asked) -> Proposal:
    """What would be done. Changes nothing. Raises `BusError`."""
    _check_seen(asked.get("topic"))
    with connected() as client:
        plan = WAYS[deed].plan(client, asked)
    _check_seen(plan.topic)
    return Proposal(plan, may(user, deed, plan.topic), freeze(plan))


def _check_seen(topic: str) -> None:
    if topic and not visible.sees(topic):
        raise Unclear(f"expected a topic that is there, got {topic[:80]!r}")


def act(actor: Actor, deed: Deed, frozen: str, reason: str) -> Action:
    """Do what was shown. Raises `Forbidden`, `Outdated` and other `BusError`s; all but a bad `frozen` are on record."""
    try:
        held = thaw(frozen, deed)
    except Outdated:
        admit(actor, Wanted(deed, reason=reason))
        raise
    topic, group = held["topic"], held["group"]
    wanted = Wanted(deed, topic, group, reason, held["chosen"], held["count"])

    def do(_action: Action) -> Outcome:
        with connected() as client:
            doing: dict[str, Any] = {"who": actor.name, "reason": reason, "frozen": held["frozen"]}
            return WAYS[deed].do(Doing(client, topic, group, **doing))

    return perform(actor, wanted, do)


def revealed(action: Action) -> str:
    """What an action that reveals is about, unmasked: for its own answer, once."""
    assert (action.deed, action.result) == (Deed.REVEAL.value, "done")
    with connected() as client:
        return events.revealed(client, outcome_of(action)["events"][0])
