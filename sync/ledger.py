"""What became of what was owed: the workers' side of debt and ledger. A user's write never comes here."""

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from interventions.arrays import array
from sync.claims import Entity
from sync.models import Attempt, Ledger, Service


@dataclass(frozen=True)
class Outcome:
    """What came of one try at one entity. `code` None: written where needed, read back, equal."""

    entity: Entity
    code: str | None = None
    error_object: str | None = None
    next_attempt_at: dt.datetime | None = None
    attempts: int = 0
    owed_since: dt.datetime | None = None
    # Whether new debt was folded in by this try; trying again what the ledger knew is no new revision.
    is_folded: bool = False


@dataclass(frozen=True)
class Row:
    """What a ledger row said before the try."""

    attempts: int
    owed_since: dt.datetime | None
    is_excluded: bool = False


_ROWS = """
SELECT person_id, target, attempts, owed_since, excluded_reason IS NOT NULL
FROM sync_ledger AS l JOIN unnest(%(people)s::bigint[], %(targets)s::text[]) AS e (person_id, target) USING (person_id, target)
ORDER BY person_id, target FOR UPDATE OF l
"""
_OUTCOMES = """
FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o (person_id bigint, target text, code text, error_object text,
    next_attempt_at timestamptz, attempts int, owed_since timestamptz)
"""
_FOLD = f"""
INSERT INTO sync_ledger AS l (person_id, target, desired_revision, applied_revision, verified_revision, owed_since,
    attempts, crashes, next_attempt_at, is_paused, last_error_code, last_error_object, blocked_schema)
SELECT o.person_id, o.target, 1, 0, 0, o.owed_since, o.attempts, 0, o.next_attempt_at, false, o.code, o.error_object,
    CASE WHEN o.next_attempt_at IS NULL THEN %(schema)s END
{_OUTCOMES} ORDER BY o.person_id, o.target
ON CONFLICT (person_id, target) DO UPDATE SET
    desired_revision = l.desired_revision + 1, owed_since = least(l.owed_since, excluded.owed_since),
    attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at, excluded_reason = NULL,
    last_error_code = excluded.last_error_code, last_error_object = excluded.last_error_object,
    blocked_schema = excluded.blocked_schema, is_paused = false
"""
_FAIL_AGAIN = f"""
UPDATE sync_ledger AS l SET attempts = o.attempts, next_attempt_at = o.next_attempt_at, last_error_code = o.code,
    is_paused = false, last_error_object = o.error_object, blocked_schema = CASE WHEN o.next_attempt_at IS NULL THEN %(schema)s END
{_OUTCOMES} WHERE l.person_id = o.person_id AND l.target = o.target
"""
# Objects of Django would cost five times as much.
_TRIED = f"""
INSERT INTO sync_attempt (person_id, target, outcome, error_object, attempt, duration_ms)
SELECT o.person_id, o.target, coalesce(o.code, ''), o.error_object, o.attempts, %(duration_ms)s {_OUTCOMES}
"""
_SETTLED = """
UPDATE sync_ledger AS l
SET desired_revision = l.desired_revision + o.folded, applied_revision = l.desired_revision + o.folded,
    verified_revision = l.desired_revision + o.folded, owed_since = NULL, attempts = 0, crashes = 0, next_attempt_at = NULL,
    lease_owner = NULL, lease_until = NULL, excluded_reason = NULL, last_error_code = NULL, last_error_object = NULL,
    blocked_schema = NULL, is_paused = false
FROM unnest(%(people)s::bigint[], %(targets)s::text[], %(folded)s::int[]) AS o (person_id, target, folded)
WHERE l.person_id = o.person_id AND l.target = o.target
RETURNING l.person_id, l.target, (SELECT old.attempts FROM sync_ledger old
    WHERE old.person_id = l.person_id AND old.target = l.target)
"""
# Everything about a table whose change can turn a refusal into a success; no values.
_SCHEMA = """
WITH found AS (SELECT to_regclass(name) AS relation FROM unnest(%(tables)s::text[]) AS name)
SELECT md5(coalesce(string_agg(line, '|' ORDER BY line), '')) FROM (
  SELECT attrelid::regclass::text || ' ' || attname || ' ' || atttypid || ' ' || atttypmod || ' ' || attnotnull AS line
  FROM pg_attribute JOIN found ON attrelid = relation WHERE attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
  FROM pg_constraint JOIN found ON conrelid = relation
  UNION ALL
  SELECT relname || ' ' || coalesce(relacl::text, '') || ' ' || relrowsecurity FROM pg_class JOIN found ON oid = relation
  UNION ALL
  SELECT tgrelid::regclass::text || ' ' || tgname || ' ' || tgenabled::text || ' ' || md5(pg_get_functiondef(tgfoid))
  FROM pg_trigger JOIN found ON tgrelid = relation WHERE NOT tgisinternal
) AS lines
"""
_UNBLOCK = """
UPDATE sync_ledger SET next_attempt_at = clock_timestamp()
WHERE owed_since IS NOT NULL AND next_attempt_at IS NULL AND excluded_reason IS NULL
  AND (%(everything)s OR NOT EXISTS (SELECT FROM sync_service AS s WHERE s.target = sync_ledger.target)
       AND blocked_schema IS DISTINCT FROM %(schema)s)
"""


