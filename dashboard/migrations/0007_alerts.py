"""Alerts: rules, what they found, events that miss their consequence, notices. And rules to begin with."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import time
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

# name, kind, threshold, window_s, hold_s, severity
USUAL = (
    ("A group is late", "age", 60, 300, 60, "warning"),
    ("A group is far behind", "lag", 10_000, 300, 120, "warning"),
    ("New dead letters", "dead", 1, 600, 0, "critical"),
    ("Many attempts fail", "failures", 25, 300, 60, "warning"),
    ("A worker is silent", "silent", 1, 300, 60, "warning"),
)


def make_rules(apps: Any, _editor: Any) -> None:
    """Rules that mean the same on every bus; whoever wants none switches them off."""
    rule = apps.get_model("dashboard", "AlertRule")
    now_ms = int(time.time() * 1000)
    for name, kind, threshold, window_s, hold_s, severity in USUAL:
        rule.objects.create(
            name=name, kind=kind, threshold=threshold, window_s=window_s, hold_s=hold_s, severity=severity,
            since_ms=now_ms,
        )  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0006_replays"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertHealth",
            fields=[
                ("name", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("well_ms", models.BigIntegerField(default=0)),
                ("trouble", models.CharField(blank=True, max_length=300)),
                ("trouble_ms", models.BigIntegerField(null=True)),
                ("dropped", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("kind", models.CharField(max_length=20)),
                ("topic", models.CharField(default="*", max_length=120)),
                ("group", models.CharField(default="*", max_length=120)),
                ("threshold", models.BigIntegerField()),
                ("window_s", models.IntegerField(default=300)),
                ("least", models.IntegerField(default=20)),
                ("hold_s", models.IntegerField(default=60)),
                ("severity", models.CharField(default="warning", max_length=10)),
                ("type", models.CharField(blank=True, max_length=512)),
                ("then_topic", models.CharField(blank=True, max_length=120)),
                ("then_type", models.CharField(blank=True, max_length=512)),
                ("same", models.CharField(default="trace", max_length=5)),
                ("within_s", models.IntegerField(default=30)),
                ("enabled", models.BooleanField(default=True)),
                ("since_ms", models.BigIntegerField()),
                ("made_by", models.CharField(blank=True, max_length=150)),
                ("removed_ms", models.BigIntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(blank=True, max_length=120)),
                ("group", models.CharField(blank=True, max_length=120)),
                ("stage", models.CharField(default="pending", max_length=12)),
                ("severity", models.CharField(max_length=10)),
                ("since_ms", models.BigIntegerField()),
                ("seen_ms", models.BigIntegerField()),
                ("fine_ms", models.BigIntegerField(null=True)),
                ("raised_ms", models.BigIntegerField(null=True)),
                ("cleared_ms", models.BigIntegerField(null=True)),
                ("until_ms", models.BigIntegerField(null=True)),
                ("value", models.FloatField()),
                ("worst", models.FloatField()),
                ("told", models.CharField(max_length=300)),
                ("rule", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="dashboard.alertrule")),
            ],
        ),
        migrations.CreateModel(
            name="AlertStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at_ms", models.BigIntegerField()),
                ("step", models.CharField(max_length=12)),
                ("who", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("told", models.CharField(blank=True, max_length=300)),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="dashboard.alert"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AlertNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sink", models.CharField(max_length=120)),
                ("tries", models.IntegerField(default=0)),
                ("next_ms", models.BigIntegerField()),
                ("ended_ms", models.BigIntegerField(null=True)),
                ("step", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="dashboard.alertstep")),
            ],
        ),
        migrations.CreateModel(
            name="JudgedUpTo",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "rule_id", "partition_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("partition_id", models.BigIntegerField()),
                ("event", models.BigIntegerField()),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="dashboard.alertrule"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Missing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=120)),
                ("event_id", models.CharField(max_length=512)),
                ("correlation_id", models.CharField(max_length=512)),
                ("key", models.CharField(max_length=512)),
                ("at_ms", models.BigIntegerField()),
                ("looked_ms", models.BigIntegerField(default=0)),
                ("ended_ms", models.BigIntegerField(null=True)),
                ("came", models.BooleanField(default=False)),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="dashboard.alertrule"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["stage", "cleared_ms"], name="alert_by_stage"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(("stage", "cleared"), _negated=True),
                fields=("rule", "topic", "group"),
                name="alert_open_once",
            ),
        ),
        migrations.AddIndex(
            model_name="alertnotice",
            index=models.Index(
                condition=models.Q(("ended_ms__isnull", True)), fields=["sink", "next_ms"], name="notice_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertnotice",
            constraint=models.UniqueConstraint(fields=("step", "sink"), name="notice_once"),
        ),
        migrations.AddIndex(
            model_name="missing",
            index=models.Index(
                condition=models.Q(("ended_ms__isnull", True)), fields=["rule", "looked_ms"], name="missing_open"
            ),
        ),
        migrations.AddIndex(
            model_name="missing",
            index=models.Index(fields=["ended_ms"], name="missing_by_end"),
        ),
        migrations.AddConstraint(
            model_name="missing",
            constraint=models.UniqueConstraint(fields=("rule", "event_id"), name="missing_once"),
        ),
        migrations.RunPython(make_rules, migrations.RunPython.noop),
    ]
