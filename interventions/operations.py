"""What may happen to an item, each one a transaction of the caller's or its own, each with its line of history."""

import datetime as dt
import logging
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from interventions import cleaning, entries, idempotency, patience, spool
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.handlers import Entity, handler
from interventions.items import SYSTEM, line
from interventions.models import History, Intervention, Resolution, State

logger = logging.getLogger(__name__)

# More at a time would hold their rows longer than the workers should wait.
MOST_AT_ONCE = 1000
NOT_AS_SEEN = "It differs otherwise than when the page was opened. Look at it as it is now, then decide."
# What callers report shares a commit, so many at a time.
MOST_TOGETHER = 500


@dataclass
class Report:
    """
    What an operation on many items did, in numbers; `problems` says of each refused item why.

    `before`: the items that somebody was first with, as they stood when nobody else could change them.
    """

    done: int = 0
    already: int = 0
    refused: int = 0
    accepted: int = 0
    left: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    before: list[Intervention] = field(default_factory=list)


def retry_items(*, items: "QuerySet[Intervention]", by: str, at: dt.datetime) -> Report:
    """
    Make the items' targets due now. One transaction: a request of staff is as durable as a write.

    Takes MOST_AT_ONCE items at most and counts the rest in `left`. A retry that gives no verdict within
    SYNC_LEASE_SECONDS lapses, and the item needs a person again.
    """
    report = Report()
    with patience.bounded():
        locked = list(items.select_for_update().order_by("pk")[: MOST_AT_ONCE + 1])
        report.left, locked = max(0, len(locked) - MOST_AT_ONCE), locked[:MOST_AT_ONCE]
        started: list[Intervention] = []
        for item in locked:
            if item.resolved or item.state == State.RETRYING:
                report.already += 1
                report.before.append(item)
            elif item.person_id is None or not item.target:
                report.refused += 1
                report.problems[str(item.pk)] = "It names no person and place that could be tried again."
            else:
                started.append(item)
        report.done = len(started)
        if started:
            ask_again(items=started, by=by, at=at)
        idempotency.forget(unless=started)
        reach("interventions.retry.before_commit", _people(started))
    reach("interventions.retry.after_commit", _people(started))
    if started:
        wake()
    return report


def ask_again(*, items: Collection[Intervention], by: str, at: dt.datetime, run_id: uuid.UUID | None = None) -> None:
    """
    Make the targets of items due that the caller's transaction has locked, and that name a person and a target.

    Waking the workers after the commit is the caller's.
    """
    lines = [line(item.pk, "retry", by, item.state, State.RETRYING) for item in items]
    for one in lines:
        one.run_id = run_id
    History.objects.bulk_create(lines)
    Intervention.objects.filter(pk__in=[item.pk for item in items]).update(
        state=State.RETRYING, retry_by=by, retry_until=at + dt.timedelta(seconds=settings.SYNC_LEASE_SECONDS)
    )
    handler().retry([(item.person_id, item.target) for item in items if item.person_id is not None])


def wake() -> None:
    """Ring whoever retries; never raises, never waits."""
    handler().wake()


def mark_resolved(
    *, items: "QuerySet[Intervention]", by: str, note: str, may_accept: bool, at: dt.datetime,
    seen: Mapping[str, str] | None = None,
) -> Report:  # fmt: skip
    """
    Resolve the items whose both sides are equal now; accept a difference only with a note from who may.

    Both sides are read in this transaction, while no worker writes them. An item that stays different and unaccepted
    stays open, and says why. `seen`: item to the digest of what the person saw; no other difference is accepted.
    """
    report = Report()
    with patience.bounded():
        # As workers do, who come to the items last: nothing is mended between the look and the decision.
        handler().hold(_entities(items))
        locked = list(items.select_for_update().order_by("id"))
        reach("interventions.resolve.before_read", _people(locked))
        compared = handler().compare(entities) if (entities := _entities(locked)) else {}
        accepted: list[Entity] = []
        verified: list[Entity] = []
        for item in locked:
            if item.resolved:
                report.already += 1
                report.before.append(item)
                continue
            entity = (item.person_id, item.target) if item.person_id is not None else None
            comparison = compared.get(entity) if entity else None
            if comparison is not None and comparison.is_equal:
                resolution = Resolution.VERIFIED
                report.done += 1
                verified += [entity] if entity else []
            elif seen and comparison is not None and seen.get(str(item.pk), comparison.digest) != comparison.digest:
                report.refused += 1
                report.problems[str(item.pk)] = NOT_AS_SEEN
                continue
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
        idempotency.forget(unless=report.done or report.accepted)
        reach("interventions.resolve.before_commit", _people(locked))
    reach("interventions.resolve.after_commit", _people(locked))
    if verified:
        handler().wake()
    return report


