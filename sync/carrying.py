"""Errands are carried out by workers: one after the other, each call outside every transaction, none forgotten."""

import datetime as dt
import logging
import random
import time
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.utils import timezone

from interventions.failpoints import reach
from interventions.operations import log_manual_intervention_needed
from sync import errands, failing, kept, schedule
from sync.backoff import FailureClass, Urgency, decide
from sync.errands import Kind, Pointless
from sync.fallback import Context, ServiceFailed, execute_service
from sync.models import Errand, ErrandState

logger = logging.getLogger(__name__)

# So long one turn takes at most; the next one follows with the sweep.
TURN_SECONDS = 20.0
# Whoever took its worker down so often does not get another one.
MOST_TRIES = 30
RECORD_KEPT = dt.timedelta(days=7)
UNKNOWN, POINTLESS, LATE, EXHAUSTED = "unknown", "pointless", "too late", "exhausted"


def carry_all(
    *,
    seconds: float = TURN_SECONDS,
    uniform: Callable[[float, float], float] = random.uniform,
    clock: Callable[[], float] = time.monotonic,
) -> Counter[str]:
    """
    Carry out what waits, by rank, for so long at most; gives how many errands ended in which state.

    A kind whose service does not answer waits for the next turn, so that the others need not wait for its timeouts.
    """
    told: Counter[str] = Counter()
    left_alone: set[str] = set()
    end = clock() + seconds
    while clock() < end:
        errand = errands.claim(but=left_alone, seconds=settings.SYNC_CALL_LEASE_SECONDS)
        if errand is None:
            break
        reach("sync.errand.after_claim", _people(errand))
        state = _carry(errand, uniform)
        told[state] += 1
        if state == ErrandState.WAITING:
            left_alone.add(errand.kind)
    return told


def prune(*, at: dt.datetime) -> None:
    """Forget what is over: errands after a week, answers that are too old to be shown, numbers of long ago."""
    errands.clear_finished(before=at - RECORD_KEPT)
    kept.prune(at=at)
    failing.prune(at=at)


def _carry(errand: Errand, uniform: Callable[[float, float], float]) -> ErrandState:
    """Carry one out and say what became of it."""
    now, kind = timezone.now(), errands.kinds().get(errand.kind)
    if kind is None:
        return _given_up(errand, ErrandState.REFUSED, UNKNOWN)
    if errand.until <= now:
        return _given_up(errand, ErrandState.EXPIRED, LATE)
    if errand.attempts > MOST_TRIES:
        return _given_up(errand, ErrandState.REFUSED, EXHAUSTED)
    try:
        reach("sync.errand.before_call", _people(errand))
        execute_service(lambda: kind.carry(errand), _context(kind, errand), is_awaited=False)
        reach("sync.errand.before_settle", _people(errand))
    except Pointless:
        errands.finish(errand, ErrandState.DONE, code=POINTLESS, at=timezone.now())
        return ErrandState.DONE
    except ServiceFailed as failed:
        return _failed(errand, failed, uniform)
    errands.finish(errand, ErrandState.DONE, at=timezone.now())
    return ErrandState.DONE


def _failed(errand: Errand, failed: ServiceFailed, uniform: Callable[[float, float], float]) -> ErrandState:
    now = timezone.now()
    verdict = decide(
        code=failed.code, attempts=errand.attempts, owed_seconds=(now - errand.made_at).total_seconds(),
        urgency=Urgency.URGENT, limits=schedule.limits(), uniform=uniform, retry_after=failed.retry_after,
    )  # fmt: skip
    # What is set up wrongly is put right by people, and waits for that as long as it is worth anything.
    is_later = verdict.delay_seconds is not None or failed.failure is FailureClass.MISCONFIGURED
    if not is_later:
        return _given_up(errand, ErrandState.REFUSED, failed.code)
    wait = schedule.limits().urgent_cap_seconds if verdict.delay_seconds is None else verdict.delay_seconds
    then = now + dt.timedelta(seconds=wait)
    errands.put_off(errand, code=failed.code, counts=verdict.counts, next_attempt_at=then)
    return ErrandState.WAITING


def _given_up(errand: Errand, state: ErrandState, code: str) -> ErrandState:
    """End an errand that did not take effect, in front of staff: it never counts as done."""
    if errands.finish(errand, state, code=code, at=timezone.now()):
        log_manual_intervention_needed(
            operation=f"errand {errand.kind}", entity_id=errand.person_id, error=f"{state}: {code}",
            payload={"errand": errand.pk},
        )  # fmt: skip
    return state


def _context(kind: Kind, errand: Errand) -> Context:
    return Context(operation=f"errand {kind.name}", service=kind.service, person_id=errand.person_id)


def _people(errand: Errand) -> list[int]:
    return [] if errand.person_id is None else [errand.person_id]
