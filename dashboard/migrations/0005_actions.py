"""What operators did, the roles that users have on some topics, and the tokens of scripts."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0004_rollups"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Token",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80, unique=True)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("role", models.IntegerField()),
                ("patterns", models.CharField(default="*", max_length=500)),
                ("made_by", models.CharField(max_length=150)),
                ("made_ms", models.BigIntegerField()),
                ("used_ms", models.BigIntegerField(default=0)),
                ("revoked_ms", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Action",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("who", models.CharField(max_length=150)),
                ("via", models.CharField(max_length=20)),
                ("deed", models.CharField(max_length=40)),
                ("topic", models.CharField(blank=True, max_length=120)),
                ("group", models.CharField(blank=True, max_length=120)),
                ("filter", models.TextField(blank=True)),
                ("frozen_count", models.BigIntegerField(null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("began_ms", models.BigIntegerField()),
                ("event_id", models.CharField(max_length=64, unique=True)),
                ("result", models.CharField(blank=True, max_length=12)),
                ("told", models.CharField(blank=True, max_length=500)),
                ("outcome", models.TextField(blank=True)),
                ("ended_ms", models.BigIntegerField(null=True)),
                (
                    "parent",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="parts",
                        to="dashboard.action",
                    ),
                ),
            ],
            options={
                "permissions": (
                    ("view_bus", "Viewer: sees topics, groups, events without their payloads"),
                    ("view_payloads", "Payload viewer: sees payloads and may export"),
                    ("operate", "Operator: may pause, rewind, replay, publish, discard"),
                    ("administer", "Admin: may give roles and tokens, and reveal what is masked"),
                    ("reveal", "May reveal a masked field"),
                ),
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("role", models.IntegerField()),
                ("pattern", models.CharField(max_length=120)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Touched",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(db_index=True, max_length=512)),
                (
                    "action",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="touched", to="dashboard.action"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["began_ms"], name="action_by_time"),
        ),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["who", "began_ms"], name="action_by_who"),
        ),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["topic", "began_ms"], name="action_by_topic"),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(fields=("user", "role", "pattern"), name="grant_once"),
        ),
    ]
