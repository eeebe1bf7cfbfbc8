"""What a rewound server forgot, and which recorders run."""

# ruff: noqa: RUF012  lists are the form that Django writes and compares

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dashboard", "0001_read_model"),
    ]

    operations = [
        migrations.CreateModel(
            name="Recording",
            fields=[
                ("name", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("started_ms", models.BigIntegerField()),
                ("beat_ms", models.BigIntegerField()),
                ("stored_ms", models.BigIntegerField(default=0)),
                ("trouble", models.CharField(default="", max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name="Rewind",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("epoch", models.IntegerField()),
                ("at_ms", models.BigIntegerField()),
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="event",
            name="event_entry_once",
        ),
        migrations.AddField(
            model_name="event",
            name="epoch",
            field=models.IntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.UniqueConstraint(fields=("partition", "entry", "epoch"), name="event_entry_once"),
        ),
        migrations.AddField(
            model_name="rewind",
            name="partition",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="dashboard.partition"),
        ),
        migrations.AddConstraint(
            model_name="rewind",
            constraint=models.UniqueConstraint(fields=("partition", "epoch"), name="rewind_once"),
        ),
    ]
