"""Programs with few rights keep working, views are for reading, and no item is deleted by anybody."""

from django.db import migrations, models
from django.db.models import Q

SQL = """
ALTER FUNCTION intervention_state_follows() SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp;

-- OFFSET makes a view one that cannot be written through.
CREATE OR REPLACE VIEW contract_interventions AS
SELECT id, person_id, target, operation, cause, state, resolved, timestamp AS opened_at, resolved_at, resolved_by,
       resolution
FROM manual_intervention_log OFFSET 0;
CREATE OR REPLACE VIEW contract_history AS
SELECT id, at, actor, action, object_type, object_id, from_state, to_state, run_id, request_id
FROM intervention_history OFFSET 0;

CREATE FUNCTION intervention_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'manual_intervention_log keeps what was in it: % is refused; mark it resolved', TG_OP
    USING ERRCODE = '55000';
END
$$;
CREATE TRIGGER intervention_stays BEFORE DELETE OR TRUNCATE ON manual_intervention_log
FOR EACH STATEMENT EXECUTE FUNCTION intervention_stays();
"""
REVERSE = """
DROP TRIGGER intervention_stays ON manual_intervention_log;
DROP FUNCTION intervention_stays();
ALTER FUNCTION intervention_state_follows() SECURITY INVOKER RESET search_path;
"""


class Migration(migrations.Migration):
    """Frozen: a change of the SQL is a new migration."""

    dependencies = [("interventions", "0003_history_at")]
    operations = [
        migrations.RemoveConstraint("intervention", "intervention_one_live"),
        migrations.AddConstraint(
            "intervention",
            models.UniqueConstraint(
                fields=["operation", "entity_id", "target"],
                condition=Q(resolved=False) & ~Q(target=""),
                name="intervention_one_live",
            ),
        ),
        migrations.RunSQL(SQL, REVERSE),
    ]
