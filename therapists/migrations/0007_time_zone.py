"""The zone in which the desk tells a person times."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """One column with a default: no row is rewritten."""

    dependencies = [("therapists", "0006_decisions")]
    operations = [
        migrations.AddField(
            model_name="user", name="time_zone", field=models.TextField(blank=True, db_default="", editable=False)
        ),
    ]
