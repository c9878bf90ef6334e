from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sync", "0010_pulse"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="ledger",
            name="sync_ledger_owed",
        ),
        migrations.AddIndex(
            model_name="ledger",
            index=models.Index(
                condition=models.Q(("excluded_reason__isnull", True), ("owed_since__isnull", False)),
                fields=["target", "owed_since"],
                include=("next_attempt_at", "is_paused"),
                name="sync_ledger_owed",
            ),
        ),
    ]
