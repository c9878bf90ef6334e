"""What a trigger could not append because its table was out of reach."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table that old code does not know of: its triggers go on as they were."""

    dependencies = [
        ("sync", "0008_breakers_and_pauses"),
    ]

    operations = [
        migrations.CreateModel(
            name="Belated",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("person_id", models.BigIntegerField()),
                ("target", models.TextField()),
                ("values", models.JSONField()),
                (
                    "at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField())
                    ),
                ),
            ],
            options={
                "db_table": "sync_belated",
                "default_permissions": (),
                "indexes": [models.Index(fields=["person_id"], name="sync_belated_of")],
            },
        ),
    ]
