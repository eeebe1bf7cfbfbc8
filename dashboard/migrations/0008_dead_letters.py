"""An index of dead letters that holds all that their list by kind reads. A few seconds for millions of deliveries."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("dashboard", "0007_alerts"),)

    operations = (
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                fields=["event_id", "group", "worker", "settled_ms", "fingerprint", "error"],
                name="delivery_dead",
                condition=models.Q(state="dead"),
            ),
        ),
    )
