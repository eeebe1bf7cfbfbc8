"""What happened in each ten seconds, how far groups were behind, and which code each worker runs."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0003_periods"),
    ]

    operations = [
        migrations.CreateModel(
            name="LagSample",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "span_ms",
                        "start_ms",
                        "topic",
                        "group",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("span_ms", models.IntegerField()),
                ("start_ms", models.BigIntegerField()),
                ("topic", models.CharField(max_length=120)),
                ("group", models.CharField(max_length=120)),
                ("lag", models.BigIntegerField()),
                ("age_ms", models.BigIntegerField()),
                ("dead", models.BigIntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["topic", "group", "span_ms", "start_ms"], name="lagsample_of_group")],
            },
        ),
        migrations.CreateModel(
            name="WorkerVersion",
            fields=[
                ("worker", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("since_ms", models.BigIntegerField()),
                ("version", models.CharField(max_length=120)),
            ],
            options={
                "indexes": [models.Index(fields=["version"], name="worker_by_version")],
            },
        ),
        migrations.CreateModel(
            name="Rollup",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "partition_id",
                        "group",
                        "span_ms",
                        "start_ms",
                        "type",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("group", models.CharField(max_length=120)),
                ("span_ms", models.IntegerField()),
                ("start_ms", models.BigIntegerField()),
                ("type", models.CharField(max_length=512)),
                ("published", models.BigIntegerField()),
                ("succeeded", models.BigIntegerField()),
                ("failed", models.BigIntegerField()),
                ("retried", models.BigIntegerField()),
                ("dead", models.BigIntegerField()),
                ("skipped", models.BigIntegerField()),
                ("handled", models.BinaryField()),
                ("settled", models.BinaryField()),
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
            options={
                "indexes": [models.Index(fields=["span_ms", "start_ms", "partition"], name="rollup_by_time")],
            },
        ),
    ]
