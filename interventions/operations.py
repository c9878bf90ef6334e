"""What may happen to an item, each one a transaction of the caller's or its own, each with its line of history."""

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from interventions.correlation import request_id
from interventions.handlers import Entity, handler
from interventions.models import History, Intervention, Resolution, State

logger = logging.getLogger(__name__)

SYNC = "sync"
SYSTEM = "system"
# A cause that comes back within a week is the same item again, not a new one.
REOPENS_WITHIN = dt.timedelta(days=7)


@dataclass(frozen=True)
class Failure:
    """A target that could not be brought in line. `detail` names tables, columns and constraints, never values."""

    person_id: int
    target: str
    code: str
    failure_class: str
    detail: str
    attempts: int

    @property
    def cause(self) -> str:
        """What items of the same reason share."""
        return ":".join([self.target, SYNC, self.failure_class, self.code, self.detail])

    @property
    def error(self) -> str:
        """The line that stands in `error`: codes and names only."""
        return f"{self.target}: {self.failure_class} {self.code}" + (f" ({self.detail})" if self.detail else "")


@dataclass
class Report:
    """What an operation on many items did, in numbers; `problems` says of each refused item why."""

    done: int = 0
    already: int = 0
    refused: int = 0
    accepted: int = 0
    problems: dict[str, str] = field(default_factory=dict)


_REOPEN = """
UPDATE manual_intervention_log AS item
SET resolved = false, state = 'reopened', resolved_at = NULL, resolved_by = NULL, resolution = NULL, compared = NULL,
    error = f.error, code = f.code, cause = f.cause, attempts = f.attempts, last_failed_at = %(at)s
FROM (SELECT * FROM jsonb_to_recordset(%(failures)s::jsonb)
      AS f (entity_id text, target text, error text, code text, cause text, attempts int)) AS f
WHERE item.id = (
    SELECT id FROM manual_intervention_log AS last
    WHERE last.operation = 'sync' AND last.entity_id = f.entity_id AND last.target = f.target
    ORDER BY last.resolved, last.resolved_at DESC LIMIT 1)
  AND item.resolved AND (item.resolution = 'accepted' OR item.resolved_at > %(since)s)
RETURNING item.id
"""
_OPEN = """
WITH before AS (
    SELECT id, state FROM manual_intervention_log
    WHERE NOT resolved AND operation = 'sync' AND entity_id = ANY(%(entity_ids)s)
), opened AS (
    INSERT INTO manual_intervention_log AS item
        (operation, entity_id, person_id, target, error, code, cause, attempts, last_failed_at, timestamp, payload)
    SELECT 'sync', f.entity_id, f.entity_id::bigint, f.target, f.error, f.code, f.cause, f.attempts, %(at)s, %(at)s,
           jsonb_build_object('person_id', f.entity_id::bigint, 'target', f.target)
    FROM jsonb_to_recordset(%(failures)s::jsonb)
        AS f (entity_id text, target text, error text, code text, cause text, attempts int)
    ORDER BY f.entity_id, f.target
    ON CONFLICT (operation, entity_id, target) WHERE NOT resolved DO UPDATE
    SET error = excluded.error, code = excluded.code, cause = excluded.cause, attempts = excluded.attempts,
        last_failed_at = excluded.last_failed_at, retry_until = NULL, retry_by = NULL,
        state = CASE item.state WHEN 'retrying' THEN 'open' ELSE item.state END
    RETURNING item.id)
SELECT opened.id, before.state FROM opened LEFT JOIN before USING (id)
"""