def adopt_value(*, value_id: int, fact: str, by: str) -> Entity:
    """
    Make a value that was written into a copy the source's, so that every place repeats it; give whose and where.

    One transaction with its line of history, which names the fact and never the value. Raises NotAdoptable.
    """
    with patience.bounded():
        person_id, target = handler().adopt(value_id, fact)
        History.objects.create(
            actor=by, action=f"adopted:{fact}", object_type="person", object_id=str(person_id), from_state=target,
            request_id=request_id.get(),
        )  # fmt: skip
        reach("interventions.adopt.before_commit", [person_id])
    reach("interventions.adopt.after_commit", [person_id])
    handler().wake()
    return person_id, target


def lapse_retries(*, at: dt.datetime) -> int:
    """Give items back to people whose retry brought no verdict in time, MOST_AT_ONCE at most; gives how many."""
    with transaction.atomic():
        late = Intervention.objects.select_for_update(skip_locked=True).filter(state=State.RETRYING, retry_until__lt=at)
        lapsed = list(late.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
        Intervention.objects.filter(pk__in=lapsed).update(state=State.OPEN, retry_until=None, retry_by=None)
        History.objects.bulk_create(line(pk, "retry_lost", SYSTEM, State.RETRYING, State.OPEN) for pk in lapsed)
    return len(lapsed)


def log_manual_intervention_needed(
    *, operation: str, entity_id: object = None, error: object, payload: object = None
) -> bool:
    """
    Put something in front of staff; takes anything, never raises, and gives whether it was noted.

    Noted means: it stands in the log, or where PostgreSQL does not take it, on the disk in the spool, which the sweep
    takes in. Inside a transaction the item shares its fate, guarded by a savepoint; in one that is broken already the
    spool keeps it. What could be somebody's is covered, but names are not known as such: hand over ids, names of facts
    and codes, never values.
    """
    entry = entries.entry(
        operation=operation, entity_id=entity_id, error=error, payload=payload, at=timezone.now()
    )  # fmt: skip
    return _note([entry])


def log_manual_interventions_needed(*, operation: str, failures: Collection[tuple[object, object]]) -> bool:
    """
    Put many failures of one operation in front of staff, pairs of entity id and error; gives whether all were noted.

    What `log_manual_intervention_needed` says holds for each of them; hundreds share a commit, or a file of the spool.
    """
    rest, are_noted, at = iter(failures), True, timezone.now()
    while batch := [
        entries.entry(operation=operation, entity_id=entity_id, error=error, payload=None, at=at)
        for entity_id, error in islice(rest, MOST_TOGETHER)
    ]:
        are_noted = _note(batch) and are_noted
    return are_noted


def _note(batch: Sequence[entries.Entry]) -> bool:
    try:
        with nullcontext() if connection.get_autocommit() else transaction.atomic():
            entries.add(batch)
        return True
    except DatabaseFailure as refused:
        told = {"operation": batch[0].operation, "number": len(batch), "code": batch[0].code}
        logger.error("interventions.log.failed", extra=told | {"refused": cleaning.code(refused)})
    try:
        spool.append([entries.as_record(one) for one in batch])
        return True
    except spool.SpoolRefused:
        for one in batch:
            told = {"operation": one.operation, "entity_id": one.entity_id, "code": one.code}
            logger.critical("interventions.log.lost", extra=told)
        return False


def _people(items: Iterable[Intervention]) -> Iterator[int]:
    return (item.person_id for item in items if item.person_id is not None)


def _entities(items: Iterable[Intervention]) -> list[Entity]:
    return [(i.person_id, i.target) for i in items if i.person_id is not None and i.target and not i.resolved]


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
    History.objects.bulk_create([line(item.pk, action, by, item.state, to)])
    item.state = to
