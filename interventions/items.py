"""Items as the engine opens and settles them: set-based, in the transaction that finds or mends the failure."""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import Error as DatabaseFailure
from django.db import connection, transaction

from interventions import cleaning, fingerprint, spool
from interventions.arrays import array
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.handlers import Entity
from interventions.models import History, Intervention, Resolution, State

logger = logging.getLogger(__name__)

SYNC = "sync"
SYSTEM = "system"
LOCKED = "55P03"
# A cause that comes back within a week is the same item again, not a new one.
REOPENS_WITHIN = dt.timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class TargetFailure:
    """A target that fails for everybody. `detail` names tables, columns and constraints, never values."""

    target: str
    code: str
    failure_class: str
    detail: str
    attempts: int

    @property
    def entity_id(self) -> str:
        """What the item is about: here the target as a whole, by its name."""
        return self.target

    @property
    def cause(self) -> str:
        """What items of the same reason share."""
        return fingerprint.of(
            target=self.target, operation=SYNC, kind=self.failure_class, code=self.code, detail=self.detail
        )

    @property
    def error(self) -> str:
        """The line that stands in `error`: codes and names only."""
        return f"{self.target}: {self.failure_class} {self.code}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, kw_only=True)
class Failure(TargetFailure):
    """A target of one person that could not be brought in line."""

    person_id: int

    @property
    def entity_id(self) -> str:
        """What the item is about: the person."""
        return str(self.person_id)


# What happens and its line of history are one statement: a round trip less for each.
_NOTE = """
INSERT INTO intervention_history (actor, action, object_type, object_id, from_state, to_state, request_id)
SELECT 'system', noted.action, 'intervention', noted.id::text, noted.before, noted.after, %(request)s
"""
_REOPEN = f"""
WITH reopened AS (
    UPDATE manual_intervention_log AS item
    SET resolved = false, state = 'reopened', resolved_at = NULL, resolved_by = NULL, resolution = NULL,
        compared = NULL, error = f.error, code = f.code, cause = f.cause, attempts = f.attempts,
        last_failed_at = %(at)s, snoozed_until = NULL
    FROM (SELECT * FROM jsonb_to_recordset(%(failures)s::jsonb)
          AS f (person_id bigint, target text, error text, code text, cause text, attempts int)) AS f
    WHERE item.id = (
        SELECT id FROM manual_intervention_log AS last
        WHERE last.operation = 'sync' AND last.person_id = f.person_id AND last.target = f.target
        ORDER BY last.resolved, last.resolved_at DESC LIMIT 1)
      AND item.resolved AND (item.resolution = 'accepted' OR item.resolved_at > %(since)s)
    RETURNING item.id)
{_NOTE}
FROM (SELECT id, 'reopened' AS action, 'resolved' AS before, 'reopened' AS after FROM reopened) AS noted
"""
# Whoever decides about one of them at this moment comes first, and is seen by what follows: their retry is answered once,
# their decision is reopened and not doubled. In the order of everybody who locks items.
_LOCK = """
SELECT FROM manual_intervention_log
WHERE NOT resolved AND target <> '' AND operation = 'sync' AND entity_id = ANY(%(entities)s::text[]) ORDER BY id FOR UPDATE
"""
# Found by the index that keeps them single: by person and by name at once the whole log was read for each batch.
# New is what bears the id it was given: an item that somebody else opens meanwhile is not in `before` either.
_OPEN = f"""
WITH given AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, f.*
    FROM jsonb_to_recordset(%(failures)s::jsonb)
        AS f (entity_id text, person_id bigint, target text, error text, code text, cause text, attempts int)
), before AS (
    SELECT id, state FROM manual_intervention_log
    WHERE NOT resolved AND target <> '' AND operation = 'sync' AND entity_id = ANY(%(entities)s::text[])
), opened AS (
    INSERT INTO manual_intervention_log AS item
        (id, operation, entity_id, person_id, target, error, code, cause, attempts, last_failed_at, timestamp, payload)
    SELECT f.id, 'sync', f.entity_id, f.person_id, f.target, f.error, f.code, f.cause, f.attempts, %(at)s, %(at)s,
           jsonb_strip_nulls(jsonb_build_object('person_id', f.person_id, 'target', f.target))
    FROM given AS f ORDER BY f.entity_id, f.target
    ON CONFLICT (operation, entity_id, target) WHERE NOT resolved AND target <> '' DO UPDATE
    SET error = excluded.error, code = excluded.code, cause = excluded.cause, attempts = excluded.attempts,
        last_failed_at = excluded.last_failed_at, retry_until = NULL, retry_by = NULL,
        state = CASE item.state WHEN 'retrying' THEN 'open' ELSE item.state END
    RETURNING item.id)
{_NOTE}
FROM (
    SELECT id, CASE WHEN given.id IS NULL THEN 'retry_failed' ELSE 'opened' END AS action, before.state AS before,
           'open' AS after
    FROM opened LEFT JOIN given USING (id) LEFT JOIN before USING (id)
    WHERE given.id IS NOT NULL OR before.state = 'retrying') AS noted
"""


