"""The sequence of revisions and the function that takes a failing batch apart."""

from django.db import migrations

SQL = """
CREATE SEQUENCE IF NOT EXISTS sync_revision CACHE 1;
ALTER TABLE sync_debt SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE sync_ledger SET (fillfactor = 70);

-- Run a statement over $1 (people). Where it fails, take the people apart: chunks of 32, then one by one. Gives who
-- failed, with the SQLSTATE and the object that PostgreSQL names, never a message: messages may quote values.
-- What cannot be any row's own fault (no such column, no right, no lock, the timer) is not taken apart.
CREATE FUNCTION sync_attempt(statement text, people bigint[], size int DEFAULT 1000000)
RETURNS TABLE (person_id bigint, code text, error_object text) LANGUAGE plpgsql AS $$
DECLARE
  part bigint[];
  found_constraint text;
  found_column text;
BEGIN
  FOR i IN 1 .. coalesce(cardinality(people), 0) BY size LOOP
    part := people[i : i + size - 1];
    BEGIN
      EXECUTE statement USING part;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE,
        found_constraint = CONSTRAINT_NAME, found_column = COLUMN_NAME;
      error_object := coalesce(nullif(found_constraint, ''), nullif(found_column, ''));
      IF cardinality(part) = 1 OR code IN ('57014', '55P03') OR code LIKE '42%' THEN
        RETURN QUERY SELECT p, code, error_object FROM unnest(part) AS p;
      ELSE
        RETURN QUERY SELECT * FROM sync_attempt(statement, part, CASE WHEN cardinality(part) > 32 THEN 32 ELSE 1 END);
      END IF;
    END;
  END LOOP;
END
$$;
"""
REVERSE = """
DROP FUNCTION sync_attempt(text, bigint[], int);
DROP SEQUENCE sync_revision;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("sync", "0001_initial")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
