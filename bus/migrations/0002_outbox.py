"""The outbox, and the lease of its relay."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("bus", "0001_inbox")]

    operations = [
        migrations.CreateModel(
            name="OutboxLease",
            fields=[
                ("name", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("owner", models.CharField(default="", max_length=120)),
                ("beat", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=120)),
                ("event_id", models.CharField(max_length=512)),
                ("draft", models.BinaryField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("sent", "Sent"),
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                        ],
                        default="new",
                        max_length=10,
                    ),
                ),
                ("moved_ms", models.BigIntegerField()),
                ("partition", models.IntegerField(default=0)),
                ("entry", models.CharField(default="", max_length=41)),
                ("entry_ms", models.BigIntegerField(default=0)),
                ("error", models.CharField(default="", max_length=500)),
            ],
            options={
                "verbose_name_plural": "outbox entries",
                "indexes": [
                    models.Index(fields=["state", "id"], name="bus_outbox_in_order"),
                    models.Index(fields=["state", "moved_ms"], name="bus_outbox_by_time"),
                ],
            },
        ),
    ]
