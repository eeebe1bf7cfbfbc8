"""Rows of alerts: rules, alerts with their history, events whose consequence never came, and notices on their way out.

Of a rule and what it is about there is one open alert at most: that is a constraint, so two who look raise it once.
Times are ms of this machine's clock; `Missing.at_ms` is the server's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from django.db import models
from django.db.models import Q


class Stage(StrEnum):
    """Where an alert is."""

    PENDING = "pending"  # it is so, and not yet for long enough
    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    DISMISSED = "dismissed"  # cleared by hand while it is still so: raised again once it was not
    CLEARED = "cleared"


SHOWN: Final = (Stage.RAISED, Stage.ACKNOWLEDGED, Stage.SNOOZED)


class AlertRule(models.Model):
    """What is wrong, where, from when on. Which fields count: `rules.KINDS`."""

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20)
    topic = models.CharField(max_length=120, default="*")  # a pattern
    group = models.CharField(max_length=120, default="*")  # a pattern
    threshold = models.BigIntegerField()
    window_s = models.IntegerField(default=300)
    least = models.IntegerField(default=20)  # attempts in the window, for a rate to mean something
    hold_s = models.IntegerField(default=60)
    severity = models.CharField(max_length=10, default="warning")
    type = models.CharField(max_length=512, blank=True)  # of the event that should have a consequence
    then_topic = models.CharField(max_length=120, blank=True)
    then_type = models.CharField(max_length=512, blank=True)
    same = models.CharField(max_length=5, default="trace")  # or key: what links the two
    within_s = models.IntegerField(default=30)
    enabled = models.BooleanField(default=True)
    since_ms = models.BigIntegerField()  # events before this are not judged
    made_by = models.CharField(max_length=150, blank=True)
    removed_ms = models.BigIntegerField(null=True)  # its history stays

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One time that something was wrong, from its beginning to its end."""

    rule = models.ForeignKey(AlertRule, models.CASCADE)
    topic = models.CharField(max_length=120, blank=True)
    group = models.CharField(max_length=120, blank=True)
    stage = models.CharField(max_length=12, default="pending")
    severity = models.CharField(max_length=10)
    since_ms = models.BigIntegerField()  # it is so since
    seen_ms = models.BigIntegerField()  # somebody looked last, and knew
    fine_ms = models.BigIntegerField(null=True)  # it is no longer so since
    raised_ms = models.BigIntegerField(null=True)
    cleared_ms = models.BigIntegerField(null=True)
    until_ms = models.BigIntegerField(null=True)  # snoozed until
    value = models.FloatField()
    worst = models.FloatField()
    told = models.CharField(max_length=300)  # what, in a sentence

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["rule", "topic", "group"], condition=~Q(stage="cleared"), name="alert_open_once"
            ),
        )
        indexes = (models.Index(fields=["stage", "cleared_ms"], name="alert_by_stage"),)

    def __str__(self) -> str:
        return f"{self.told} ({self.stage})"


class AlertStep(models.Model):
    """What became of an alert, line by line. `who`: nobody when the rule itself said so."""

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="steps")
    at_ms = models.BigIntegerField()
    step = models.CharField(max_length=12)
    who = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    told = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.step} at {self.at_ms}"


class JudgedUpTo(models.Model):
    """How far a rule about consequences has judged a partition."""

    pk = models.CompositePrimaryKey("rule_id", "partition_id")
    rule = models.ForeignKey(AlertRule, models.CASCADE, db_index=False)
    partition_id = models.BigIntegerField()
    event = models.BigIntegerField()  # Event.id

    def __str__(self) -> str:
        return f"rule {self.rule_id} up to {self.event}"


class Missing(models.Model):
    """An event whose consequence was not there in time."""

    rule = models.ForeignKey(AlertRule, models.CASCADE, db_index=False)
    topic = models.CharField(max_length=120)
    event_id = models.CharField(max_length=512)
    correlation_id = models.CharField(max_length=512)
    key = models.CharField(max_length=512)
    at_ms = models.BigIntegerField()
    looked_ms = models.BigIntegerField(default=0)  # for a late one, last
    ended_ms = models.BigIntegerField(null=True)  # it came late, was cleared by hand, or was long ago
    came = models.BooleanField(default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["rule", "event_id"], name="missing_once"),)
        indexes = (
            models.Index(fields=["rule", "looked_ms"], name="missing_open", condition=Q(ended_ms__isnull=True)),
            models.Index(fields=["ended_ms"], name="missing_by_end"),
        )

    def __str__(self) -> str:
        return f"{self.topic} {self.event_id}"


class AlertNotice(models.Model):
    """A line of an alert's history that somebody outside is told. One for each sink."""

    step = models.ForeignKey(AlertStep, models.CASCADE)
    sink = models.CharField(max_length=120)
    tries = models.IntegerField(default=0)
    next_ms = models.BigIntegerField()
    ended_ms = models.BigIntegerField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["step", "sink"], name="notice_once"),)
        indexes = (models.Index(fields=["sink", "next_ms"], name="notice_due", condition=Q(ended_ms__isnull=True)),)

    def __str__(self) -> str:
        return f"{self.sink}: {self.step_id}"


class AlertHealth(models.Model):
    """How a sink is; and, under the name "", whether somebody looks at all."""

    name = models.CharField(max_length=120, primary_key=True)
    well_ms = models.BigIntegerField(default=0)
    trouble = models.CharField(max_length=300, blank=True)
    trouble_ms = models.BigIntegerField(null=True)  # since
    dropped = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name or "evaluation"
