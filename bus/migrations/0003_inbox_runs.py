"""The inbox: an effect is of a topic, and of a run of its group."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("bus", "0002_outbox"),)

    operations = (
        migrations.RemoveConstraint(
            model_name="inboxentry",
            name="bus_inbox_once",
        ),
        migrations.AddField(
            model_name="inboxentry",
            name="run",
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name="inboxentry",
            name="topic",
            field=models.CharField(default="", max_length=120),
        ),
        migrations.AddConstraint(
            model_name="inboxentry",
            constraint=models.UniqueConstraint(fields=("group", "topic", "event_id", "run"), name="bus_inbox_once"),
        ),
    )
