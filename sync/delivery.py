"""What workers, and a request right after its commit, do with what is owed: claim, bring in line, settle."""

import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.conf import settings
from django.db import OperationalError, transaction
from django.utils import timezone

from interventions import items
from interventions.models import Resolution
from sync import drift, ledger, reconcile
from sync.backoff import FailureClass, Limits, Urgency, classify, decide
from sync.ledger import Claim, Entity, Outcome, Row
from sync.mirrors import declaration
from sync.reconcile import BatchTooSlow, Problem

logger = logging.getLogger(__name__)

# A task takes up so many batches and leaves the rest to the next: nothing holds a worker for long.
BATCHES_A_TASK = 200
BATCH_SECONDS = 0.05


@dataclass
class Report:
    """How many entities were claimed, are in line now, and failed."""

    claimed: int = 0
    settled: int = 0
    failed: int = 0

    def add(self, other: "Report") -> None:
        """Count another batch in."""
        self.claimed += other.claimed
        self.settled += other.settled
        self.failed += other.failed


def drain(*, batches: int = BATCHES_A_TASK) -> Report:
    """
    Take up debt, then what the ledger says is due, batch by batch, until nothing is left or `batches` are done.

    Each batch is one transaction whose locks are its lease: a worker that dies leaves everything as it was. A batch
    that was slow, or met rows that somebody else holds, is taken up again with fewer people, until those who are in
    the way stand alone; they are passed over, and nobody waits for them.
    """
    total = Report()
    for claim in (_claim_debt, ledger.claim_due):
        size, passed_over = settings.SYNC_BATCH_SIZE, set[int]()
        for _ in range(batches):
            started = time.monotonic()
            try:
                batch = _batch(claim, size, passed_over)
            except _Contended as contended:
                if size == 1:
                    passed_over.update(contended.people)
                size = max(1, size // 4)
                continue
            total.add(batch)
            if not batch.claimed:
                break
            # Users' writes wait for a batch's locks: it should be over before anybody notices.
            is_quick = time.monotonic() - started < BATCH_SECONDS
            size = min(settings.SYNC_BATCH_SIZE, size * 2) if is_quick else max(1, size // 2)
    return total


def fan_out(person_id: int, *, budget_ms: int) -> bool:
    """
    Bring one person's owed copies in line right after a commit, never waiting for a lock.

    Gives whether debt is left that a worker should take up soon; what failed waits for its next attempt instead. What
    was locked a moment ago is left to the workers: trying again at once would cost the request and gain nothing.

    Raises DatabaseError when the database does not answer within the budget; what is owed then stays owed.
    """
    codes = ledger.debt_codes(person_id)
    if codes <= {reconcile.LOCKED}:
        return bool(codes)
    with transaction.atomic():
        reconcile.set_bounds(budget_ms, lock_timeout_ms=max(1, budget_ms // 4))
        _deliver(ledger.claim_debt(limit=settings.SYNC_BATCH_SIZE, people=[person_id]))
    return bool(ledger.debt_codes(person_id))


def bring_in_line(people: Collection[int]) -> Report:
    """
    Owe every target of the people, and bring them in line at once; failures become items.

    The wish is committed before the work: when the work is interrupted, a worker takes it up.
    """
    ledger.owe(people=people, targets=declaration().targets, reason="asked")
    total = Report()
    for _ in range(BATCHES_A_TASK):
        try:
            with transaction.atomic():
                reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
                batch = _deliver(ledger.claim_debt(limit=settings.SYNC_BATCH_SIZE, people=people))
        except (BatchTooSlow, OperationalError) as error:
            if (
                isinstance(error, OperationalError)
                and classify(reconcile.sqlstate(error)) is not FailureClass.TRANSIENT
            ):
                raise
            break  # owed and committed: the workers take it up
        total.add(batch)
        if not batch.claimed:
            break
    return total


def _claim_debt(*, limit: int, passed_over: Collection[int]) -> Claim:
    return ledger.claim_debt(limit=limit, passed_over=passed_over)


class _Contended(Exception):
    """A batch was rolled back because of some of its people; which, only smaller batches can tell."""

    def __init__(self, people: list[int]) -> None:
        self.people = people


def _batch(claim: Callable[..., Claim], size: int, passed_over: set[int]) -> Report:
    claimed = Claim()
    try:
        with transaction.atomic():
            reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
            claimed = claim(limit=size, passed_over=passed_over)
            return _deliver(claimed)
    except BatchTooSlow as error:
        raise _Contended(claimed.people) from error
    except OperationalError as error:
        code = reconcile.sqlstate(error)
        if not claimed.entities or classify(code) is not FailureClass.TRANSIENT:
            raise
        logger.info("sync.drain.contended", extra={"code": code, "size": size})
        raise _Contended(claimed.people) from error


def _deliver(claim: Claim) -> Report:
    if not claim.entities:
        return Report()
    started, at = time.monotonic(), timezone.now()
    claimed = len(claim.entities)
    for entity in _still_accepted(claim):
        del claim.entities[entity]
    result = reconcile.bring(claim.entities)
    duration_ms = round((time.monotonic() - started) * 1000)
    gone = [e for e in claim.entities if e[0] in result.gone]
    failed = {e: p for e, p in result.problems.items() if p is not None and e[0] not in result.gone}
    settled = {
        e: since is not None for e, since in claim.entities.items() if e not in failed and e[0] not in result.gone
    }
    _record(claim, failed, at, duration_ms)
    mended = ledger.settle(entities=settled, duration_ms=duration_ms)
    items.settle_items(entities={e: mended.get(e) for e in settled}, resolution=Resolution.AUTO, at=at)
    if gone:
        ledger.forget_people(result.gone)
        items.settle_items(entities=dict.fromkeys(gone), resolution=Resolution.SUPERSEDED, at=at)
    ledger.forget_debt(claim)
    return Report(claimed, claimed - len(failed), len(failed))


def _still_accepted(claim: Claim) -> list[Entity]:
    """Find entities whose difference a person accepted and neither side of which has changed since."""
    excluded = ledger.excluded(claim.entities)
    if not excluded:
        return []
    now, pinned = drift.compare(excluded), items.accepted_digests(excluded)
    return [entity for entity in excluded if now[entity].digest == pinned.get(entity)]


def _record(claim: Claim, failed: dict[Entity, Problem], at: dt.datetime, duration_ms: int) -> None:
    """Write failures down, and put in front of people what will not mend itself soon."""
    if not failed:
        return
    before = ledger.rows(failed)
    outcomes, failures = [], []
    for entity, problem in sorted(failed.items()):
        outcome, opens_item = _decide(entity, problem, before.get(entity), claim.entities[entity], at)
        outcomes.append(outcome)
        if opens_item:
            failures.append(
                items.Failure(
                    person_id=entity[0], target=entity[1], code=problem.code,
                    failure_class=classify(problem.code), detail=problem.error_object, attempts=outcome.attempts,
                )
            )  # fmt: skip
    schema = ledger.schema_of(tables())
    ledger.record_failures(outcomes=outcomes, schema=schema, duration_ms=duration_ms)
    items.open_items(failures=failures, at=at)


def _decide(
    entity: Entity, problem: Problem, before: Row | None, debt_since: dt.datetime | None, at: dt.datetime
) -> tuple[Outcome, bool]:
    # Every try counts, whether the clock or a new edit caused it; what was settled began anew.
    attempts = (before.attempts if before else 0) + 1
    known = [since for since in (before.owed_since if before else None, debt_since) if since]
    owed_since = min(known, default=at)
    verdict = decide(
        code=problem.code,
        attempts=attempts,
        owed_seconds=(at - owed_since).total_seconds(),
        urgency=urgency(entity[1]),
        limits=limits(),
        uniform=random.uniform,
    )
    outcome = Outcome(
        entity=entity,
        code=problem.code,
        error_object=problem.error_object,
        next_attempt_at=None if verdict.delay_seconds is None else at + dt.timedelta(seconds=verdict.delay_seconds),
        attempts=attempts,
        owed_since=owed_since,
        is_folded=debt_since is not None,
    )
    return outcome, verdict.opens_item


def tables() -> list[str]:
    """List the declared tables that exist: one that was renamed away has no shape, and that is a shape too."""
    return [table.name for table in declaration().tables]


def urgency(target: str) -> Urgency:
    """A target is as urgent as its most urgent fact."""
    facts = {pair.mirror.urgency for pair in declaration().pairs() if pair.copy.table == target}
    return Urgency.URGENT if Urgency.URGENT in facts else Urgency.NORMAL


def limits() -> Limits:
    """Give the bounds of the schedule from the settings."""
    return Limits(
        base_seconds=settings.SYNC_BACKOFF_BASE_SECONDS,
        cap_seconds=settings.SYNC_BACKOFF_CAP_SECONDS,
        urgent_cap_seconds=settings.SYNC_BACKOFF_URGENT_CAP_SECONDS,
        item_after_attempts=settings.SYNC_ITEM_AFTER_ATTEMPTS,
        item_after_seconds=settings.SYNC_ITEM_AFTER_SECONDS,
    )
