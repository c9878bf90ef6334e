"""Who reports the same at the same moment takes turns, so that the second finds the item of the first."""

from django.db import migrations

# Turns are tried and never waited for in PostgreSQL's queue: a caller keeps its turn until it commits, and with a queue
# somebody else's transaction could be the victim of a deadlock that reporting alone had brought about. 64 of them for
# all entities, in ascending order: however many entities a transaction reports, it fills no table of locks.
SQL = """
ALTER FUNCTION intervention_report(jsonb) RENAME TO intervention_add;

CREATE FUNCTION intervention_report(entries jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  turn int;
  patient_until timestamptz := clock_timestamp() + interval '50 ms';
BEGIN
  FOR turn IN
    SELECT DISTINCT (hashtextextended(operation || ' ' || coalesce(entity_id, ''), 0) & 63)::int
    FROM jsonb_to_recordset(entries) AS e (operation text, entity_id text)
    ORDER BY 1
  LOOP
    WHILE NOT pg_try_advisory_xact_lock(hashtext('intervention_report'), turn) LOOP
      EXIT WHEN clock_timestamp() > patient_until;
      PERFORM pg_sleep(0.001);
    END LOOP;
  END LOOP;
  -- A statement of its own: it sees what was committed while this one waited.
  PERFORM intervention_add(entries);
END
$$;
"""
REVERSE = """
DROP FUNCTION intervention_report(jsonb);
ALTER FUNCTION intervention_add(jsonb) RENAME TO intervention_report;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("interventions", "0008_retry_runs")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