_FOLD_SERVICES = """
INSERT INTO sync_ledger AS l (person_id, target, desired_revision, applied_revision, verified_revision, owed_since,
    attempts, crashes, next_attempt_at, is_paused)
SELECT o.person_id, s.target, 1, 0, 0, min(coalesce(o.since, clock_timestamp())), 0, 0, clock_timestamp(), false
FROM unnest(%(people)s::bigint[], %(words)s::text[], %(since)s::timestamptz[]) AS o (person_id, word, since)
JOIN sync_service AS s ON s.is_configured AND o.word IN (s.target, '*' || s.kind)
GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (person_id, target) DO UPDATE SET
    desired_revision = l.desired_revision + 1, owed_since = least(l.owed_since, excluded.owed_since),
    next_attempt_at = excluded.next_attempt_at, crashes = 0, excluded_reason = NULL
"""
_OWE_EVERYBODY = """
INSERT INTO sync_ledger AS l (person_id, target, desired_revision, applied_revision, verified_revision, owed_since,
    attempts, crashes, next_attempt_at, is_paused)
SELECT person_id, %(target)s, 1, 0, 0, clock_timestamp(), 0, 0, clock_timestamp(), false
FROM ({people} UNION SELECT person_id FROM sync_ledger WHERE target = %(target)s AND told IS NOT NULL) AS p (person_id)
ORDER BY person_id
ON CONFLICT (person_id, target) DO UPDATE SET
    desired_revision = l.desired_revision + 1, owed_since = least(l.owed_since, excluded.owed_since),
    next_attempt_at = excluded.next_attempt_at, crashes = 0, excluded_reason = NULL
"""
_DROP_SERVICE = """
UPDATE sync_ledger SET applied_revision = desired_revision, owed_since = NULL, attempts = 0, crashes = 0, is_paused = false,
    next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL, excluded_reason = NULL, last_error_code = NULL,
    last_error_object = NULL, blocked_schema = NULL
WHERE target = %s AND owed_since IS NOT NULL RETURNING person_id
"""


def owe(*, people: Collection[int], targets: Sequence[str], reason: str) -> None:
    """Append debt for every person and all the targets; durable with the surrounding transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sync_debt (person_id, targets, revision, code)"
            " SELECT person, %s, nextval('sync_revision'), %s FROM unnest(%s::bigint[]) AS person",
            [list(targets), reason, array(people)],
        )


def fold_services(owed: Mapping[Entity, dt.datetime | None]) -> None:
    """
    Fold debt of services into the ledger, due at once; the value says since when it is owed.

    An entity may name a target, or by `*kind` every service of a kind. What is not configured is dropped.
    """
    with connection.cursor() as cursor:
        words: dict[str, Any] = {
            "people": array(person_id for person_id, _ in owed), "words": [word for _, word in owed],
            "since": list(owed.values()),
        }  # fmt: skip
        cursor.execute(_FOLD_SERVICES, words)


def owe_everybody(*, target: str, people: str) -> None:
    """Owe a service everybody whom a query gives, and whoever it was told of before, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_OWE_EVERYBODY.format(people=people), {"target": target})


def drop_service(target: str) -> list[int]:
    """Owe a service nothing more, and keep what it was told; gives whom it was owed about."""
    with connection.cursor() as cursor:
        cursor.execute(_DROP_SERVICE, [target])
        return [person_id for (person_id,) in cursor.fetchall()]


def unblock_service(target: str) -> None:
    """Make due what a service refused, once it is configured otherwise."""
    blocked = Ledger.objects.filter(target=target, owed_since__isnull=False, next_attempt_at=None, excluded_reason=None)
    blocked.update(next_attempt_at=Now(), crashes=0)


def is_parked(targets: Collection[str]) -> bool:
    """Whether anything of these targets is parked."""
    return Ledger.objects.filter(is_paused=True, target__in=targets).exists()


