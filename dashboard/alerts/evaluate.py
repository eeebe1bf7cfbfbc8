"""Looking once at all rules: what begins, what holds long enough to be raised, what is over.

An alert moves by compare-and-set, and its history and notices are written in the same transaction: two that look at
once raise it once. What is unknown changes nothing. It is over once the value was clearly below (`CLEAR_PART`) for as
long as it had to hold, so that a value that dances about the threshold makes one alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db import IntegrityError, transaction

from dashboard.alerts import consequences
from dashboard.alerts.models import SHOWN, Alert, AlertHealth, AlertRule, AlertStep, Missing, Stage
from dashboard.alerts.notices import tell
from dashboard.alerts.readings import Reading, Scene, look, readings
from dashboard.alerts.rules import MAX_RULES
from dashboard.record.masking import masker

CLEAR_PART: Final = 0.8
STEADY_MS: Final = 10_000  # below for so long at least
GAP_MS: Final = 30_000  # nobody looked for longer: what was so before may have been otherwise since
MAX_OPEN: Final = 500  # alerts of one rule
KEPT_MS: Final = 90 * 86_400_000
SWEPT: Final = 500

Place = tuple[str, str]


def turn(scene: Scene | None = None) -> None:
    """Look, and move what is to be moved. Raises a database error or `ServerError`: turn again."""
    rules = list(AlertRule.objects.filter(enabled=True, removed_ms=None).order_by("pk")[:MAX_RULES])
    scene = scene or look(rules)
    opened: dict[int, dict[Place, Alert]] = {}
    for alert in Alert.objects.exclude(stage=Stage.CLEARED).select_related("rule"):
        opened.setdefault(alert.rule_id, {})[alert.topic, alert.group] = alert
    for rule in rules:
        _evaluate(rule, scene, opened.pop(rule.pk, {}))
    for alerts in opened.values():  # of rules that are switched off or gone
        for alert in alerts.values():
            end(alert, scene.now_ms, told="the rule no longer watches this")
    AlertHealth.objects.update_or_create(name="", defaults={"well_ms": scene.now_ms})


def _evaluate(rule: AlertRule, scene: Scene, opened: dict[Place, Alert]) -> None:
    for seen in _seen(rule, scene):
        alert = opened.pop((seen.topic, seen.group), None)
        if seen.value is None:
            continue
        if alert is not None:
            _move(rule, alert, seen, scene.now_ms)
        elif seen.value >= rule.threshold and len(opened) < MAX_OPEN:
            _begin(rule, seen, scene.now_ms)
    for alert in opened.values() if scene.state.available else ():
        _move(rule, alert, Reading(alert.topic, alert.group, 0.0, alert.told), scene.now_ms)  # it is no more


def _seen(rule: AlertRule, scene: Scene) -> Iterable[Reading]:
    if rule.kind != "consequence":
        return readings(rule, scene)
    consequences.judge(rule, scene)
    return [consequences.reading(rule)]


def _begin(rule: AlertRule, seen: Reading, now_ms: int) -> None:
    made = Alert(rule=rule, topic=seen.topic, group=seen.group, severity=rule.severity, since_ms=now_ms, seen_ms=now_ms)
    made.value = made.worst = seen.value or 0.0
    made.told = _told(seen)
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError:
        return  # another one who looks was first
    if not rule.hold_s:
        _raise(made, now_ms)


def _move(rule: AlertRule, alert: Alert, seen: Reading, now_ms: int) -> None:
    """What the value means for an alert that is open."""
    value = seen.value or 0.0
    gap = now_ms - alert.seen_ms > GAP_MS
    if alert.stage == Stage.PENDING and value < rule.threshold:
        Alert.objects.filter(pk=alert.pk, stage=Stage.PENDING).delete()
    elif value < rule.threshold * CLEAR_PART:
        fine_ms = now_ms if gap or alert.fine_ms is None else alert.fine_ms
        _note(alert, seen_ms=now_ms, fine_ms=fine_ms, value=value)
        if now_ms - fine_ms >= max(rule.hold_s * 1000, STEADY_MS):
            end(alert, now_ms)
    else:
        since_ms = now_ms if gap and alert.stage == Stage.PENDING else alert.since_ms
        worst = max(value, alert.worst)
        _note(
            alert, seen_ms=now_ms, fine_ms=None, value=value, worst=worst, since_ms=since_ms, told=_told(seen)
        )  # fmt: skip
        held = alert.stage == Stage.PENDING and now_ms - since_ms >= rule.hold_s * 1000
        if held or (alert.stage == Stage.SNOOZED and now_ms >= (alert.until_ms or 0)):
            _raise(alert, now_ms)


def _note(alert: Alert, **fields: Any) -> None:
    Alert.objects.filter(pk=alert.pk, stage=alert.stage).update(**fields)
    for name, value in fields.items():
        setattr(alert, name, value)


def _raise(alert: Alert, now_ms: int) -> None:
    reason = "the snooze is over and it is still so" if alert.stage == Stage.SNOOZED else ""
    changes = {"stage": Stage.RAISED, "raised_ms": alert.raised_ms or now_ms, "until_ms": None}
    advance(alert, changes, AlertStep(alert=alert, at_ms=now_ms, step="raised", reason=reason))


def end(alert: Alert, now_ms: int, *, told: str = "") -> bool:
    """It is over."""
    if alert.stage == Stage.PENDING:
        return bool(Alert.objects.filter(pk=alert.pk, stage=Stage.PENDING).delete()[0])
    step = AlertStep(alert=alert, at_ms=now_ms, step="cleared", reason=told)
    cleared = alert.cleared_ms or now_ms  # when somebody cleared it by hand, that was its end
    return advance(alert, {"stage": Stage.CLEARED, "cleared_ms": cleared}, step)


def advance(alert: Alert, changes: Mapping[str, Any], step: AlertStep) -> bool:
    """Move an alert on, with its line of history and its notices; False when somebody else has moved it."""
    was = alert.stage
    with transaction.atomic():
        if not Alert.objects.filter(pk=alert.pk, stage=was).update(**changes):
            return False
        step.told = alert.told
        step.save()
        if (step.step == "raised" or step.step == "cleared") and was != Stage.DISMISSED:
            tell(step)
    for name, value in changes.items():
        setattr(alert, name, value)
    return True


def _told(seen: Reading) -> str:
    return masker().text(seen.told)[:300]


def sweep(now_ms: int) -> None:
    """Forget what ended long ago, and rules that were removed and have no history left."""
    old = Alert.objects.filter(stage=Stage.CLEARED, cleared_ms__lt=now_ms - KEPT_MS).values_list("pk", flat=True)
    Alert.objects.filter(pk__in=list(old[:SWEPT])).delete()
    ended = Missing.objects.filter(ended_ms__lt=now_ms - KEPT_MS).values_list("pk", flat=True)
    Missing.objects.filter(pk__in=list(ended[:SWEPT])).delete()
    AlertRule.objects.filter(removed_ms__lt=now_ms - KEPT_MS, alert=None).delete()


def raised() -> int:
    """How many alerts are not over and not cleared by hand."""
    return Alert.objects.filter(stage__in=SHOWN).count()
