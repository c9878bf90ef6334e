"""Keepwell itself, with everything on: net, receivers, doorbell; drained by one worker's code in one process."""

from django.db import connection

from interventions.models import Intervention
from sync import delivery
from sync.models import Debt


def fill(people: list[int]) -> None:
    """Leave one debt row for each, and nothing else."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("TRUNCATE sync_debt, sync_ledger, sync_attempt, manual_intervention_log, intervention_history")
        cursor.execute("RESET session_replication_role")
        cursor.execute(
            "INSERT INTO sync_debt (person_id, targets, revision) SELECT person, '{therapist_profiles}',"
            " nextval('sync_revision') FROM unnest(%s::bigint[]) AS person",
            [people],
        )


def drain() -> None:
    """Drain until no debt is left."""
    while Debt.objects.exists():
        delivery.drain()


def failures() -> str:
    """Count items and their causes."""
    items = Intervention.objects.filter(resolved=False)
    causes = items.values("cause").distinct().count()
    return f"{items.count()} items, {causes} {'cause' if causes == 1 else 'causes'}"
