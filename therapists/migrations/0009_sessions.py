"""Sessions move into a table that knows whose they are; everybody signs in once more."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """The framework's own table goes where there is one: nothing reads it any more."""

    dependencies = [("therapists", "0008_bookings_and_credits")]
    operations = [
        migrations.CreateModel(
            name="OpenSession",
            fields=[
                ("session_key", models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key")),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("began_at", models.DateTimeField()),
                ("used_at", models.DateTimeField()),
                (
                    "person",
                    models.ForeignKey(
                        db_constraint=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "user_sessions", "default_permissions": ()},
        ),
        migrations.RunSQL("DROP TABLE IF EXISTS django_session", migrations.RunSQL.noop),
    ]  # fmt: skip
