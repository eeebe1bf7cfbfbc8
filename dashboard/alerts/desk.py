"""What operators do with alerts and rules; page and API share it. Who may, and the record, are `actions`' business."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import transaction

from dashboard.actions import audit
from dashboard.actions.audit import Actor, Outcome, Wanted
from dashboard.actions.models import Action
from dashboard.actions.roles import Deed, Someone, Verdict, may
from dashboard.alerts.evaluate import advance
from dashboard.alerts.models import SHOWN, Alert, AlertRule, AlertStep, JudgedUpTo, Missing, Stage
from dashboard.alerts.rules import MAX_RULES, RuleInvalid, parsed, says

SNOOZES: Final[Mapping[str, int]] = {"15m": 900_000, "1h": 3_600_000, "8h": 28_800_000, "24h": 86_400_000}
_WATCHES: Final = ("kind", "topic", "type", "then_topic", "then_type", "same", "within_s")  # what was judged, by these


class AlertInvalid(RuleInvalid):
    """What was asked of an alert can't be done; the text says why."""


def may_on(user: Someone, topic: str) -> Verdict:
    """Whether the user may act on alerts and rules of these topics."""
    return may(user, Deed.ALERT, _topic(topic))


def act(actor: Actor, alert: Alert, word: str, *, reason: str = "", snooze: str = "") -> Action:
    """Acknowledge, snooze or clear. Raises `Forbidden` or `AlertInvalid`."""
    audit.admit(actor, Wanted(Deed.ALERT, _topic(alert.topic), alert.group, reason, {"alert": alert.pk}))
    if word not in _ACTS:
        raise AlertInvalid(f"expected one of {', '.join(_ACTS)}, got {word[:40]!r}")
    if word == "snooze" and snooze not in SNOOZES:
        raise AlertInvalid(f"expected a snooze of {', '.join(SNOOZES)}, got {snooze[:40]!r}")
    asked = {"alert": alert.pk, "do": word, **({"for": snooze} if word == "snooze" else {})}

    def do(_action: Action) -> Outcome:
        now_ms = _now_ms()
        if alert.stage not in SHOWN:
            raise AlertInvalid(f"expected an alert that is raised, alert {alert.pk} is {alert.stage}")
        changes, step = _ACTS[word](alert, now_ms, snooze)
        line = AlertStep(alert=alert, at_ms=now_ms, step=step, who=actor.name[:150], reason=reason[:500])
        with transaction.atomic():
            if not advance(alert, changes, line):
                raise AlertInvalid(f"somebody else has moved alert {alert.pk} on meanwhile; look again")
            if word == "clear":
                Missing.objects.filter(rule=alert.rule, ended_ms=None).update(ended_ms=now_ms)
        return Outcome(f"alert {alert.pk} {step}: {alert.told}")

    return audit.perform(actor, Wanted(Deed.ALERT, _topic(alert.topic), alert.group, reason, asked), do)


Changes = tuple[dict[str, Any], str]


def _acknowledge(_alert: Alert, _now_ms: int, _snooze: str) -> Changes:
    return {"stage": Stage.ACKNOWLEDGED, "until_ms": None}, "acknowledged"


def _snooze(_alert: Alert, now_ms: int, snooze: str) -> Changes:
    return {"stage": Stage.SNOOZED, "until_ms": now_ms + SNOOZES[snooze]}, "snoozed"


def _clear(alert: Alert, now_ms: int, _snooze: str) -> Changes:
    over = alert.rule.kind == "consequence"  # those that are missing are ended with it: only new ones count
    return {"stage": Stage.CLEARED if over else Stage.DISMISSED, "cleared_ms": now_ms, "until_ms": None}, "cleared"


_ACTS: Final[Mapping[str, Callable[[Alert, int, str], Changes]]] = {
    "acknowledge": _acknowledge,
    "snooze": _snooze,
    "clear": _clear,
}


def save(actor: Actor, rule: AlertRule | None, said: Mapping[str, Any], reason: str = "") -> AlertRule:
    """Make a rule, or change one. Raises `Forbidden` or `RuleInvalid`."""
    audit.admit(actor, Wanted(Deed.ALERT, reason=reason))
    fields = parsed(said)
    if rule is None and AlertRule.objects.filter(removed_ms=None).count() >= MAX_RULES:
        raise RuleInvalid(f"expected at most {MAX_RULES} rules, there are as many; remove one first")
    made = rule or AlertRule(since_ms=_now_ms(), made_by=actor.name[:150])
    before = {name: getattr(made, name) for name in fields}
    topics = {_topic(fields["topic"]), _topic(made.topic)} if rule else {_topic(fields["topic"])}

    def do(_action: Action) -> Outcome:
        with transaction.atomic():
            for name, value in fields.items():
                setattr(made, name, value)
            if rule is not None and any(before[name] != fields[name] for name in _WATCHES):
                made.since_ms = _now_ms()  # another question: nothing of what was judged counts
                JudgedUpTo.objects.filter(rule=made).delete()
                Missing.objects.filter(rule=made, ended_ms=None).update(ended_ms=made.since_ms)
            made.save()
        return Outcome(f"{'changed' if rule else 'made'}: {says(made)}")

    topic = "" if "" in topics or len(topics) > 1 else topics.pop()
    asked = {"do": "change" if rule else "make", **fields}
    audit.perform(actor, Wanted(Deed.ALERT, topic, "", reason, asked), do)
    return made


def switch(actor: Actor, rule: AlertRule, *, on: bool, reason: str = "") -> None:
    """Let a rule watch, or not. Raises `Forbidden`."""

    def do(_action: Action) -> Outcome:
        now_ms = _now_ms()
        AlertRule.objects.filter(pk=rule.pk).update(enabled=on, **({"since_ms": now_ms} if on else {}))
        JudgedUpTo.objects.filter(rule=rule).delete()
        return Outcome(f"{'on' if on else 'off'}: {rule.name}")

    asked = {"do": "switch on" if on else "switch off", "rule": rule.pk}
    audit.perform(actor, Wanted(Deed.ALERT, _topic(rule.topic), "", reason, asked), do)


def remove(actor: Actor, rule: AlertRule, reason: str = "") -> None:
    """Take a rule away; what it raised stays in the history. Raises `Forbidden`."""

    def do(_action: Action) -> Outcome:
        AlertRule.objects.filter(pk=rule.pk).update(removed_ms=_now_ms(), enabled=False)
        return Outcome(f"removed: {says(rule)}")

    asked = {"do": "remove", "rule": rule.pk}
    audit.perform(actor, Wanted(Deed.ALERT, _topic(rule.topic), "", reason, asked), do)


def _topic(pattern: str) -> str:
    """The topic that a permission is asked for: none, that is all, for a rule about all."""
    return "" if pattern == "*" else pattern


def _now_ms() -> int:
    return int(time.time() * 1000)
