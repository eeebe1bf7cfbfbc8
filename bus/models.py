"""The tables of inbox and outbox, beside a program's own. One of the bus' few files that need Django."""

from __future__ import annotations

from django.db import models


class InboxEntry(models.Model):
    """The handler of `group` has handled the event with this id; written in the handler's own transaction.

    `run`: how often the group was moved back past the event. Each run takes effect once.
    """

    group = models.CharField(max_length=120)
    topic = models.CharField(max_length=120, default="")
    event_id = models.CharField(max_length=512)
    run = models.IntegerField(default=0)
    done_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["group", "topic", "event_id", "run"], name="bus_inbox_once"),)
        verbose_name_plural = "inbox entries"

    def __str__(self) -> str:
        return f"{self.event_id} by {self.group}"


class OutboxState(models.TextChoices):
    """Where an outbox entry is on its way. `sent`: the server has answered; `confirmed`: the recorder has stored it."""

    NEW = "new"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"


class OutboxEntry(models.Model):
    """An event written in a transaction, for the relay to publish. Kept for a day once it is confirmed.

    `draft` is packed, see `bus.outbox`. Partition, entry and `entry_ms` (its time, server's clock) say where it was
    stored last; `moved_ms` says when it came into its state, or was sent again (this machine's clock).
    """

    topic = models.CharField(max_length=120)
    event_id = models.CharField(max_length=512)
    draft = models.BinaryField()
    state = models.CharField(max_length=10, choices=OutboxState.choices, default=OutboxState.NEW)
    moved_ms = models.BigIntegerField()
    partition = models.IntegerField(default=0)
    entry = models.CharField(max_length=41, default="")
    entry_ms = models.BigIntegerField(default=0)
    error = models.CharField(max_length=500, default="")

    class Meta:
        indexes = (
            models.Index(fields=["state", "id"], name="bus_outbox_in_order"),
            models.Index(fields=["state", "moved_ms"], name="bus_outbox_by_time"),
        )
        verbose_name_plural = "outbox entries"

    def __str__(self) -> str:
        return f"{self.event_id} on {self.topic}, {self.state}"


class OutboxLease(models.Model):
    """The one row that says which relay may publish; `beat` counts up for as long as its owner lives."""

    name = models.CharField(max_length=40, primary_key=True)
    owner = models.CharField(max_length=120, default="")
    beat = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.owner or 'nobody'}"


class ProjectionPlace(models.Model):
    """How far a version of a projection is in one partition; moves in the transaction that writes its rows.

    `number`: entries of the partition that lie behind the cursor. `missing`: how many of them were gone before they
    could be read. `done_at`: since when the version is live, the same in all of its partitions; None while it is built.
    """

    name = models.CharField(max_length=120)
    version = models.IntegerField()
    topic = models.CharField(max_length=120)
    partition = models.IntegerField()
    cursor = models.CharField(max_length=41, default="0-0")
    number = models.BigIntegerField(default=0)
    missing = models.BigIntegerField(default=0)
    done_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "bus_projection"
        constraints = (
            models.UniqueConstraint(fields=["name", "version", "topic", "partition"], name="bus_projection_once"),
        )

    def __str__(self) -> str:
        return f"{self.name} v{self.version} of {self.topic}/{self.partition}, at {self.cursor}"
