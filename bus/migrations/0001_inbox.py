"""The inbox."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="InboxEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.CharField(max_length=120)),
                ("event_id", models.CharField(max_length=512)),
                ("done_at", models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
            options={
                "verbose_name_plural": "inbox entries",
                "constraints": [models.UniqueConstraint(fields=("group", "event_id"), name="bus_inbox_once")],
            },
        ),
    ]