def open_items(*, failures: Sequence[Failure], at: dt.datetime) -> None:
    """
    Make sure that each failure has exactly one live item, in the caller's transaction, or is on the disk in the spool.

    An item that was resolved within a week, or whose difference had been accepted, is reopened instead of doubled.
    A log that refuses rows holds nobody else's work back: then the spool takes them. Raises django.db.Error where the
    transaction cannot go on, the spool takes nothing either, or somebody decides about one of the items: it stays owed.
    """
    if not failures:
        return
    reach("interventions.before_open", (failure.person_id for failure in failures))
    try:
        with transaction.atomic():
            write_items(failures=failures, at=at)
    except DatabaseFailure as refused:
        if connection.needs_rollback:
            raise
        code = cleaning.code(refused)
        if code == LOCKED and _is_within_reach():
            raise
        logger.error("interventions.log.failed", extra={"operation": SYNC, "number": len(failures), "refused": code})
        try:
            spool.append([as_record(failure, at=at) for failure in failures])
        except spool.SpoolRefused:
            raise refused from None
    reach("interventions.after_open", (failure.person_id for failure in failures))


def _is_within_reach() -> bool:
    """Tell whether it is rows of the log that somebody holds, and not the whole of it."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE ONLY manual_intervention_log IN ROW EXCLUSIVE MODE NOWAIT")
            return True
    except DatabaseFailure:
        return False


def write_items(*, failures: Sequence[TargetFailure], at: dt.datetime) -> None:
    """Do what `open_items` does, for whole targets too, without the spool: raises django.db.Error."""
    words: dict[str, Any] = {
        "failures": json.dumps(
            [
                {"entity_id": f.entity_id, "person_id": getattr(f, "person_id", None), "target": f.target, "error": f.error,
                 "code": f.code, "cause": f.cause, "attempts": f.attempts}
                for f in failures
            ]
        ),
        "entities": [f.entity_id for f in failures],
        "at": at,
        "since": at - REOPENS_WITHIN,
        "request": request_id.get(),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(f"{_LOCK};{_REOPEN};{_OPEN}", words)


def as_record(failure: Failure, *, at: dt.datetime) -> dict[str, Any]:
    """Give what the spool keeps of a failure."""
    return asdict(failure) | {"at": at.isoformat()}


def from_record(record: Mapping[str, Any]) -> tuple[Failure, dt.datetime]:
    """Give the failure that a record of the spool was made of, and when it was. Raises KeyError, TypeError, ValueError."""
    words = dict(record)
    at = dt.datetime.fromisoformat(words.pop("at"))
    return Failure(**words), at


_KNOWN = """
SELECT f.number FROM unnest(%s::int[], %s::text[], %s::text[], %s::timestamptz[]) AS f (number, entity_id, target, at)
WHERE EXISTS (
    SELECT FROM manual_intervention_log AS known
    WHERE known.operation = 'sync' AND known.person_id = f.entity_id::bigint AND known.target = f.target
      AND (NOT known.resolved OR known.resolved_at >= f.at))
