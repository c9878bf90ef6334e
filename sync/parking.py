"""Rows that are parked: owed, not attempted, and pulled forward when their target, person or operation is open again."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

Entity = tuple[int, str]  # person id, target
# So many rows move in one statement where nothing else bounds them.
MOST_AT_ONCE = 50_000

# A person's new debt is folded, so that it cannot pile up; what only the ledger knows is put back.
_PARK_DEBT = """
INSERT INTO sync_ledger AS l (person_id, target, desired_revision, applied_revision, verified_revision, owed_since,
    attempts, crashes, next_attempt_at, is_paused)
SELECT person_id, target, 1, 0, 0, since, 0, 0, %(at)s, true
FROM unnest(%(people)s::bigint[], %(targets)s::text[], %(since)s::timestamptz[]) AS o (person_id, target, since)
ORDER BY person_id, target
ON CONFLICT (person_id, target) DO UPDATE SET
    desired_revision = l.desired_revision + 1, owed_since = least(l.owed_since, excluded.owed_since),
    next_attempt_at = CASE WHEN l.excluded_reason IS NULL THEN excluded.next_attempt_at END, is_paused = true
"""
_PARK_DUE = """
UPDATE sync_ledger AS l SET is_paused = true
FROM unnest(%(people)s::bigint[], %(targets)s::text[]) AS o (person_id, target)
WHERE l.person_id = o.person_id AND l.target = o.target
"""
_PARK_BACKING_OFF = """
UPDATE sync_ledger AS l SET is_paused = true FROM (
    SELECT person_id, target FROM sync_ledger
    WHERE target = %(target)s AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at > %(at)s
    LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) AS found
WHERE l.person_id = found.person_id AND l.target = found.target
"""
_PARK_TARGET = """
UPDATE sync_ledger AS l SET is_paused = true FROM (
    SELECT person_id, target FROM sync_ledger
    WHERE target = %(target)s AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at <= %(at)s AND person_id IS DISTINCT FROM %(but)s
      AND coalesce(lease_until <= clock_timestamp(), true)
    LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) AS found
WHERE l.person_id = found.person_id AND l.target = found.target
"""
_IS_FREE = "NOT EXISTS (SELECT FROM sync_pause WHERE scope = 'person' AND key = sync_ledger.person_id::text)"
# A difference that somebody accepted is owed anew instead: whether it still is the accepted one is looked at first.
# New edits before what has failed already: a probe by somebody whose own row is ill would keep the target shut for all.
_PULL = f"""
WITH found AS (
    SELECT person_id, target FROM sync_ledger WHERE is_paused AND target = %(target)s AND {_IS_FREE}
    ORDER BY attempts, owed_since LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), freed AS (
    UPDATE sync_ledger AS l
    SET is_paused = false,
        next_attempt_at = CASE WHEN owed_since IS NOT NULL AND excluded_reason IS NULL THEN %(at)s::timestamptz END
    FROM found WHERE l.person_id = found.person_id AND l.target = found.target
    RETURNING l.person_id, l.target, l.excluded_reason IS NOT NULL AS is_excluded
), owed AS (
    INSERT INTO sync_debt (person_id, targets, revision, code)
    SELECT person_id, ARRAY[target], nextval('sync_revision'), 'parked' FROM freed WHERE is_excluded
)
SELECT person_id FROM freed
"""
_PULL_BACKING_OFF = f"""
UPDATE sync_ledger SET next_attempt_at = %(at)s WHERE target = %(target)s AND person_id = (
    SELECT person_id FROM sync_ledger
    WHERE target = %(target)s AND owed_since IS NOT NULL AND excluded_reason IS NULL AND NOT is_paused
      AND next_attempt_at IS NOT NULL AND {_IS_FREE}
    ORDER BY next_attempt_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING person_id
"""
_IS_OWED = f"""
SELECT EXISTS (SELECT FROM sync_debt WHERE %(target)s = ANY(targets)) OR EXISTS (
    SELECT FROM sync_ledger WHERE target = %(target)s AND owed_since IS NOT NULL AND excluded_reason IS NULL
      AND (is_paused OR next_attempt_at IS NOT NULL) AND {_IS_FREE})
"""


def park(entities: Mapping[Entity, dt.datetime | None], at: dt.datetime) -> None:
    """
    Put entities aside unattempted, in the transaction that claimed them; they stay owed, and no attempt is counted.

    The value says since when new debt was folded in; None: the ledger knew all of it.
    """
    folded = sorted(entity for entity, since in entities.items() if since is not None)
    known = sorted(entity for entity, since in entities.items() if since is None)
    for statement, part in ((_PARK_DEBT, folded), (_PARK_DUE, known)):
        if part:
            _run(
                statement, people=[person_id for person_id, _ in part], targets=[target for _, target in part],
                since=[entities[entity] for entity in part], at=at,
            )  # fmt: skip


def park_backing_off(target: str, at: dt.datetime) -> None:
    """Let what failed before wait in line with the rest, however far away its next try is."""
    _run(_PARK_BACKING_OFF, target=target, at=at, limit=MOST_AT_ONCE)


def park_target(target: str, at: dt.datetime, *, but: int | None) -> None:
    """Put aside what is due of a service that is left alone, one person aside; nobody's who is being told now."""
    _run(_PARK_TARGET, target=target, at=at, but=but, limit=MOST_AT_ONCE)


def pull(target: str, at: dt.datetime, most: int | None) -> list[int]:
    """Make parked rows of a target due, those owed longest first, leaving out paused people; gives their persons."""
    return _people(_run(_PULL, target=target, at=at, limit=most or MOST_AT_ONCE))


def pull_backing_off(target: str, at: dt.datetime) -> list[int]:
    """Make the one row due that would be tried next, though its time has not come; gives its person, if there is one."""
    return _people(_run(_PULL_BACKING_OFF, target=target, at=at))


def is_owed(target: str) -> bool:
    """Whether anything of a target could be tried: now, later, or once it is taken up."""
    return bool(_run(_IS_OWED, target=target)[0][0])


def _people(rows: Sequence[tuple[int, ...]]) -> list[int]:
    return [row[0] for row in rows]


def _run(statement: str, **words: Any) -> Sequence[tuple[int, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, words)
        return cursor.fetchall() if cursor.description else []
