import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Tell Django that a run's item is one of the log; the column is what it was."""

    dependencies = [
        ("interventions", "0015_keyed_requests"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint(model_name="retryrunitem", name="retry_run_item_once"),
                migrations.RemoveField(model_name="retryrunitem", name="item_id"),
                migrations.AddField(
                    model_name="retryrunitem",
                    name="item",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="bulk_retries",
                        to="interventions.intervention",
                    ),
                    preserve_default=False,
                ),
                migrations.AddConstraint(
                    model_name="retryrunitem",
                    constraint=models.UniqueConstraint(fields=("run", "item"), name="retry_run_item_once"),
                ),
            ]
        ),
    ]
