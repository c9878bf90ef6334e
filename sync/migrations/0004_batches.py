"""Who is taken up is written down first; a failing batch is taken apart by statements that are planned once."""

from importlib import import_module

import django.contrib.postgres.fields
from django.db import migrations, models

BEFORE = import_module("sync.migrations.0003_take_rights_apart").Migration.operations[0].sql
ATTEMPT = """
-- Run a statement over $1 (people). Where it fails, take the people apart, into four parts each time, down to one by
-- one. Gives who failed, with the SQLSTATE and the object that PostgreSQL names, never a message: messages may quote
-- values. What cannot be any row's own fault (no such column, the timer) is not taken apart.
-- Planned once a session: planning a small statement takes longer than running it.
CREATE OR REPLACE FUNCTION sync_attempt(statement text, people bigint[], size int DEFAULT 1000000)
RETURNS TABLE (person_id bigint, code text, error_object text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  prepared text := 'sync_attempt_' || md5(statement);
  part bigint[];
  found_constraint text;
  found_column text;
BEGIN
  FOR i IN 1 .. coalesce(cardinality(people), 0) BY size LOOP
    part := people[i : i + size - 1];
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name = prepared) THEN
        EXECUTE format('PREPARE %I (bigint[]) AS %s', prepared, statement);
      END IF;
      EXECUTE format('EXECUTE %I (%L)', prepared, part);
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE,
        found_constraint = CONSTRAINT_NAME, found_column = COLUMN_NAME;
      error_object := coalesce(nullif(found_constraint, ''), nullif(found_column, ''));
      IF cardinality(part) = 1 OR code IN ('57014', '42P01', '42703', '42883', '42804') THEN
        RETURN QUERY SELECT p, code, error_object FROM unnest(part) AS p;
      ELSE
        RETURN QUERY SELECT * FROM sync_attempt(statement, part, greatest(1, (cardinality(part) + 3) / 4));
      END IF;
    END;
  END LOOP;
END
$$;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [
        ("sync", "0003_take_rights_apart"),
    ]

    operations = [
        migrations.RunSQL(ATTEMPT, BEFORE),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("pid", models.IntegerField()),
                ("backend_start", models.DateTimeField()),
                ("server_start", models.DateTimeField()),
                ("people", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ("deaths", models.IntegerField()),
            ],
            options={
                "db_table": "sync_batch",
            },
        ),
    ]
