from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("interventions", "0014_lists_and_history"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyedRequest",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("person_id", models.BigIntegerField()),
                ("key", models.TextField()),
                ("method", models.TextField()),
                ("route", models.TextField()),
                ("digest", models.TextField()),
                (
                    "at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField())
                    ),
                ),
                ("revision", models.BigIntegerField(null=True)),
                ("outcome", models.JSONField(db_default={})),
                ("status", models.SmallIntegerField(null=True)),
                ("headers", models.JSONField(null=True)),
                ("body", models.TextField(null=True)),
            ],
            options={
                "db_table": "keyed_request",
                "default_permissions": (),
                "indexes": [models.Index(fields=["at"], name="keyed_request_at")],
                "constraints": [
                    models.UniqueConstraint(fields=("person_id", "key", "method", "route"), name="keyed_request_once")
                ],
            },
        ),
    ]
