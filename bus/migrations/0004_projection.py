"""Projections: how far each version is in each partition."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("bus", "0003_inbox_runs"),)

    operations = (
        migrations.CreateModel(
            name="ProjectionPlace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("version", models.IntegerField()),
                ("topic", models.CharField(max_length=120)),
                ("partition", models.IntegerField()),
                ("cursor", models.CharField(default="0-0", max_length=41)),
                ("number", models.BigIntegerField(default=0)),
                ("missing", models.BigIntegerField(default=0)),
                ("done_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "bus_projection",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("name", "version", "topic", "partition"), name="bus_projection_once"
                    )
                ],
            },
        ),
    )
