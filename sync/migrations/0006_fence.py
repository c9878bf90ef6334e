"""A number that rises with every lease."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sync", "0005_audits_and_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name="ledger",
            name="fence",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
