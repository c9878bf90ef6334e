"""A right that is missing for one row (row-level security, somebody's trigger) must not block the whole batch."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("sync.migrations.0002_engine").SQL
FUNCTION = BEFORE[BEFORE.index("CREATE FUNCTION sync_attempt") :].replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
WHOLE = "code LIKE '42%'"
# No such table, column or function, or another type: no row's own fault.
STRUCTURE = "code IN ('42P01', '42703', '42883', '42804')"


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("sync", "0002_engine")]
    operations = [migrations.RunSQL(FUNCTION.replace(WHOLE, STRUCTURE), FUNCTION)]
