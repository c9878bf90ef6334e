"""What all processes know of each target, and what staff have paused."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Without a row nothing bad is known, so there is nothing to fill in."""

    dependencies = [("sync", "0007_deletion")]
    operations = [
        migrations.CreateModel(
            name="Breaker",
            fields=[
                ("target", models.TextField(primary_key=True, serialize=False)),
                ("word", models.TextField(db_default="closed")),
                ("since", models.DateTimeField(null=True)),
                ("failures", models.IntegerField(db_default=0)),
                ("lone", models.BigIntegerField(null=True)),
                ("recent", models.JSONField(db_default=models.Value([], output_field=models.JSONField()))),
                ("probe_at", models.DateTimeField(null=True)),
                ("probe_seconds", models.FloatField(db_default=0)),
                ("probe", models.BigIntegerField(null=True)),
                ("throttled_until", models.DateTimeField(null=True)),
                ("ramp_since", models.DateTimeField(null=True)),
                ("ramp_taken", models.IntegerField(db_default=0)),
                ("code", models.TextField(db_default="")),
                ("error_object", models.TextField(db_default="")),
            ],
            options={
                "db_table": "sync_breaker",
                "permissions": [
                    ("switch_target", "May switch targets and operations off and on, and reset breakers"),
                    ("pause_person", "May pause the work on a person's copies"),
                ],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Pause",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "scope", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("scope", models.TextField()),
                ("key", models.TextField()),
                ("by", models.TextField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("note", models.TextField(db_default="")),
            ],
            options={
                "db_table": "sync_pause",
                "default_permissions": ("view",),
            },
        ),
        migrations.AddIndex(
            model_name="ledger",
            index=models.Index(
                condition=models.Q(("is_paused", True)), fields=["target", "owed_since"], name="sync_ledger_parked"
            ),
        ),
        migrations.AddConstraint(
            model_name="breaker",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("word", "closed"),
                    models.Q(("probe_at__isnull", False), ("since__isnull", False), ("word", "open")),
                    _connector="OR",
                ),
                name="sync_breaker_open_is_probed",
            ),
        ),
    ]
