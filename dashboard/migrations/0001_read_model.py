"""The read model's first tables."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import django.db.models.deletion
from django.db import migrations, models

import dashboard.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "bucket", "kind", "who", "topic", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("bucket", models.BigIntegerField()),
                ("kind", models.CharField(max_length=12)),
                ("who", models.CharField(max_length=512)),
                ("topic", models.CharField(max_length=120)),
                ("count", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Total",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "kind", "who", "topic", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(max_length=12)),
                ("who", models.CharField(max_length=512)),
                ("topic", models.CharField(max_length=120)),
                ("count", models.BigIntegerField()),
                ("newest_ms", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Partition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=120)),
                ("number", models.IntegerField()),
                ("events_cursor", models.CharField(default="0-0", max_length=41)),
                ("journal_cursor", models.CharField(default="0-0", max_length=41)),
                ("newest_number", models.BigIntegerField(default=0)),
                ("newest_ms", models.BigIntegerField(default=0)),
                ("trimmed_number", models.BigIntegerField(default=0)),
                ("swept_number", models.BigIntegerField(default=0)),
                ("ghosts", models.BigIntegerField(default=0)),
                ("epoch", models.IntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("topic", "number"), name="partition_once")],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", dashboard.models.PlaceField(primary_key=True, serialize=False)),
                ("entry", models.CharField(max_length=41)),
                ("event_id", models.CharField(max_length=512)),
                ("type", models.CharField(max_length=512)),
                ("key", models.CharField(max_length=512)),
                ("source", models.CharField(max_length=512)),
                ("correlation_id", models.CharField(max_length=512)),
                ("cause_id", models.CharField(max_length=512)),
                ("cause_group", models.CharField(max_length=120)),
                ("cause_attempt", models.IntegerField()),
                ("traceparent", models.CharField(max_length=512)),
                ("time_text", models.CharField(max_length=512)),
                ("headers", models.TextField()),
                ("at_ms", models.BigIntegerField()),
                ("at_seq", models.BigIntegerField()),
                ("size", models.BigIntegerField()),
                ("payload", models.BinaryField()),
                ("ghost", models.BooleanField(default=False)),
                (
                    "partition",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="dashboard.partition",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.CharField(max_length=120)),
                ("since", models.CharField(max_length=41)),
                ("since_ms", models.BigIntegerField()),
                ("start", models.CharField(max_length=41)),
                ("types", models.TextField()),
                ("ordered", models.BooleanField()),
                ("attempts", models.IntegerField()),
                ("handlers", models.TextField()),
                ("version", models.CharField(max_length=200)),
                ("partition", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="dashboard.partition")),
            ],
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "event_id", "group", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("group", models.CharField(max_length=120)),
                ("state", models.CharField(max_length=12)),
                ("attempt", models.IntegerField()),
                ("ended", models.IntegerField()),
                ("worker", models.CharField(max_length=200)),
                ("due_ms", models.BigIntegerField(null=True)),
                ("delivered_ms", models.BigIntegerField(null=True)),
                ("started_ms", models.BigIntegerField(null=True)),
                ("settled_ms", models.BigIntegerField(null=True)),
                ("duration_us", models.BigIntegerField(default=0)),
                ("error", models.CharField(max_length=300)),
                ("fingerprint", models.CharField(max_length=64)),
                ("moved_ms", models.BigIntegerField()),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="dashboard.event",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "succeeded"), _negated=True),
                        fields=["state", "event", "group"],
                        name="delivery_by_trouble",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "event_id", "group", "place", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("group", models.CharField(max_length=120)),
                ("place", models.IntegerField()),
                ("number", models.IntegerField()),
                ("step", models.SmallIntegerField()),
                ("worker", models.CharField(max_length=200)),
                ("started_ms", models.BigIntegerField()),
                ("ended_ms", models.BigIntegerField()),
                ("duration_us", models.BigIntegerField()),
                ("error_class", models.CharField(max_length=200)),
                ("message", models.TextField()),
                ("traceback", models.TextField()),
                ("frame", models.TextField()),
                ("log", models.TextField()),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="dashboard.event",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("step", 2), _negated=True), fields=["ended_ms"], name="attempt_by_time"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["event_id", "id"], name="event_by_id"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["correlation_id", "at_ms"], name="event_by_trace"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["type", "id"], name="event_by_type"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("key", ""), _negated=True), fields=["key", "id"], name="event_by_key"
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("cause_id", ""), _negated=True), fields=["cause_id"], name="event_by_cause"
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(fields=("partition", "entry"), name="event_entry_once"),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(fields=["since_ms"], name="subscription_by_time"),
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(fields=("partition", "group", "since"), name="subscription_once"),
        ),
    ]
