"""
Calls to outside services: a lease, a commit, a fresh read, the call, and what came of it, in this order.

No transaction is open while a service is asked. Whoever dies leaves a lease that ends; whoever comes back late is
refused by its fence. A service that honours keys takes effect once for each (person, target, revision).
"""

import datetime as dt
import logging
import os
import random
import socket
import threading
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from interventions import events, items
from interventions.failpoints import reach
from interventions.models import Resolution
from sync import breaker, breaker_state, facts, leases, ledger, parking, pauses, targets
from sync.backoff import QUARANTINED, FailureClass, classify, decide
from sync.breaker import Call, State, Word
from sync.doorbell import Doorbell
from sync.integrations import KINDS
from sync.integrations.base import WITHDRAWN, Answer, CallFailed, Lane, Message
from sync.leases import Lease
from sync.mirrors import Service, declaration
from sync.models import Attempt
from sync.schedule import limits

logger = logging.getLogger(__name__)

# Rings for whoever calls; it is connected by the tasks.
bell = Doorbell()
# So many rows are leased at a time, and so long a lane is at it before others have their turn.
LEASED, TURN_SECONDS = 5, 10.0
# With a machine and a target: who gives a service its turn holds this advisory lock.
_LANES = 7_302_612
# Whether a deletion was meant is looked at again after so long.
UNSETTLED_SECONDS = 60


@dataclass
class Report:
    """How many calls were answered, failed, and were not needed."""

    told: int = 0
    failed: int = 0
    unneeded: int = 0


@dataclass(frozen=True)
class _Turn:
    """One lane's turn: the service as declared and as configured."""

    service: Service
    lane: Lane
    report: Report


def call_all(*, seconds: float = TURN_SECONDS) -> bool:
    """
    Give each configured service its turn, each in a thread and on a connection of its own, and wait for all of them.

    One that hangs holds up itself alone, and one process of this machine at most: whoever comes meanwhile leaves it out.
    Gives False where every one that something is due of has its turn elsewhere: whoever gives it looks again.
    """
    had: list[str] = []
    breaker_state.pull_forward(timezone.now())
    turns = [
        threading.Thread(target=_apart, args=(target, seconds, had), name=f"lane-{target}", daemon=True)
        for target in targets.services()
        if leases.is_due(target)
    ]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    return bool(had) or not turns


def call(target: str, *, seconds: float = TURN_SECONDS) -> Report:
    """Tell one service what it is owed, for so long at most, until nothing is due or it should be left alone."""
    report, deadline = Report(), time.monotonic() + seconds
    turn = _turn(target, report)
    while turn is not None and time.monotonic() < deadline:
        taken = _take(target)
        while taken and _attempt(turn, taken.pop(0)) and time.monotonic() < deadline:
            pass
        if taken:
            with transaction.atomic():
                for lease in taken:
                    leases.hand_back(lease)
            break
        if not leases.is_due(target):
            break
    return report


def _apart(target: str, seconds: float, had: list[str]) -> None:
    try:
        with connection.cursor() as cursor:
            # Of the session, which ends with this thread or with whoever dies.
            cursor.execute(
                "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LANES, f"{socket.gethostname()} {target}"]
            )
            if not cursor.fetchone()[0]:
                return
        had.append(target)
        call(target, seconds=seconds)
    except DatabaseError as error:
        logger.warning("sync.call.undone", extra={"target": target, "reason": type(error).__name__})
    finally:
        connection.close()


def _turn(target: str, report: Report) -> _Turn | None:
    """Find how a target is declared and configured; None: it is configured nowhere here."""
    kind = targets.services().get(target)
    if kind is None or kind not in KINDS:
        return None
    lane = next((lane for lane in KINDS[kind].lanes() if lane.target == target), None)
    return _Turn(declaration().service(kind), lane, report) if lane else None


def _take(target: str) -> list[Lease]:
    """Lease what may be attempted now, and park the rest."""
    at = timezone.now()
    reach("sync.call.before_claim")
    with transaction.atomic():
        _quarantine(target, at)
        state, paused = breaker_state.states().get(target, State()), pauses.among(())
        is_off = pauses.SYNC in paused.operations or target in paused.targets
        if is_off or breaker.is_shut(state, at):
            probe = state.probe if state.word is Word.OPEN and not is_off else None
            parking.park_target(target, at, but=probe)
            people = [] if probe is None else [probe]
        else:
            people = None
        owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
        taken = leases.take(
            target=target, owner=owner, limit=LEASED, seconds=settings.SYNC_CALL_LEASE_SECONDS, people=people
        )
    reach("sync.call.after_claim", [lease.person_id for lease in taken])
    return taken


