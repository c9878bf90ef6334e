"""The safety net as it was declared when this migration was written."""

from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "sql" / "0005_safety_net.sql").read_text()


class Migration(migrations.Migration):
    """Frozen: a change of the declaration is a new migration with a file of its own."""

    dependencies = [("therapists", "0004_identity"), ("sync", "0012_services")]
    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
