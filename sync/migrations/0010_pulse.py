"""Signs of life of workers and beat."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """One small table; a few rows for each machine."""

    dependencies = [("sync", "0009_belated")]
    operations = [
        migrations.CreateModel(
            name="Pulse",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "role", "name", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("role", models.TextField()),
                ("name", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={"db_table": "sync_pulse", "default_permissions": ()},
        ),
    ]