"""


def add_late(failures: Sequence[tuple[Failure, dt.datetime]]) -> list[Entity]:
    """
    Open items for failures of a while ago, in the caller's transaction; again is the same as once.

    What an item says already that was open then, or later, adds nothing. Gives the entities of new items: whether they
    still fail is for the engine to find out. Raises django.db.Error.
    """
    with connection.cursor() as cursor:
        words = [(n, str(f.person_id), f.target, at) for n, (f, at) in enumerate(failures)]
        cursor.execute(_KNOWN, [list(column) for column in zip(*words, strict=True)])
        known = {row[0] for row in cursor.fetchall()}
    # Of several about one entity the last one speaks.
    new = {(f.person_id, f.target): (f, at) for n, (f, at) in enumerate(failures) if n not in known}
    if new:
        write_items(failures=[f for f, _ in new.values()], at=max(at for _, at in new.values()))
    return list(new)


_SETTLE = f"""
-- By person, never by an index of open items: who last saw nothing open would go through it for each. Hence IS DISTINCT.
WITH found AS MATERIALIZED (
    SELECT item.id, e.attempt
    FROM unnest(%(people)s::bigint[], %(targets)s::text[], %(attempts)s::bigint[]) AS e (person, target, attempt)
    CROSS JOIN LATERAL (
        SELECT id FROM manual_intervention_log
        WHERE person_id = e.person AND target = e.target AND operation = 'sync' AND entity_id = e.person::text
            AND resolved IS DISTINCT FROM true LIMIT 1) AS item
), live AS (
    SELECT item.id, item.state, found.attempt FROM manual_intervention_log AS item JOIN found USING (id)
    WHERE NOT item.resolved ORDER BY item.id FOR UPDATE OF item
), settled AS (
    UPDATE manual_intervention_log AS item
    SET resolved = true, state = 'resolved', resolution = %(resolution)s, resolved_at = %(at)s, resolved_by = 'system',
        resolution_notes = NULL, compared = NULL, retry_until = NULL, retry_by = NULL, attempt_id = live.attempt
    FROM live WHERE item.id = live.id
    RETURNING item.id, live.state)
{_NOTE}
FROM (SELECT id, 'resolved:' || %(resolution)s AS action, state AS before, 'resolved' AS after FROM settled) AS noted
"""


def settle_items(*, entities: Mapping[Entity, int | None], resolution: Resolution, at: dt.datetime) -> int:
    """
    Resolve the live items of targets that are in line again, in the transaction that brought them there.

    The value is the attempt that mended the target, where one is on record. Gives the number of items resolved.
    """
    if not entities:
        return 0
    ordered = sorted(entities)
    reach("interventions.before_settle", (person_id for person_id, _ in ordered))
    words: dict[str, Any] = {
        "people": array(person_id for person_id, _ in ordered),
        "targets": array(target for _, target in ordered),
        "attempts": array(entities[entity] for entity in ordered),
        "resolution": resolution,
        "at": at,
        "request": request_id.get(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, words)
        settled: int = cursor.rowcount
    reach("interventions.after_settle", (person_id for person_id, _ in ordered))
    return settled


def settle_target(*, target: str, resolution: Resolution, at: dt.datetime) -> int:
    """Resolve the live item of a target as a whole, in the transaction that found it to work again."""
    found = Intervention.objects.select_for_update().filter(
        operation=SYNC, person_id=None, entity_id=target, target=target, resolved=False
    )
    settled = list(found.values_list("pk", "state"))
    Intervention.objects.filter(pk__in=[pk for pk, _ in settled]).update(
        resolved=True, state=State.RESOLVED, resolution=resolution, resolved_at=at, resolved_by=SYSTEM, retry_until=None,
        retry_by=None,
    )  # fmt: skip
    History.objects.bulk_create(
        [line(pk, f"resolved:{resolution}", SYSTEM, state, State.RESOLVED) for pk, state in settled]
    )
    return len(settled)


def accepted_digests(entities: Sequence[Entity]) -> dict[Entity, str]:
    """Give what was compared when the difference of each entity was accepted; the last decision counts."""
    accepted = Intervention.objects.filter(
        operation=SYNC, resolution=Resolution.ACCEPTED, person_id__in={person_id for person_id, _ in entities}
    ).order_by("resolved_at")
    return {(i.person_id, i.target): i.compared for i in accepted if i.person_id is not None and i.compared}


def line(item_id: object, action: str, by: str, before: str | None, after: str) -> History:
    """Give a line of history about an item, to be added."""
    return History(
        actor=by, action=action, object_type="intervention", object_id=str(item_id),
        from_state=before, to_state=after, request_id=request_id.get(),
    )  # fmt: skip
