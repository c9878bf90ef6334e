"""What workers, and a request right after its commit, do with what is owed: claim, bring in line, settle."""

import datetime as dt
import logging
import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from interventions import events, idempotency, items
from interventions.failpoints import reach
from interventions.models import Resolution
from interventions.sqlstates import sqlstate
from sync import breaker_state, claims, ledger, outward, parking, reconcile, targets
from sync.accepted import accepted_places
from sync.backoff import QUARANTINED, FailureClass, classify, decide
from sync.breaker_state import Admission
from sync.claims import Claim, Entity, Group
from sync.ledger import Outcome, Row
from sync.mirrors import declaration
from sync.reconcile import BatchTooSlow, Problem
from sync.schedule import limits, urgency

logger = logging.getLogger(__name__)

# A task takes up so many batches and leaves the rest to the next: nothing holds a worker for long.
BATCHES_A_TASK = 200
BATCH_SECONDS = 0.05
# Smaller than this a batch costs more than its work: a machine under load would make it worse by small batches.
BATCH_AT_LEAST = 100


@dataclass
class Report:
    """How many entities were claimed, are in line now, failed, were parked unattempted, or left to who calls services."""

    claimed: int = 0
    settled: int = 0
    failed: int = 0
    parked: int = 0
    outside: int = 0

    def add(self, other: "Report") -> None:
        """Count another batch in."""
        self.claimed += other.claimed
        self.settled += other.settled
        self.failed += other.failed
        self.parked += other.parked
        self.outside += other.outside


