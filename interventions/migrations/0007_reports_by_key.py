"""What is reported is looked for by its key, also where the plan was made while the log was empty."""

from django.db import migrations

# A session keeps the plan of its first calls, and of an empty log the cheapest is to read it whole: each later call then
# cost more than the one before.
SQL = "ALTER FUNCTION intervention_report(jsonb) SET enable_seqscan = off"
REVERSE = "ALTER FUNCTION intervention_report(jsonb) RESET enable_seqscan"


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("interventions", "0006_adopt_value_and_failed_requests")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
