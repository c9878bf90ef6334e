"""The contract's index and views, and what the database itself refuses or mends."""

from django.db import migrations

SQL = """
CREATE INDEX idx_manual_intervention_unresolved
ON manual_intervention_log(resolved, timestamp DESC)
WHERE resolved = FALSE;

-- Programs that know the ten founding columns write `resolved` alone; the item's state then follows it.
CREATE FUNCTION intervention_state_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.resolved AND NEW.state <> 'resolved' THEN
    NEW.state := 'resolved';
    NEW.resolution := coalesce(NEW.resolution, 'accepted');
    NEW.resolved_at := coalesce(NEW.resolved_at, now());
    NEW.resolved_by := coalesce(NEW.resolved_by, 'sql:' || session_user);
    INSERT INTO intervention_history (at, actor, action, object_type, object_id, from_state, to_state, request_id)
    VALUES (now(), 'sql:' || session_user, 'accepted:sql', 'intervention', NEW.id::text,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, 'resolved', '');
  ELSIF NOT NEW.resolved AND NEW.state = 'resolved' THEN
    NEW.state := 'reopened';
    NEW.resolution := NULL;
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER intervention_state_follows BEFORE INSERT OR UPDATE ON manual_intervention_log
FOR EACH ROW WHEN (NEW.resolved <> (NEW.state = 'resolved')) EXECUTE FUNCTION intervention_state_follows();

CREATE FUNCTION intervention_history_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'intervention_history is append-only: % is refused', TG_OP USING ERRCODE = '55000';
END
$$;
CREATE TRIGGER intervention_history_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON intervention_history
FOR EACH STATEMENT EXECUTE FUNCTION intervention_history_is_final();

CREATE VIEW contract_interventions AS
SELECT id, person_id, target, operation, cause, state, resolved, timestamp AS opened_at, resolved_at, resolved_by,
       resolution
FROM manual_intervention_log;
CREATE VIEW contract_history AS
SELECT id, at, actor, action, object_type, object_id, from_state, to_state, run_id, request_id
FROM intervention_history;
"""
REVERSE = """
DROP VIEW contract_history;
DROP VIEW contract_interventions;
DROP TRIGGER intervention_history_is_final ON intervention_history;
DROP FUNCTION intervention_history_is_final();
DROP TRIGGER intervention_state_follows ON manual_intervention_log;
DROP FUNCTION intervention_state_follows();
DROP INDEX idx_manual_intervention_unresolved;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("interventions", "0001_initial")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
