"""The read model: what the recorder has read from the bus, as rows. Everything in it can be rebuilt from the journal.

Only the recorder writes these tables, with SQL of its own (`dashboard.record.rows`); queries read them. No row is the
truth about a delivery: the bus is. Times are ms of the server's clock.

`Event.id` is the event's place: `partition << 40 | number`, so that a range of ids is a range of one partition, in
the order of its stream, and two recorders can't hand out the same id for different events.

A query uses a partial index only when it repeats the index's condition word for word: `NOT (state = 'succeeded')`.

On PostgreSQL events, deliveries and attempts are divided by the time of the event (`at_ms`) into periods, each with
tables of its own (`dashboard.record.periods`); their primary keys end with `at_ms` there. A query that knows the time
says it, and looks into fewer tables.
"""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from bus.journal import Step
from dashboard.actions.models import Action, Grant, Token, Touched  # noqa: F401  rows of this app that others write

NUMBER_BITS: Final = 40
GHOSTS_FROM: Final = 1 << (NUMBER_BITS - 1)  # numbers from here on: events known only from the journal


def event_pk(partition_id: int, number: int) -> int:
    """Primary key of a partition's event `number` (from 1)."""
    return partition_id << NUMBER_BITS | number


def partition_of(pk: int) -> int:
    """The partition that an event's primary key belongs to."""
    return pk >> NUMBER_BITS


def number_of(pk: int) -> int:
    """An event's number within its partition."""
    return pk & ((1 << NUMBER_BITS) - 1)


