"""Rows of what operators did, and of who may: never changed by the recorder, never rebuilt from the bus.

`Action` is append-only: what was asked is written before anything is done, the result is added once.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.conf import settings
from django.db import models

RESULTS: Final = ("", "done", "refused", "failed", "cancelled")  # "" while it is under way
_RESULT_FIELDS: Final = ("result", "told", "outcome", "ended_ms")


class ActionFinal(Exception):
    """Somebody tried to change or remove what an action's row says."""


class Actions(models.QuerySet["Action"]):
    """Actions can be added and read."""

    def update(self, **_fields: Any) -> int:
        raise ActionFinal("expected actions to be read or added, got an update; `Action.end` adds the result, once")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise ActionFinal("expected actions to be read or added, got a delete; they are kept")

    def bulk_update(self, *_arguments: Any, **_options: Any) -> int:
        raise ActionFinal("expected actions to be read or added, got an update; `Action.end` adds the result, once")


class Action(models.Model):
    """One thing that somebody did, or was refused. Times are ms of this machine's clock."""

    who = models.CharField(max_length=150)
    via = models.CharField(max_length=20)  # page, api, command line, socket
    deed = models.CharField(max_length=40)
    topic = models.CharField(max_length=120, blank=True)
    group = models.CharField(max_length=120, blank=True)
    filter = models.TextField(blank=True)  # JSON: what was chosen, as it was asked
    frozen_count = models.BigIntegerField(null=True)  # how many were shown at confirmation
    reason = models.CharField(max_length=500, blank=True)
    began_ms = models.BigIntegerField()
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="parts")
    event_id = models.CharField(max_length=64, unique=True)  # of the event on `fanlight.actions`
    result = models.CharField(max_length=12, blank=True)
    told = models.CharField(max_length=500, blank=True)  # the result in a sentence
    outcome = models.TextField(blank=True)  # JSON: events that it caused, positions, numbers
    ended_ms = models.BigIntegerField(null=True)

    objects = Actions.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["began_ms"], name="action_by_time"),
            models.Index(fields=["who", "began_ms"], name="action_by_who"),
            models.Index(fields=["topic", "began_ms"], name="action_by_topic"),
        )
        permissions = (
            ("view_bus", "Viewer: sees topics, groups, events without their payloads"),
            ("view_payloads", "Payload viewer: sees payloads and may export"),
            ("operate", "Operator: may pause, rewind, replay, publish, discard"),
            ("administer", "Admin: may give roles and tokens, and reveal what is masked"),
            ("reveal", "May reveal a masked field"),
        )

    def __str__(self) -> str:
        return f"{self.deed} {self.topic} {self.group} by {self.who}"

    def save(self, *arguments: Any, **options: Any) -> None:
        if self.pk is not None and not self._state.adding:
            raise ActionFinal("expected an action that is new, got one that is recorded; `Action.end` adds the result")
        super().save(*arguments, **options)

    def delete(self, *_arguments: Any, **_options: Any) -> tuple[int, dict[str, int]]:
        raise ActionFinal("expected actions to be kept, got a delete")

    def end(self, result: str, told: str, outcome: str = "") -> bool:
        """Add the result. False when it had one: it then stays."""
        ended = int(time.time() * 1000)
        values = dict(zip(_RESULT_FIELDS, (result, told[:500], outcome, ended), strict=True))
        rows = models.QuerySet(Action).filter(pk=self.pk, result="")  # the one change that there is
        is_first = bool(rows.update(**values))
        if is_first:
            self.__dict__.update(values)
        return is_first


class Touched(models.Model):
    """An event that an action touched or caused: from the one to the other and back. At most 500 of each action."""

    action = models.ForeignKey(Action, models.PROTECT, related_name="touched")
    event_id = models.CharField(max_length=512, db_index=True)

    def __str__(self) -> str:
        return f"{self.action_id} {self.event_id}"


class Grant(models.Model):
    """A role that a user has on the topics that match a pattern. Everywhere: pattern `*`, or the Django group."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    role = models.IntegerField()  # roles.Role
    pattern = models.CharField(max_length=120)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "role", "pattern"], name="grant_once"),)

    def __str__(self) -> str:
        return f"{self.user} {self.role} on {self.pattern}"


class Token(models.Model):
    """What a script shows instead of a session. Only the secret's hash is kept."""

    name = models.CharField(max_length=80, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    role = models.IntegerField()  # roles.Role
    patterns = models.CharField(max_length=500, default="*")  # of topics, with commas between
    made_by = models.CharField(max_length=150)
    made_ms = models.BigIntegerField()
    used_ms = models.BigIntegerField(default=0)
    revoked_ms = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name