def drain(*, batches: int = BATCHES_A_TASK) -> Report:
    """
    Take up what a dead worker left, then debt, then what is due, until nothing is left or `batches` are done of each.

    Each batch is one transaction whose locks are its lease: a worker that dies leaves everything as it was. A batch
    that was slow, or met rows that somebody else holds, is taken up again with fewer people, until those who are in
    the way stand alone; they are passed over, and nobody waits for them. A person over whom several workers died is
    not tried any more, but put in front of staff.
    """
    total, touched = Report(), set[int]()
    breaker_state.pull_forward(timezone.now())
    schema = cache(_schema)
    for _ in range(batches):
        if (group := claims.take_up_abandoned()) is None:
            break
        with suppress(_Contended):
            total.add(_quarantine(group, schema) if group.is_poison else _batch(group, schema, debt=True, due=True))
            touched.update(group.people)
    for is_debt, take_up in ((True, claims.take_up_debt), (False, claims.take_up_due)):
        size, passed_over = settings.SYNC_BATCH_SIZE, set[int]()
        for _ in range(batches):
            started = time.monotonic()
            if (group := take_up(limit=size, passed_over=passed_over)) is None:
                break
            try:
                batch = _batch(group, schema, debt=is_debt, due=not is_debt)
            except _Contended:
                if len(group.people) == 1:
                    passed_over.update(group.people)
                size = max(1, size // 4)
                continue
            total.add(batch)
            (touched if batch.claimed else passed_over).update(group.people)
            # Users' writes wait for a batch's locks: it should be over before anybody notices.
            is_quick = time.monotonic() - started < BATCH_SECONDS
            size = min(settings.SYNC_BATCH_SIZE, size * 2) if is_quick else max(min(size, BATCH_AT_LEAST), size // 2)
    events.announce_people("copies.updated", touched)
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
        done = _deliver(claims.claim_debt(limit=settings.SYNC_BATCH_SIZE, people=[person_id]), _schema)
        reach("sync.fan_out.before_commit", [person_id])
    reach("sync.fan_out.after_commit", [person_id])
    return done.outside > 0 or bool(ledger.debt_codes(person_id))


def bring_in_line(people: Collection[int]) -> Report:
    """
    Owe every target of the people, and bring them in line at once; failures become items.

    The wish is committed before the work: when the work is interrupted, a worker takes it up.
    """
    with transaction.atomic(), idempotency.keyed():
        ledger.owe(people=people, targets=[*declaration().targets, *outward.every(declaration())], reason="asked")
    reach("sync.asked.after_commit", people)
    total = Report()
    for _ in range(BATCHES_A_TASK):
        try:
            with transaction.atomic():
                reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
                batch = _deliver(claims.claim_debt(limit=settings.SYNC_BATCH_SIZE, people=people), _schema)
        except (BatchTooSlow, OperationalError) as error:
            if isinstance(error, OperationalError) and classify(sqlstate(error)) is not FailureClass.TRANSIENT:
                raise
            break  # owed and committed: the workers take it up
        total.add(batch)
        if not batch.claimed:
            break
    events.announce_people("copies.updated", people)
    return total


class _Contended(Exception):
    """A batch was rolled back because of some of its people; which, only smaller batches can tell."""


def _batch(group: Group, schema: Callable[[], str], *, debt: bool, due: bool) -> Report:
    with claims.taken_up(group):
        reach("sync.before_claim", group.people)
        try:
            with transaction.atomic():
                reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
                report = _deliver(_claim(group, debt=debt, due=due), schema)
                claims.lay_down(group)
                reach("sync.batch.before_commit", group.people)
        except BatchTooSlow as error:
            raise _Contended from error
        except OperationalError as error:
            code = sqlstate(error)
            if classify(code) is not FailureClass.TRANSIENT or connection.connection is None:
                raise
            logger.info("sync.drain.contended", extra={"code": code, "size": len(group.people)})
            raise _Contended from error
    reach("sync.batch.after_commit", group.people)
    return report


def _quarantine(group: Group, schema: Callable[[], str]) -> Report:
    """Put a person over whom workers died in front of staff, instead of letting the next worker die."""
    with claims.taken_up(group), transaction.atomic():
        claim = _claim(group, debt=True, due=True)
        _record(claim, dict.fromkeys(claim.entities, Problem(QUARANTINED)), timezone.now(), 0, schema)
        ledger.count_crashes(group.people[0], group.deaths)
        claims.lay_down(group)
        reach("sync.quarantine.before_commit", group.people)
    return Report(len(claim.entities), 0, len(claim.entities))


def _claim(group: Group, *, debt: bool, due: bool) -> Claim:
    claim = Claim()
    if due:
        claim = claims.claim_due(limit=settings.SYNC_BATCH_SIZE, people=group.people)
    if debt:
        owed = claims.claim_debt(limit=settings.SYNC_BATCH_SIZE * 4, people=group.people)
        claim = Claim(claim.entities | owed.entities, claim.linkable | owed.linkable)
    return claim


def _deliver(claim: Claim, schema: Callable[[], str]) -> Report:
    """Bring in line what may be attempted now, and park the rest."""
    if not claim.entities:
        return Report()
    reach("sync.after_claim", (person_id for person_id, _ in claim.entities))
    services = targets.services_among({target for _, target in claim.entities})
    if outside := {e: since for e, since in claim.entities.items() if e[1] in services}:
        ledger.fold_services(outside)
        claim = Claim({e: since for e, since in claim.entities.items() if e not in outside}, claim.linkable)
    given = breaker_state.admission(claim.people, timezone.now())
    parked = {} if given.is_free else {e: since for e, since in claim.entities.items() if not given.admits(e)}
    if parked:
        parking.park(parked, given.at)
        claim = Claim({e: since for e, since in claim.entities.items() if e not in parked}, claim.linkable)
    tried = _attempt(claim, given, schema) if claim.entities else Report()
    return Report(tried.claimed + len(parked) + len(outside), tried.settled, tried.failed, len(parked), len(outside))


def _attempt(claim: Claim, given: Admission, schema: Callable[[], str]) -> Report:
    started, at = time.monotonic(), given.at
    known = ledger.rows(claim.entities)
    spared = accepted_places([entity for entity, row in known.items() if row.is_excluded])
    result = reconcile.bring(claim.entities, linkable=claim.linkable, spared=spared)
    duration_ms = round((time.monotonic() - started) * 1000)
    failed = {e: p for e, p in result.problems.items() if p is not None and e[0] not in result.gone}
    problems = {entity: (problem.code, problem.error_object) for entity, problem in failed.items()}
    stood_for = breaker_state.record([e for e in claim.entities if e[0] not in result.gone], problems, given)
    _record(claim, failed, at, duration_ms, schema, known, stood_for)
    in_line = [e for e in claim.entities if e not in failed and e[0] not in result.gone and e not in spared]
    # Who never failed has no row, and needs none: settling is for those whom the ledger knows.
    settled = {e: claim.entities[e] is not None for e in in_line if e in known}
    reach("sync.before_settle", (person_id for person_id, _ in claim.entities))
    mended = ledger.settle(entities=settled, duration_ms=duration_ms)
    # An item may be open of whom the ledger does not know: a failure that waited in the spool came too late for it.
    items.settle_items(entities={e: mended.get(e) for e in in_line}, resolution=Resolution.AUTO, at=at)
    if result.gone:
        ledger.forget_people(result.gone)
        gone = [e for e in claim.entities if e[0] in result.gone]
        items.settle_items(entities=dict.fromkeys(gone), resolution=Resolution.SUPERSEDED, at=at)
    reach("sync.after_settle", (person_id for person_id, _ in claim.entities))
    return Report(len(claim.entities), len(claim.entities) - len(failed), len(failed))


def _record(
    claim: Claim,
    failed: dict[Entity, Problem],
    at: dt.datetime,
    duration_ms: int,
    schema: Callable[[], str],
    known: dict[Entity, Row] | None = None,
    stood_for: Collection[Entity] = (),
) -> None:
    """
    Write failures down, and put in front of people what will not mend itself soon.

    `stood_for`: failures for which the item of their target stands.
    """
    if not failed:
        return
    before = ledger.rows(failed) if known is None else known
    outcomes, failures = [], []
    for entity, problem in sorted(failed.items()):
        outcome, opens_item = _decide(entity, problem, before.get(entity), claim.entities[entity], at)
        outcomes.append(outcome)
        if opens_item and entity not in stood_for:
            failures.append(
                items.Failure(
                    person_id=entity[0], target=entity[1], code=problem.code,
                    failure_class=classify(problem.code), detail=problem.error_object, attempts=outcome.attempts,
                )
            )  # fmt: skip
    ledger.record_failures(outcomes=outcomes, schema=schema(), duration_ms=duration_ms)
    items.open_items(failures=failures, at=at)


def _schema() -> str:
    return ledger.schema_of(tables())


def _decide(
    entity: Entity, problem: Problem, before: Row | None, debt_since: dt.datetime | None, at: dt.datetime
) -> tuple[Outcome, bool]:
    # What was settled began anew. An edit is tried at once, and is no reason to wait longer afterwards.
    attempts = before.attempts + (debt_since is None) if before and before.attempts else 1
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