def open_items(*, failures: Sequence[Failure], at: dt.datetime) -> None:
    """
    Make sure that each failure has exactly one live item, in the caller's transaction.

    An item that was resolved within a week, or whose difference had been accepted, is reopened instead of doubled.
    """
    if not failures:
        return
    words: dict[str, Any] = {
        "failures": json.dumps(
            [
                {"entity_id": str(f.person_id), "target": f.target, "error": f.error, "code": f.code,
                 "cause": f.cause, "attempts": f.attempts}
                for f in failures
            ]
        ),
        "entity_ids": [str(f.person_id) for f in failures],
        "at": at,
        "since": at - REOPENS_WITHIN,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_REOPEN, words)
        reopened = {row[0] for row in cursor.fetchall()}
        cursor.execute(_OPEN, words)
        rows = cursor.fetchall()
    lines = [_line(i, "reopened", SYSTEM, State.RESOLVED, State.REOPENED) for i in reopened]
    lines += [_line(i, "opened", SYSTEM, None, State.OPEN) for i, before in rows if before is None]
    lines += [_line(i, "retry_failed", SYSTEM, State.RETRYING, State.OPEN) for i, b in rows if b == State.RETRYING]
    History.objects.bulk_create(lines)


_SETTLE = """
WITH live AS (
    SELECT item.id, item.state, e.attempt
    FROM manual_intervention_log AS item
    JOIN unnest(%(people)s::text[], %(targets)s::text[], %(attempts)s::bigint[]) AS e (person, target, attempt)
        ON item.entity_id = e.person AND item.target = e.target
    WHERE NOT item.resolved AND item.operation = 'sync'
    ORDER BY item.id FOR UPDATE OF item)
UPDATE manual_intervention_log AS item
SET resolved = true, state = 'resolved', resolution = %(resolution)s, resolved_at = %(at)s, resolved_by = 'system',
    resolution_notes = NULL, compared = NULL, retry_until = NULL, retry_by = NULL, attempt_id = live.attempt
FROM live WHERE item.id = live.id
RETURNING item.id, live.state
"""


def settle_items(*, entities: Mapping[Entity, int | None], resolution: Resolution, at: dt.datetime) -> int:
    """
    Resolve the live items of targets that are in line again, in the transaction that brought them there.

    The value is the attempt that mended the target, where one is on record. Gives the number of items resolved.
    """
    if not entities:
        return 0
    ordered = sorted(entities)
    words: dict[str, Any] = {
        "people": [str(person_id) for person_id, _ in ordered],
        "targets": [target for _, target in ordered],
        "attempts": [entities[entity] for entity in ordered],
        "resolution": resolution,
        "at": at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, words)
        settled = cursor.fetchall()
    action = f"resolved:{resolution}"
    History.objects.bulk_create(_line(i, action, SYSTEM, before, State.RESOLVED) for i, before in settled)
    return len(settled)


def retry_items(*, items: "QuerySet[Intervention]", by: str, at: dt.datetime) -> Report:
    """
    Make the items' targets due now. One transaction: a request of staff is as durable as a write.

    A retry that gives no verdict within SYNC_LEASE_SECONDS lapses, and the item needs a person again.
    """
    report = Report()
    with transaction.atomic():
        locked = list(items.select_for_update().order_by("id"))
        wanted: list[Entity] = []
        for item in locked:
            if item.resolved or item.state == State.RETRYING:
                report.already += 1
            elif item.person_id is None or not item.target:
                report.refused += 1
                report.problems[str(item.pk)] = "It names no person and place that could be tried again."
            else:
                wanted.append((item.person_id, item.target))
                _change(item, State.RETRYING, "retry", by)
                item.retry_until, item.retry_by = at + dt.timedelta(seconds=settings.SYNC_LEASE_SECONDS), by
                item.save(update_fields=["state", "retry_until", "retry_by"])
                report.done += 1
        if wanted:
            handler().retry(wanted)
    if wanted:
        handler().wake()
    return report