def _attempt(turn: _Turn, lease: Lease) -> bool:
    """Tell one person's facts; gives whether the lane may go on."""
    service, kind = turn.service, KINDS[turn.service.kind]
    known = facts.read(lease.person_id, service)
    if known.is_unsettled and lease.told not in (None, WITHDRAWN):
        leases.put_off(lease, seconds=UNSETTLED_SECONDS)
        return True
    word = kind.word(known.values) if known.is_known else WITHDRAWN
    is_new = word != lease.told if service.is_notice or word == WITHDRAWN else True
    is_needed = is_new and (kind.tells(word) if known.is_known else lease.told is not None and service.only is not None)
    if not is_needed:
        turn.report.unneeded += 1
        return _settled(turn, lease, word if lease.told or known.is_known else None, None, 0)
    # It may have heard it from here on, whatever becomes of us; whether it heard of a withdrawal is known afterwards.
    if not service.is_notice and word != WITHDRAWN and lease.told != word and not leases.tell(lease, word):
        return True
    message = Message(lease.person_id, lease.target, lease.revision, word, known.values)
    began = time.monotonic()
    reach("sync.call.before_call", [lease.person_id])
    try:
        answer = kind.call(turn.lane, message)
    except CallFailed as failure:
        return _failed(turn, lease, failure, _milliseconds(began))
    reach("sync.call.after_call", [lease.person_id])
    turn.report.told += 1
    return _settled(turn, lease, word, answer, _milliseconds(began))


def _settled(turn: _Turn, lease: Lease, word: str | None, answer: Answer | None, duration_ms: int) -> bool:
    at, entity = timezone.now(), (lease.person_id, lease.target)
    with transaction.atomic():
        reach("sync.call.before_settle", [lease.person_id])
        is_verified = answer is None or answer.is_verified
        if leases.settle(lease, is_verified=is_verified, told=word):
            attempt = None if answer is None else _write_down(lease, "settled", duration_ms, counts=dict(answer.counts))
            if answer is not None:
                breaker_state.note(lease.target, Call(answered=frozenset({lease.person_id})), at)
            items.settle_items(entities={entity: attempt}, resolution=Resolution.AUTO, at=at)
    reach("sync.call.after_settle", [lease.person_id])
    events.announce_people("copies.updated", [lease.person_id])
    return True


def _failed(turn: _Turn, lease: Lease, failure: CallFailed, duration_ms: int) -> bool:
    at, turn.report.failed = timezone.now(), turn.report.failed + 1
    kind = classify(failure.code, retry_after=failure.retry_after)
    owed_seconds = (at - lease.owed_since).total_seconds()
    verdict = decide(
        code=failure.code, attempts=lease.attempts + 1, owed_seconds=owed_seconds, urgency=turn.service.urgency,
        limits=limits(), uniform=random.uniform, retry_after=failure.retry_after,
    )  # fmt: skip
    attempts = lease.attempts + verdict.counts
    next_at = None if verdict.delay_seconds is None else at + dt.timedelta(seconds=verdict.delay_seconds)
    with transaction.atomic():
        reach("sync.call.before_fail", [lease.person_id])
        if not leases.fail(
            lease, code=failure.code, detail=failure.detail, next_attempt_at=next_at, attempts=attempts,
            shape=turn.lane.digest,
        ):  # fmt: skip
            return True
        _write_down(lease, failure.code, duration_ms, detail=failure.detail, number=attempts)
        state = breaker_state.note(lease.target, _says(lease, failure, kind), at)
        if verdict.opens_item and state.word is not Word.OPEN:
            _open_item(lease.person_id, lease.target, failure.code, failure.detail, attempts, kind, at)
    reach("sync.call.after_fail", [lease.person_id])
    events.announce_people("copies.updated", [lease.person_id])
    logger.info("sync.call.failed", extra={"target": lease.target, "code": failure.code, "person_id": lease.person_id})
    return not breaker.is_shut(state, at)


def _says(lease: Lease, failure: CallFailed, kind: FailureClass) -> Call:
    """Say what it tells of the service: one that refuses a person's facts, or asks for patience, works."""
    one = frozenset({lease.person_id})
    is_probe = breaker_state.states().get(lease.target, State()).word is Word.OPEN
    if kind is FailureClass.THROTTLED and not is_probe:
        return Call(answered=one, retry_after=failure.retry_after)
    speaks = kind is FailureClass.THROTTLED or breaker.speaks(kind, is_about_target=True)
    if not speaks:
        return Call(answered=one)
    return Call(failed=one, retry_after=failure.retry_after, code=failure.code, error_object=failure.detail)


def _quarantine(target: str, at: dt.datetime) -> None:
    """Put in front of staff over whom several workers died, and let no further one die."""
    for person_id, attempts in leases.block_poisoned(target, code=QUARANTINED):
        _open_item(person_id, target, QUARANTINED, "", attempts, classify(QUARANTINED), at)


def _open_item(
    person_id: int, target: str, code: str, detail: str, attempts: int, kind: FailureClass, at: dt.datetime
) -> None:
    failure = items.Failure(
        person_id=person_id, target=target, code=code, failure_class=kind, detail=detail, attempts=attempts
    )
    items.open_items(failures=[failure], at=at)


def _write_down(
    lease: Lease, outcome: str, duration_ms: int, *, detail: str = "", number: int | None = None,
    counts: dict[str, int] | None = None,
) -> int:  # fmt: skip
    made = Attempt.objects.create(
        person_id=lease.person_id, target=lease.target, outcome=outcome, error_object=detail or None,
        attempt=lease.attempts + 1 if number is None else number, duration_ms=duration_ms, answer=counts,
    )  # fmt: skip
    return int(made.pk)


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def wake(*, is_sweep: bool = False) -> None:
    """
    Ring for callers where something is owed to a configured service now.

    A sweep rings for what is parked too: it might be pulled forward. Who just called must not, or would be called
    again and again for as long as a service is left alone.
    """
    known = targets.services()
    if any(leases.is_due(target) for target in known) or (is_sweep and ledger.is_parked(known)):
        bell.ring()
