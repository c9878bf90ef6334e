"""The safety net as it was declared when this migration was written."""

from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "sql" / "0003_safety_net.sql").read_text()


class Migration(migrations.Migration):
    """Frozen: a change of the declaration is a new migration with a file of its own."""

    dependencies = [("therapists", "0002_safety_net"), ("sync", "0003_take_rights_apart")]
    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
