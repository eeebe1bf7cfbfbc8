"""The shop's order list."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="OrderRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.IntegerField()),
                ("order_id", models.CharField(max_length=512)),
                ("customer", models.CharField(max_length=200)),
                ("total", models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ("state", models.CharField(max_length=40)),
                ("placed_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("version", "order_id"), name="shop_order_once"),
                ],
            },
        ),
    )
