"""Rows of replays: the operation, and each dead letter that it froze. Not a part of the read model: never rebuilt.

The list is frozen when the plan is made, so the number that is confirmed is the number that is touched. Only the
runner moves letters on, each by compare-and-set, so two runners count nothing twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from django.db import models

from dashboard.actions.models import Action


class Stage(StrEnum):
    """Where a replay is."""

    PLANNING = "planning"
    PLANNED = "planned"
    RUNNING = "running"
    STOPPED = "stopped"  # after the canary: it may go on
    CANCELLED = "cancelled"
    DONE = "done"


class Fate(StrEnum):
    """What became of one letter. Left out by the plan, handed back, or not there when its turn came."""

    PLANNED = "planned"
    # left out
    SUCCEEDED_BEFORE = "succeeded_before"
    REPLAYED_BEFORE = "replayed_before"
    DISCARDED_BEFORE = "discarded_before"
    SUPERSEDED = "superseded"
    GONE = "gone"
    UNHANDLED = "unhandled"
    # handed back
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    SAME_ERROR = "same_error"
    NEW_ERROR = "new_error"
    OTHER = "other"  # discarded, skipped, lost or no longer recorded
    # no longer a dead letter when its turn came
    MISSED = "missed"


LEFT_OUT: Final = (
    Fate.SUCCEEDED_BEFORE, Fate.REPLAYED_BEFORE, Fate.DISCARDED_BEFORE, Fate.SUPERSEDED, Fate.GONE, Fate.UNHANDLED,
)  # fmt: skip
ENDED: Final = (Fate.SUCCEEDED, Fate.SAME_ERROR, Fate.NEW_ERROR, Fate.OTHER)
CANARY: Final = (1, 11)  # letters touched by the end of each step of it
WATCHED: Final = len(CANARY)  # all may follow, and it stops by itself when too many of them fail
UNWATCHED: Final = WATCHED + 1  # all follow, whatever becomes of them


class Replay(models.Model):
    """One replay. Counts move in the transaction that moves letters. Times are ms of this machine's clock."""

    who = models.CharField(max_length=150)
    made_ms = models.BigIntegerField()
    filter = models.TextField()  # JSON: what was asked for
    topic = models.CharField(max_length=120, blank=True)  # "" when letters are of several
    group = models.CharField(max_length=120, blank=True)
    error = models.CharField(max_length=300, blank=True)  # of its newest letter, to tell replays apart
    stage = models.CharField(max_length=10, default="planning")
    total = models.BigIntegerField(default=0)  # frozen
    planned = models.BigIntegerField(default=0)  # of them to be handed back
    touched = models.BigIntegerField(default=0)  # of these handed back so far
    succeeded = models.BigIntegerField(default=0)
    same_error = models.BigIntegerField(default=0)
    new_error = models.BigIntegerField(default=0)
    other = models.BigIntegerField(default=0)
    missed = models.BigIntegerField(default=0)
    pace = models.IntegerField(default=0)  # letters a second
    canary = models.IntegerField(default=0)  # its step: 0, 1, then `WATCHED`; or `UNWATCHED` from the start
    action = models.ForeignKey(Action, models.PROTECT, null=True, related_name="+")  # set when it is confirmed
    began_ms = models.BigIntegerField(null=True)
    beat_ms = models.BigIntegerField(default=0)  # a runner had it in hand
    ended_ms = models.BigIntegerField(null=True)
    told = models.CharField(max_length=500, blank=True)  # how it ended, in a sentence

    class Meta:
        indexes = (models.Index(fields=["stage", "id"], name="replay_by_stage"),)

    def __str__(self) -> str:
        return f"replay {self.pk} of {self.planned}, {self.stage}"

    @property
    def waiting(self) -> int:
        """Handed back, and not settled yet as far as is recorded."""
        return self.touched - self.succeeded - self.same_error - self.new_error - self.other

    @property
    def left(self) -> int:
        """Still to be handed back."""
        return self.planned - self.touched - self.missed

    @property
    def signature(self) -> str:
        """Who the journal says replayed: the person, and by which replay."""
        return f"{self.who}#replay:{self.pk}"


class ReplayLetter(models.Model):
    """A dead letter of a replay. `number`: its place in the list, from 1.

    `moved_ms`, `ended`, `kind`: of its delivery when it was frozen: when it died, attempts until then, of what.
    """

    pk = models.CompositePrimaryKey("replay_id", "number")
    replay = models.ForeignKey(Replay, models.CASCADE, db_index=False)
    number = models.BigIntegerField()
    event_id = models.BigIntegerField()  # Event.id
    group = models.CharField(max_length=120)
    entry = models.CharField(max_length=41)
    moved_ms = models.BigIntegerField()
    ended = models.IntegerField()
    kind = models.CharField(max_length=300)  # fingerprint, else error
    fate = models.CharField(max_length=20)
    earlier = models.BigIntegerField(null=True)  # the replay before this one that handed it back
    letter = models.CharField(max_length=41, blank=True)  # its id among the dead letters, once it was looked up
    sought_ms = models.BigIntegerField(null=True)  # when that was, by the server's clock
    replayed_ms = models.BigIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)  # that came after the replay

    class Meta:
        indexes = (
            models.Index(fields=["replay", "fate", "number"], name="letter_by_fate"),
            models.Index(fields=["event_id", "group", "replay"], name="letter_by_delivery"),
        )

    def __str__(self) -> str:
        return f"{self.group} {self.entry}: {self.fate}"


class EditedLetter(models.Model):
    """A dead letter that was put aside for an edited event in its place. The data itself is on the bus only."""

    action = models.ForeignKey(Action, models.PROTECT, related_name="+")
    event_id = models.BigIntegerField()  # Event.id of the original
    group = models.CharField(max_length=120)
    original_id = models.CharField(max_length=512)
    new_id = models.CharField(max_length=64, unique=True)
    who = models.CharField(max_length=150)
    made_ms = models.BigIntegerField()
    is_published = models.BooleanField(default=False)

    class Meta:
        indexes = (
            models.Index(fields=["event_id", "group"], name="edited_by_delivery"),
            models.Index(fields=["original_id"], name="edited_by_original"),
        )

    def __str__(self) -> str:
        return f"{self.original_id} replaced by {self.new_id}"
