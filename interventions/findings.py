"""Items that stand for a state of things, not for a failed try: looked for again and again, told once, gone with it."""

import datetime as dt
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from interventions import fingerprint
from interventions.items import SYSTEM, line
from interventions.models import History, Resolution, State


@dataclass(frozen=True)
class Finding:
    """One state that needs a person. `entity_id`, `error` and `members` hold ids, names of tables and codes, never values."""

    entity_id: str
    error: str
    person_id: int | None = None
    # Whose state it is: an item that somebody resolved with a note comes back when these change.
    members: dict[str, Any] = field(default_factory=dict)


_OPEN = """
WITH found AS (
    SELECT * FROM jsonb_to_recordset(%(findings)s::jsonb) AS f (entity_id text, error text, person_id bigint, payload jsonb)
), settled AS (
    -- Resolved by a person, who saw just this.
    SELECT DISTINCT f.entity_id FROM found f JOIN manual_intervention_log i
        ON i.operation = %(operation)s AND i.target = %(target)s AND i.entity_id = f.entity_id
    WHERE i.resolved AND i.resolution = 'accepted' AND i.payload IS NOT DISTINCT FROM f.payload
)
INSERT INTO manual_intervention_log AS item
    (operation, entity_id, person_id, target, error, code, cause, timestamp, payload)
SELECT %(operation)s, entity_id, person_id, %(target)s, error, %(operation)s, %(cause)s, %(at)s, payload
FROM found WHERE entity_id NOT IN (SELECT entity_id FROM settled) ORDER BY entity_id
ON CONFLICT (operation, entity_id, target) WHERE NOT resolved AND target <> ''
    DO UPDATE SET error = excluded.error, payload = excluded.payload, person_id = excluded.person_id
    WHERE item.payload IS DISTINCT FROM excluded.payload OR item.error <> excluded.error
RETURNING id, xmax = 0
"""
_CLOSE = """
WITH live AS (
    SELECT id, state FROM manual_intervention_log
    WHERE operation = %(operation)s AND target = %(target)s AND NOT resolved
      AND (entity_id = ANY(%(these)s::text[])) <> %(others)s
    ORDER BY id FOR UPDATE)
UPDATE manual_intervention_log AS item
SET resolved = true, state = 'resolved', resolution = %(resolution)s, resolved_at = %(at)s, resolved_by = %(by)s,
    retry_until = NULL, retry_by = NULL
FROM live WHERE item.id = live.id
RETURNING item.id, live.state
"""


def review(
    *, operation: str, target: str, findings: Sequence[Finding], is_complete: bool, at: dt.datetime
) -> tuple[int, int]:
    """
    Keep exactly one live item for each finding, and resolve those of states that are gone; gives how many of each.

    Where the look was not `is_complete`, nothing is taken for gone.
    """
    words: dict[str, Any] = {
        "operation": operation, "target": target, "at": at,
        "cause": fingerprint.of(target=target, operation=operation, kind="identity", code=operation, detail=""),
        "findings": json.dumps(
            [
                {"entity_id": f.entity_id, "error": f.error, "person_id": f.person_id, "payload": f.members}
                for f in findings
            ]
        ),
    }  # fmt: skip
    with transaction.atomic():
        opened = []
        if findings:
            with connection.cursor() as cursor:
                cursor.execute(_OPEN, words)
                opened = [item for item, is_new in cursor.fetchall() if is_new]
            History.objects.bulk_create(line(item, "opened", SYSTEM, None, State.OPEN) for item in opened)
        gone = []
        if is_complete:
            here = [finding.entity_id for finding in findings]
            gone = _close(operation, target, here, others=True, resolution=Resolution.SUPERSEDED, by=SYSTEM, at=at)
    return len(opened), len(gone)


def decided(*, operation: str, target: str, entity_ids: Collection[str], by: str, at: dt.datetime) -> None:
    """Resolve the live items of states that a person has just ended, in the caller's transaction and the person's name."""
    _close(operation, target, list(entity_ids), others=False, resolution=Resolution.SUPERSEDED, by=by, at=at)


def _close(
    operation: str, target: str, these: list[str], *, others: bool, resolution: Resolution, by: str, at: dt.datetime
) -> list[Any]:
    words: dict[str, Any] = {
        "operation": operation, "target": target, "these": these, "others": others, "resolution": resolution,
        "by": by, "at": at,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE, words)
        closed: list[tuple[Any, str]] = cursor.fetchall()
    History.objects.bulk_create(line(i, f"resolved:{resolution}", by, state, State.RESOLVED) for i, state in closed)
    return closed
