from django.db import migrations, models

_COUNTED = """
UPDATE intervention_retry_run AS run
SET total = (SELECT count(*) FROM intervention_retry_run_item AS part WHERE part.run_id = run.id)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("interventions", "0012_inbox_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="retryrun",
            name="total",
            field=models.IntegerField(db_default=0),
        ),
        migrations.RunSQL(_COUNTED, migrations.RunSQL.noop),
    ]
