"""What decisions about two enrollments of one address changed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table; decisions made before it cannot be undone."""

    dependencies = [
        ("therapists", "0005_safety_net"),
    ]

    operations = [
        migrations.CreateModel(
            name="DecidedRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("decision", models.UUIDField()),
                ("enrollment_id", models.BigIntegerField()),
                ("choice", models.TextField()),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
                ("by", models.TextField()),
                ("at", models.DateTimeField()),
                ("undone_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "enrollment_decisions",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["enrollment_id", "-id"], name="enrollment_decision_of"),
                    models.Index(fields=["at"], name="enrollment_decision_at"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("decision", "enrollment_id"), name="enrollment_decision_once")
                ],
            },
        ),
    ]
