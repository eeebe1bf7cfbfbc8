"""The inbox: which events a group's handlers have taken effect for. One of the bus' few files that need Django."""

from __future__ import annotations

from django.db import models


class InboxEntry(models.Model):
    """The handler of `group` has handled the event with this id; written in the handler's own transaction."""

    group = models.CharField(max_length=120)
    event_id = models.CharField(max_length=512)
    done_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["group", "event_id"], name="bus_inbox_once"),)
        verbose_name_plural = "inbox entries"

    def __str__(self) -> str:
        return f"{self.event_id} by {self.group}"