class PlaceField(models.BigIntegerField):  # type: ignore[type-arg]  # Django's can't be subscripted when run
    """A 64-bit primary key that we number ourselves. SQLite calls its own row number `integer`, nothing else."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "integer" if connection.vendor == "sqlite" else super().db_type(connection)


class Partition(models.Model):
    """One partition of a topic, and how far it is recorded: the cursors move in the transaction that stores rows."""

    topic = models.CharField(max_length=120)
    number = models.IntegerField()
    events_cursor = models.CharField(max_length=41, default="0-0")
    journal_cursor = models.CharField(max_length=41, default="0-0")
    newest_number = models.BigIntegerField(default=0)  # events recorded, ever: the number of the newest one
    newest_ms = models.BigIntegerField(default=0)
    trimmed_number = models.BigIntegerField(default=0)  # events up to here are gone from the stream
    swept_number = models.BigIntegerField(default=0)  # events up to here may have been removed by age
    ghosts = models.BigIntegerField(default=0)
    epoch = models.IntegerField(default=0)  # how often the server was found behind what was recorded

    class Meta:
        constraints = (models.UniqueConstraint(fields=["topic", "number"], name="partition_once"),)

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Event(models.Model):
    """An event as it was published. `number`: its ordinal in the partition, without gaps, so lag can be counted.

    A ghost is an event that the journal speaks of and the stream no longer holds.
    """

    id = PlaceField(primary_key=True)
    partition = models.ForeignKey(Partition, models.DO_NOTHING, db_constraint=False, db_index=False)
    entry = models.CharField(max_length=41)
    event_id = models.CharField(max_length=512)
    type = models.CharField(max_length=512)
    key = models.CharField(max_length=512)
    source = models.CharField(max_length=512)
    correlation_id = models.CharField(max_length=512)
    cause_id = models.CharField(max_length=512)
    cause_group = models.CharField(max_length=120)
    cause_attempt = models.IntegerField()
    traceparent = models.CharField(max_length=512)
    time_text = models.CharField(max_length=512)
    headers = models.TextField()  # a JSON object of texts, or nothing
    at_ms = models.BigIntegerField()
    at_seq = models.BigIntegerField()
    size = models.BigIntegerField()  # bytes of the data as it was published
    payload = models.BinaryField()  # its beginning, up to rows.MAX_PAYLOAD bytes of it, with secrets masked
    ghost = models.BooleanField(default=False)
    epoch = models.IntegerField(default=0)  # the partition's when it was recorded: a rewound server gives ids again

    class Meta:
        indexes = (
            models.Index(fields=["event_id", "id"], name="event_by_id"),
            models.Index(fields=["correlation_id", "at_ms"], name="event_by_trace"),
            models.Index(fields=["type", "id"], name="event_by_type"),
            models.Index(fields=["key", "id"], name="event_by_key", condition=~Q(key="")),
            models.Index(fields=["cause_id"], name="event_by_cause", condition=~Q(cause_id="")),
        )
        constraints = (models.UniqueConstraint(fields=["partition", "entry", "epoch"], name="event_entry_once"),)

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class Rewind(models.Model):
    """The server was found without these events, which it once had: a crash, a restored copy, a failover.

    The events of the partition from number `first` to `last` are the ones that it forgot; there may be none.
    """

    partition = models.ForeignKey(Partition, models.CASCADE)
    epoch = models.IntegerField()  # that began with it
    at_ms = models.BigIntegerField()  # when it was noticed
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["partition", "epoch"], name="rewind_once"),)

    def __str__(self) -> str:
        return f"epoch {self.epoch}: {self.last - self.first + 1} events forgotten"


class Recording(models.Model):
    """A recorder that runs, or did until lately: it says so every few seconds. Times: its own clock."""

    name = models.CharField(max_length=120, primary_key=True)  # host-pid
    started_ms = models.BigIntegerField()
    beat_ms = models.BigIntegerField()
    stored_ms = models.BigIntegerField(default=0)  # when it last stored something
    trouble = models.CharField(max_length=300, default="")

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One event × one group, once anything happened to it; its current attempt is told by the row itself.

    An event that the group has not taken yet has no row: it is waiting. `ended`: attempts that have ended, each
    with an `Attempt` row unless it was the one that succeeded and had nothing else to tell.
    """

    pk = models.CompositePrimaryKey("event_id", "group")
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False)
    group = models.CharField(max_length=120)
    at_ms = models.BigIntegerField()  # when the event was published, as in its own row
    state = models.CharField(max_length=12)
    attempt = models.IntegerField()  # the newest attempt's number in its run, from 1
    ended = models.IntegerField()
    worker = models.CharField(max_length=200)
    due_ms = models.BigIntegerField(null=True)  # when the next attempt may begin, while retrying
    delivered_ms = models.BigIntegerField(null=True)  # the first attempt began
    started_ms = models.BigIntegerField(null=True)  # the newest attempt began
    settled_ms = models.BigIntegerField(null=True)
    duration_us = models.BigIntegerField(default=0)  # of the newest attempt that ended
    error = models.CharField(max_length=300)  # "ValueError: card declined"
    fingerprint = models.CharField(max_length=64)
    moved_ms = models.BigIntegerField()  # the last step

    class Meta:
        indexes = (
            models.Index(
                fields=["state", "event", "group"],
                name="delivery_by_trouble",
                condition=~Q(state="succeeded"),  # nearly all: an index over them would double the cost of writing
            ),
            models.Index(  # all that the list of dead letters by kind reads: it never goes to the rows
                fields=["event_id", "group", "worker", "settled_ms", "fingerprint", "error"],
                name="delivery_dead",
                condition=Q(state="dead"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.group}: {self.state}"


class Attempt(models.Model):
    """One attempt that ended, with what it had to tell. `place`: its ordinal in the delivery, over all runs."""

    pk = models.CompositePrimaryKey("event_id", "group", "place")
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False)
    group = models.CharField(max_length=120)
    place = models.IntegerField()
    at_ms = models.BigIntegerField()  # when the event was published, as in its own row
    number = models.IntegerField()
    step = models.SmallIntegerField()  # bus.journal.Step that ended it
    worker = models.CharField(max_length=200)
    started_ms = models.BigIntegerField()
    ended_ms = models.BigIntegerField()
    duration_us = models.BigIntegerField()
    error_class = models.CharField(max_length=200)
    message = models.TextField()
    traceback = models.TextField()
    frame = models.TextField()
    log = models.TextField()  # a JSON list of lines, or nothing

    class Meta:
        indexes = (models.Index(fields=["ended_ms"], name="attempt_by_time", condition=~Q(step=int(Step.SUCCEEDED))),)

    def __str__(self) -> str:
        return f"{self.group} attempt {self.number}"


class Subscription(models.Model):
    """What a group subscribed to, from some position of a partition's journal on.

    It governs the events after entry `start`, up to the start of the group's next row.
    """

    partition = models.ForeignKey(Partition, models.CASCADE)
    group = models.CharField(max_length=120)
    since = models.CharField(max_length=41)
    since_ms = models.BigIntegerField()
    start = models.CharField(max_length=41)
    types = models.TextField()  # a JSON list, or nothing: all types
    ordered = models.BooleanField()
    attempts = models.IntegerField()
    handlers = models.TextField()  # a JSON list
    version = models.CharField(max_length=200)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["partition", "group", "since"], name="subscription_once"),)
        indexes = (models.Index(fields=["since_ms"], name="subscription_by_time"),)

    def __str__(self) -> str:
        return f"{self.group} since {self.since}"