def rows(entities: Collection[Entity]) -> dict[Entity, Row]:
    """
    Give what the ledger says of each entity that has a row, and hold it there until the transaction ends.

    Who decides about a difference holds the same rows: nobody mends what is being accepted, nor accepts what is mended.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"people": array(p for p, _ in entities), "targets": array(t for _, t in entities)})
        return {(p, t): Row(attempts, since, is_excluded) for p, t, attempts, since, is_excluded in cursor.fetchall()}


def excluded(entities: Iterable[Entity]) -> list[Entity]:
    """Narrow to the entities whose difference stays by a person's decision."""
    wanted = set(entities)
    found = Ledger.objects.filter(person_id__in={p for p, _ in wanted}, excluded_reason__isnull=False)
    return [e for e in found.values_list("person_id", "target") if e in wanted]


def record_failures(*, outcomes: Sequence[Outcome], schema: str, duration_ms: int) -> None:
    """Write failed outcomes into the ledger and the record of attempts; `schema` is remembered where it blocks."""
    if not outcomes:
        return
    words: dict[str, Any] = {"schema": schema, "duration_ms": duration_ms}
    # Trying again what the ledger knew is no new revision.
    for statement, part in (
        (_FOLD, [o for o in outcomes if o.is_folded]),
        (_FAIL_AGAIN, [o for o in outcomes if not o.is_folded]),
    ):
        if part:
            words["outcomes"] = json.dumps([_as_row(o) for o in part])
            with connection.cursor() as cursor:
                cursor.execute(statement, words)
                cursor.execute(_TRIED, words)


def settle(*, entities: dict[Entity, bool], duration_ms: int) -> dict[Entity, int]:
    """
    Settle the entities that the ledger knows; the others were never folded and need no row.

    The value says whether new debt was folded in.

    Gives the attempt that mended each one that had failed before.
    """
    if not entities:
        return {}
    ordered = sorted(entities)
    columns: dict[str, Any] = {
        "people": array(person_id for person_id, _ in ordered),
        "targets": array(target for _, target in ordered),
        "folded": array(int(entities[entity]) for entity in ordered),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SETTLED, columns)
        mended = [(person_id, target, tries) for person_id, target, tries in cursor.fetchall() if tries]
    made = Attempt.objects.bulk_create(
        Attempt(person_id=p, target=t, outcome="settled", attempt=tries + 1, duration_ms=duration_ms)
        for p, t, tries in mended
    )
    return {(attempt.person_id, attempt.target): attempt.pk for attempt in made}


def forget_people(people: Collection[int]) -> None:
    """Drop the ledger rows of persons who no longer exist; services are told of that by a call of its own."""
    Ledger.objects.filter(person_id__in=people).exclude(target__in=Service.objects.values("target")).delete()


def count_crashes(person_id: int, crashes: int) -> None:
    """Write down how many workers died over a person."""
    Ledger.objects.filter(person_id=person_id, owed_since__isnull=False).update(crashes=crashes)


def exclude(*, entities: Collection[Entity], reason: str) -> None:
    """Record that a difference stays by a person's decision; new debt lifts it."""
    for person_id, target in entities:
        Ledger.objects.filter(person_id=person_id, target=target, owed_since__isnull=False).update(
            excluded_reason=reason, next_attempt_at=None
        )


def schema_of(tables: Sequence[str]) -> str:
    """Give a digest of the tables' columns, constraints and triggers; waits for nothing but catalogs."""
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA, {"tables": list(tables)})
        return str(cursor.fetchone()[0])


def unblock(*, schema: str, everything: bool = False) -> int:
    """Make blocked rows due that were blocked under another schema (or all of them); gives their number."""
    with connection.cursor() as cursor:
        cursor.execute(_UNBLOCK, {"schema": schema, "everything": everything})
        return int(cursor.rowcount)


def debt_codes(person_id: int) -> set[str | None]:
    """Give why a person has debt that nobody has taken up; empty: there is none."""
    # Every save asks this; composing the same query by the ORM costs more than PostgreSQL's answer.
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT code FROM sync_debt WHERE person_id = %s", [person_id])
        return {row[0] for row in cursor.fetchall()}


def _as_row(outcome: Outcome) -> dict[str, object]:
    return {
        "person_id": outcome.entity[0], "target": outcome.entity[1], "code": outcome.code,
        "error_object": outcome.error_object, "attempts": outcome.attempts,
        "next_attempt_at": outcome.next_attempt_at and outcome.next_attempt_at.isoformat(),
        "owed_since": outcome.owed_since and outcome.owed_since.isoformat(),
    }  # fmt: skip
