"""What is reported is added by one call, which says nothing twice and waits for nobody long."""

from django.db import migrations

SQL = """
-- Texts of any length may stand in both columns, so their hash is what is indexed.
CREATE INDEX intervention_reported
ON manual_intervention_log (hashtextextended(operation || ' ' || coalesce(entity_id, ''), 0))
WHERE target = '';

-- What was still open when an entry was made says it already; so does the entry itself, added before. Either stays so
-- for ever: adding the same entries again adds nothing. OFFSET keeps the planner from reading the whole log at once.
CREATE FUNCTION intervention_report(entries jsonb) RETURNS void LANGUAGE plpgsql
SET lock_timeout = '200ms' SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  WITH given AS (
    SELECT DISTINCT ON (operation, entity_id) *
    FROM jsonb_to_recordset(entries) AS e (
      id uuid, at timestamptz, operation text, entity_id text, error text, code text, cause text, payload jsonb,
      request_id text)
    ORDER BY operation, entity_id, at, id
  ), opened AS (
    INSERT INTO manual_intervention_log
      (id, timestamp, last_failed_at, operation, entity_id, error, code, cause, payload, target)
    SELECT id, at, at, operation, entity_id, error, code, cause, payload, ''
    FROM given
    WHERE NOT EXISTS (
      SELECT FROM manual_intervention_log AS known
      WHERE known.target = ''
        AND hashtextextended(known.operation || ' ' || coalesce(known.entity_id, ''), 0)
            = hashtextextended(given.operation || ' ' || coalesce(given.entity_id, ''), 0)
        AND known.operation = given.operation AND known.entity_id IS NOT DISTINCT FROM given.entity_id
        AND (NOT known.resolved OR known.resolved_at >= given.at)
      OFFSET 0)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
  )
  INSERT INTO intervention_history (actor, action, object_type, object_id, to_state, request_id)
  SELECT 'system', 'opened', 'intervention', id::text, 'open', given.request_id FROM opened JOIN given USING (id);
END
$$;
"""
REVERSE = """
DROP FUNCTION intervention_report(jsonb);
DROP INDEX intervention_reported;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("interventions", "0004_closed_to_others")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
