"""Alerts, rules and sinks as pages and the API say them. Reads only; every list is bounded."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from dashboard import visible
from dashboard.alerts.models import SHOWN, Alert, AlertHealth, AlertNotice, AlertRule, Missing, Stage
from dashboard.alerts.notices import sinks
from dashboard.alerts.rules import KINDS, says

MAX_ROWS: Final = 50
MAX_RULES: Final = 200
SILENT_MS: Final = 30_000


def raised(limit: int = MAX_ROWS) -> dict[str, Any]:
    """Alerts that are not over: raised first, then acknowledged and snoozed; critical ones first."""
    found = _seen(Alert.objects.filter(stage__in=SHOWN)).select_related("rule")
    some = sorted(found.order_by("-raised_ms")[:500], key=lambda one: (SHOWN.index(Stage(one.stage)), one.severity))
    return {"alerts": [told(one) for one in some[:limit]], "of": len(some) if len(some) < 500 else found.count()}


def past(before: int = 0, limit: int = MAX_ROWS) -> dict[str, Any]:
    """Alerts that are over or were cleared by hand, newest first; `next` is the `before` of the following page."""
    found = _seen(Alert.objects.filter(stage__in=(Stage.CLEARED, Stage.DISMISSED))).select_related("rule")
    found = found.filter(pk__lt=before) if before else found
    rows = list(found.order_by("-pk")[: limit + 1])
    return {"alerts": [told(one) for one in rows[:limit]], "next": rows[limit - 1].pk if len(rows) > limit else None}


def rules() -> list[dict[str, Any]]:
    """Rules that were not removed."""
    kept = AlertRule.objects.filter(removed_ms=None).order_by("pk")[:MAX_RULES]
    return [rule_told(rule) for rule in kept if sees_rule(rule)]


def sees_rule(rule: AlertRule) -> bool:
    """Whether all topics that the rule is about are seen; one about all topics by who sees all."""
    return visible.sees_all() or all(visible.sees(topic) for topic in (rule.topic, rule.then_topic or rule.topic))


def _seen(found: Any) -> Any:
    if visible.sees_all():
        return found
    return found.filter(topic__in=visible.of(Alert.objects.values_list("topic", flat=True).distinct()))


def alert(pk: int) -> dict[str, Any] | None:
    """One alert with its history, and the events that miss their consequence."""
    found = _seen(Alert.objects.exclude(stage=Stage.PENDING).filter(pk=pk)).select_related("rule").first()
    if found is None:
        return None
    lines = found.steps.order_by("-pk")[:MAX_ROWS]
    missing = _missing(found)
    return {
        **told(found),
        "steps": [
            {"step": one.step, "at_ms": one.at_ms, "who": one.who, "reason": one.reason, "told": one.told}
            for one in lines
        ],
        "missing": [
            {"event_id": one.event_id, "topic": one.topic, "key": one.key, "at_ms": one.at_ms, "came": one.came}
            for one in missing
        ],
    }


def _missing(alert: Alert) -> Iterable[Missing]:
    if alert.rule.kind != "consequence":
        return []
    found = Missing.objects.filter(rule=alert.rule)
    is_over = alert.stage == Stage.CLEARED
    found = found.filter(ended_ms__gte=alert.since_ms, ended_ms__lte=alert.cleared_ms) if is_over else found
    return (found if is_over else found.filter(ended_ms=None)).order_by("-pk")[:MAX_ROWS]


def told(alert: Alert) -> dict[str, Any]:
    """An alert as pages and the API say it."""
    return {
        "id": alert.pk,
        "rule": alert.rule_id,
        "name": alert.rule.name,
        "kind": alert.rule.kind,
        "severity": alert.severity,
        "topic": alert.topic,
        "group": alert.group,
        "stage": alert.stage,
        "told": alert.told,
        "value": alert.value,
        "worst": alert.worst,
        "since_ms": alert.since_ms,
        "raised_ms": alert.raised_ms,
        "cleared_ms": alert.cleared_ms,
        "until_ms": alert.until_ms,
    }


def rule_told(rule: AlertRule) -> dict[str, Any]:
    """A rule, with its sentence."""
    names = (
        "name", "kind", "topic", "group", "threshold", "window_s", "least", "hold_s", "severity", "type", "then_topic",
        "then_type", "same", "within_s", "enabled", "made_by",
    )  # fmt: skip
    return {"id": rule.pk, "says": says(rule), "word": KINDS[rule.kind].word, **{n: getattr(rule, n) for n in names}}


def watched() -> dict[str, Any]:
    """Whether somebody looks, and how each sink is."""
    now_ms = int(time.time() * 1000)
    known = {row.name: row for row in AlertHealth.objects.all()[:MAX_ROWS]}
    looked_ms = known[""].well_ms if "" in known else 0
    return {
        "looked_ms": looked_ms,
        "looks": now_ms - looked_ms < SILENT_MS,
        "sinks": [
            {
                "name": sink.name,
                "well_ms": known[sink.name].well_ms if sink.name in known else 0,
                "trouble": known[sink.name].trouble if sink.name in known else "",
                "trouble_ms": known[sink.name].trouble_ms if sink.name in known else None,
                "dropped": known[sink.name].dropped if sink.name in known else 0,
                "waiting": AlertNotice.objects.filter(sink=sink.name, ended_ms=None).count(),
            }
            for sink in sinks()
        ],
    }
