"""Replays as operations, the letters that each froze, and letters replaced by edited ones."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0005_actions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Replay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("who", models.CharField(max_length=150)),
                ("made_ms", models.BigIntegerField()),
                ("filter", models.TextField()),
                ("topic", models.CharField(blank=True, max_length=120)),
                ("group", models.CharField(blank=True, max_length=120)),
                ("error", models.CharField(blank=True, max_length=300)),
                ("stage", models.CharField(default="planning", max_length=10)),
                ("total", models.BigIntegerField(default=0)),
                ("planned", models.BigIntegerField(default=0)),
                ("touched", models.BigIntegerField(default=0)),
                ("succeeded", models.BigIntegerField(default=0)),
                ("same_error", models.BigIntegerField(default=0)),
                ("new_error", models.BigIntegerField(default=0)),
                ("other", models.BigIntegerField(default=0)),
                ("missed", models.BigIntegerField(default=0)),
                ("pace", models.IntegerField(default=0)),
                ("canary", models.IntegerField(default=0)),
                ("began_ms", models.BigIntegerField(null=True)),
                ("beat_ms", models.BigIntegerField(default=0)),
                ("ended_ms", models.BigIntegerField(null=True)),
                ("told", models.CharField(blank=True, max_length=500)),
                (
                    "action",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="dashboard.action"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReplayLetter",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "replay_id", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.BigIntegerField()),
                ("event_id", models.BigIntegerField()),
                ("group", models.CharField(max_length=120)),
                ("entry", models.CharField(max_length=41)),
                ("moved_ms", models.BigIntegerField()),
                ("ended", models.IntegerField()),
                ("kind", models.CharField(max_length=300)),
                ("fate", models.CharField(max_length=20)),
                ("earlier", models.BigIntegerField(null=True)),
                ("letter", models.CharField(blank=True, max_length=41)),
                ("sought_ms", models.BigIntegerField(null=True)),
                ("replayed_ms", models.BigIntegerField(null=True)),
                ("error", models.CharField(blank=True, max_length=300)),
                (
                    "replay",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="dashboard.replay"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="EditedLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.BigIntegerField()),
                ("group", models.CharField(max_length=120)),
                ("original_id", models.CharField(max_length=512)),
                ("new_id", models.CharField(max_length=64, unique=True)),
                ("who", models.CharField(max_length=150)),
                ("made_ms", models.BigIntegerField()),
                ("is_published", models.BooleanField(default=False)),
                (
                    "action",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="dashboard.action"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["event_id", "group"], name="edited_by_delivery"),
                    models.Index(fields=["original_id"], name="edited_by_original"),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="replay",
            index=models.Index(fields=["stage", "id"], name="replay_by_stage"),
        ),
        migrations.AddIndex(
            model_name="replayletter",
            index=models.Index(fields=["replay", "fate", "number"], name="letter_by_fate"),
        ),
        migrations.AddIndex(
            model_name="replayletter",
            index=models.Index(fields=["event_id", "group", "replay"], name="letter_by_delivery"),
        ),
    ]