class Total(models.Model):
    """How much has gone along one edge of the map, ever. `kind` as in `dashboard.record.rates`."""

    pk = models.CompositePrimaryKey("kind", "who", "topic")
    kind = models.CharField(max_length=12)
    who = models.CharField(max_length=512)
    topic = models.CharField(max_length=120)
    count = models.BigIntegerField()
    newest_ms = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.kind} {self.who} {self.topic}: {self.count}"


class Tally(models.Model):
    """How much went along one edge within one bucket of time."""

    pk = models.CompositePrimaryKey("bucket", "kind", "who", "topic")
    bucket = models.BigIntegerField()  # ms / rates.BUCKET_MS
    kind = models.CharField(max_length=12)
    who = models.CharField(max_length=512)
    topic = models.CharField(max_length=120)
    count = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.bucket} {self.kind} {self.who} {self.topic}: {self.count}"


class Rollup(models.Model):
    """What a group did with events of one type within a span of time; of group "": what was published.

    `handled`, `settled`: histograms (`dashboard.record.histogram`) of how long handlers ran, and of the time from
    publish until an event was settled. A later, coarser cell may stand for several (`dashboard.record.rollup_age`).
    """

    pk = models.CompositePrimaryKey("partition_id", "group", "span_ms", "start_ms", "type")
    partition = models.ForeignKey(Partition, models.DO_NOTHING, db_constraint=False, db_index=False)
    group = models.CharField(max_length=120)
    span_ms = models.IntegerField()
    start_ms = models.BigIntegerField()
    type = models.CharField(max_length=512)
    published = models.BigIntegerField()
    succeeded = models.BigIntegerField()
    failed = models.BigIntegerField()  # attempts
    retried = models.BigIntegerField()
    dead = models.BigIntegerField()
    skipped = models.BigIntegerField()  # of types that the group does not take
    handled = models.BinaryField()
    settled = models.BinaryField()

    class Meta:
        indexes = (models.Index(fields=["span_ms", "start_ms", "partition"], name="rollup_by_time"),)

    def __str__(self) -> str:
        return f"{self.group or 'published'} {self.type} at {self.start_ms}"


class LagSample(models.Model):
    """How far a group was behind at a moment: measured by the recorder, since nothing tells it afterwards."""

    pk = models.CompositePrimaryKey("span_ms", "start_ms", "topic", "group")
    span_ms = models.IntegerField()
    start_ms = models.BigIntegerField()
    topic = models.CharField(max_length=120)
    group = models.CharField(max_length=120)
    lag = models.BigIntegerField()
    age_ms = models.BigIntegerField()  # of its oldest event that was not settled; 0 when there was none
    dead = models.BigIntegerField()

    class Meta:
        indexes = (models.Index(fields=["topic", "group", "span_ms", "start_ms"], name="lagsample_of_group"),)

    def __str__(self) -> str:
        return f"{self.group} on {self.topic}: {self.lag} at {self.start_ms}"


class WorkerVersion(models.Model):
    """The version of the code that a worker runs, as it said when it began."""

    worker = models.CharField(max_length=200, primary_key=True)
    since_ms = models.BigIntegerField()
    version = models.CharField(max_length=120)

    class Meta:
        indexes = (models.Index(fields=["version"], name="worker_by_version"),)

    def __str__(self) -> str:
        return f"{self.worker}: {self.version}"