def mark_resolved(*, items: "QuerySet[Intervention]", by: str, note: str, may_accept: bool, at: dt.datetime) -> Report:
    """
    Resolve the items whose both sides are equal now; accept a difference only with a note from who may.

    Both sides are read in this transaction. An item that stays different and unaccepted stays open, and says why.
    """
    report = Report()
    with transaction.atomic():
        locked = list(items.select_for_update().order_by("id"))
        entities = [(i.person_id, i.target) for i in locked if i.person_id is not None and i.target and not i.resolved]
        compared = handler().compare(entities) if entities else {}
        accepted: list[Entity] = []
        verified: list[Entity] = []
        for item in locked:
            if item.resolved:
                report.already += 1
                continue
            entity = (item.person_id, item.target) if item.person_id is not None else None
            comparison = compared.get(entity) if entity else None
            if comparison is not None and comparison.is_equal:
                resolution = Resolution.VERIFIED
                report.done += 1
                verified += [entity] if entity else []
            elif may_accept and note.strip():
                resolution = Resolution.ACCEPTED
                report.accepted += 1
                if comparison is not None and entity is not None:
                    accepted.append(entity)
            else:
                report.refused += 1
                report.problems[str(item.pk)] = _why_not(has_sides=comparison is not None, may_accept=may_accept)
                continue
            digest = comparison.digest if comparison else None
            _resolve(item, resolution=resolution, by=by, note=note.strip() or None, compared=digest, at=at)
        if accepted:
            handler().accept(accepted)
        if verified:
            # The ledger settles what somebody mended by hand when a worker has read it back too.
            handler().retry(verified)
    if verified:
        handler().wake()
    return report


def lapse_retries(*, at: dt.datetime) -> int:
    """Give items back to people whose retry brought no verdict in time."""
    with transaction.atomic():
        late = Intervention.objects.select_for_update(skip_locked=True).filter(state=State.RETRYING, retry_until__lt=at)
        items = list(late)
        for item in items:
            _change(item, State.OPEN, "retry_lost", SYSTEM)
            item.retry_until = item.retry_by = None
            item.save(update_fields=["state", "retry_until", "retry_by"])
    return len(items)


def log_manual_intervention_needed(
    *, operation: str, entity_id: str | None = None, error: str, payload: dict[str, Any] | None = None
) -> bool:
    """
    Put something in front of staff. Never raises; gives whether it was written.

    `payload` and `error` must hold ids, names of facts and codes, never values or addresses. Inside a transaction the
    item shares its fate, guarded by a savepoint.
    """
    try:
        with transaction.atomic():
            item, is_new = Intervention.objects.get_or_create(
                operation=operation, entity_id=entity_id, target="", resolved=False,
                defaults={"error": error, "payload": payload},
            )  # fmt: skip
            if is_new:
                History.objects.bulk_create([_line(item.pk, "opened", SYSTEM, None, State.OPEN)])
        return True
    except Intervention.MultipleObjectsReturned:
        return True  # it stands there already: without an entity nothing keeps others from writing it twice
    # Whatever the caller handed over: who reports a failure must not get another one for it.
    except Exception as failure:  # noqa: BLE001
        code = getattr(failure.__cause__, "sqlstate", None) or type(failure).__name__
        logger.error("interventions.log.failed", extra={"operation": operation, "entity_id": entity_id, "code": code})
        return False


def _why_not(*, has_sides: bool, may_accept: bool) -> str:
    fact = "The two sides still differ." if has_sides else "There are no two sides to compare."
    if may_accept:
        return f"{fact} Retry, or accept it with a note."
    return f"{fact} Retry, or ask somebody who may accept a difference."


def _resolve(
    item: Intervention, *, resolution: Resolution, by: str, note: str | None, compared: str | None, at: dt.datetime
) -> None:
    action = "resolved" if resolution is not Resolution.ACCEPTED else "accepted"
    _change(item, State.RESOLVED, f"{action}:{resolution}", by)
    item.resolved, item.resolution = True, resolution
    item.resolved_at, item.resolved_by, item.resolution_notes = at, by, note
    item.compared, item.retry_until, item.retry_by = compared, None, None
    item.save(
        update_fields=["state", "resolved", "resolution", "resolved_at", "resolved_by", "resolution_notes",
                       "compared", "retry_until", "retry_by"]
    )  # fmt: skip


def _change(item: Intervention, to: State, action: str, by: str) -> None:
    History.objects.bulk_create([_line(item.pk, action, by, item.state, to)])
    item.state = to


def _line(item_id: object, action: str, by: str, before: str | None, after: str) -> History:
    return History(
        actor=by, action=action, object_type="intervention", object_id=str(item_id),
        from_state=before, to_state=after, request_id=request_id.get(),
    )  # fmt: skip
