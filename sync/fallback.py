"""Run something whose failure must not be the user's, and say truthfully what became of it."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from prometheus_client import Counter

from interventions.idempotency import InFlight, KeyTaken
from interventions.operations import log_manual_intervention_needed
from interventions.sqlstates import code_of, name_of
from sync import errands, failing, kept
from sync.backoff import NO_ANSWER, TOO_LATE, FailureClass, classify
from sync.errands import Wish
from sync.kept import Question
from sync.strict import NotDegradable, SecondBest, standing_in

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Names are declared in the code, so there are few.
GIVEN = Counter(
    "keepwell_second_bests", "What people were given, fresh or a second best, by operation.", ["operation", "which"]
)


@dataclass(frozen=True)
class Degraded(Generic[T]):
    """What came of it. `value` is None when it failed; `degraded` says so, `warnings` in words for people."""

    success: bool
    value: T | None
    degraded: bool
    warnings: tuple[str, ...] = ()


def with_graceful_degradation(operation: Callable[[], T], *, name: str, entity_id: str | None = None) -> Degraded[T]:
    """
    Run the operation; when it raises, put the failure in front of staff and answer degraded instead.

    Never raises for the operation's failure, but KeyTaken and InFlight where another request did it. Inside a
    transaction the operation has a savepoint of its own, so that what surrounds it can still be committed. Never for
    what must be exact: raises NotDegradable where nobody declared that the name may be degraded, and where a strict
    operation is called in here, under whatever name.
    """
    try:
        with (
            standing_in(name, SecondBest.DEGRADED),
            transaction.atomic() if connection.in_atomic_block else nullcontext(),
        ):
            return Degraded(success=True, value=operation(), degraded=False)
    except (KeyTaken, InFlight):
        raise  # nothing failed: somebody else did it, or is at it
    except NotDegradable:
        raise
    except Exception as error:  # noqa: BLE001 - isolation point: whatever a second-best operation raises is not the user's
        code = name_of(error)
        logger.warning("sync.degraded", extra={"operation": name, "entity_id": entity_id, "code": code})
    is_noted = log_manual_intervention_needed(operation=name, entity_id=entity_id, error=f"{name}: {code}")
    warning = "This could not be finished right now."
    told = " Our staff have been told." if is_noted else ""
    return Degraded(success=False, value=None, degraded=True, warnings=(warning + told,))


@dataclass(frozen=True)
class Context:
    """What is called, which service it is, and for whom."""

    operation: str
    service: str
    person_id: int | None = None


class ServiceFailed(Exception):
    """A service did not do what was asked. `code` is an HTTP status or one of ours; `failure` says whether to ask again."""

    def __init__(self, code: str, failure: FailureClass, *, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code, self.failure, self.retry_after = code, failure, retry_after


class ServiceRests(ServiceFailed):
    """It was not called: it failed too often lately, and somebody is waiting for the answer."""

    def __init__(self) -> None:
        super().__init__("resting", FailureClass.TRANSIENT)


def execute_service(
    operation: Callable[[], T],
    context: Context,
    *,
    is_awaited: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """
    Call a service once: timed, counted, its failure classified by class and status and never by its words.

    `is_awaited`: a request waits for it, so one that failed three times in five minutes is not called. Raises
    ServiceFailed, ServiceRests, and RuntimeError inside a transaction, which no call of the network may hold open.
    """
    if connection.in_atomic_block:
        raise RuntimeError(f"{context.operation} calls a service inside a transaction.")
    if is_awaited and failing.rests(context.service, person_id=context.person_id, at=timezone.now()):
        failing.count(context.service, "not called", milliseconds=0, at=timezone.now())
        raise ServiceRests
    began = clock()
    try:
        value = operation()
    except (KeyTaken, InFlight, NotDegradable, errands.Pointless):
        raise
    except Exception as error:
        failed = error if isinstance(error, ServiceFailed) else _classified(error)
        _note(context, failed, milliseconds=round((clock() - began) * 1000))
        raise failed from error
    _note(context, None, milliseconds=round((clock() - began) * 1000))
    return value


class Which(StrEnum):
    """What somebody was given."""

    FRESH = "fresh"
    CACHED = "cached"
    QUEUED = "queued"
    DEFAULT = "default"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """
    What came of an operation and its second bests. Only `fresh` is a success: nothing else is to be stored or passed on.

    `age_seconds` is that of a cached value; `errand_id` that of what is queued; `code` says why it is second best.
    """

    which: Which
    value: T | None = None
    age_seconds: float | None = None
    errand_id: int | None = None
    code: str = ""

    @property
    def success(self) -> bool:
        """Whether it was done."""
        return self.which is Which.FRESH

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell whoever asked; nothing of what was done."""
        return () if self.success else (user_message(self),)


@dataclass(frozen=True)
class SecondBests(Generic[T]):
    """What the caller lets stand in, in this order; what is not named does not."""

    cached: Question | None = None
    queued: Wish | None = None
    default: Callable[[], T] | None = None
    may_skip: bool = False

    @property
    def kinds(self) -> tuple[SecondBest, ...]:
        """Which kinds these are."""
        named = (
            (SecondBest.CACHED, self.cached), (SecondBest.QUEUED, self.queued), (SecondBest.DEFAULT, self.default),
            (SecondBest.SKIPPED, self.may_skip),
        )  # fmt: skip
        return tuple(kind for kind, given in named if given)


def run(operation: Callable[[], T], *, name: str, second_bests: SecondBests[T]) -> Outcome[T]:
    """
    Run something, or give the first second best there is: kept, queued, a default, or nothing. Says which it was.

    A fresh answer is kept for later where `cached` is named. What the service refused is not queued: asking again does
    not help. Never raises for the operation's failure; raises NotDegradable where a second best was not declared for the
    name, or where none is named, and where a strict operation is called in here.
    """
    if not second_bests.kinds:
        raise NotDegradable(f"Nothing is named that might stand in for {name}.")
    try:
        with ExitStack() as within:
            for kind in second_bests.kinds:
                within.enter_context(standing_in(name, kind))
            value = operation()
    except (KeyTaken, InFlight, NotDegradable):
        raise
    except Exception as error:  # noqa: BLE001 - isolation point: whatever the operation raises, something stands in for it
        failed = error if isinstance(error, ServiceFailed) else _classified(error)
        outcome = _second_best(second_bests, failed)
        GIVEN.labels(name, outcome.which).inc()
        logger.warning("sync.second_best", extra={"operation": name, "which": outcome.which, "code": failed.code})
        return outcome
    if second_bests.cached is not None:
        _bounded(partial(kept.put, second_bests.cached, value, at=timezone.now()))
    GIVEN.labels(name, Which.FRESH).inc()
    return Outcome(Which.FRESH, value)


def user_message(outcome: Outcome[Any]) -> str:
    """Give the sentence that whoever asked reads: what is so, and what follows."""
    if outcome.which is Which.CACHED:
        return f"The service does not answer right now. This is what it gave {_ago(outcome.age_seconds or 0.0)}."
    return SENTENCES[outcome.which]


SENTENCES = {
    Which.FRESH: "Done.",
    Which.QUEUED: "This is not done yet: it waits, and follows by itself.",
    Which.DEFAULT: "The service does not answer right now. This is general, and was not made for you.",
    Which.SKIPPED: "This part was left out, as its service does not answer right now. Everything else is done.",
    Which.FAILED: "This could not be done right now. Please try again later.",
}


def _second_best(given: SecondBests[T], failed: ServiceFailed) -> Outcome[T]:
    now, code = timezone.now(), failed.code
    if given.cached is not None and (found := _bounded(partial(kept.find, given.cached, at=now))) is not None:
        return Outcome(Which.CACHED, found.value, age_seconds=(now - found.made_at).total_seconds(), code=code)
    if given.queued is not None and failed.failure is not FailureClass.REFUSED:
        errand = _bounded(partial(errands.queue, given.queued, at=now))
        if errand is not None:
            return Outcome(Which.QUEUED, errand_id=errand.pk, code=code)
    if given.default is not None:
        return Outcome(Which.DEFAULT, given.default(), code=code)
    return Outcome(Which.SKIPPED if given.may_skip else Which.FAILED, code=code)


def _classified(error: Exception) -> ServiceFailed:
    code, retry_after = getattr(error, "code", None), getattr(error, "retry_after", None)
    if not isinstance(code, str):
        late, lost = isinstance(error, TimeoutError), isinstance(error, OSError)
        code = code_of(error) or (TOO_LATE if late else NO_ANSWER if lost else type(error).__name__)
    return ServiceFailed(code, classify(code, retry_after=retry_after), retry_after=retry_after)


def _note(context: Context, failed: ServiceFailed | None, *, milliseconds: int) -> None:
    """Put a call on record. What a service refuses is about what it was asked, and does not count against it."""
    now, service = timezone.now(), context.service
    outcome = "answered" if failed is None else str(failed.failure)
    _bounded(lambda: failing.count(service, outcome, milliseconds=milliseconds, at=now))
    if failed is None:
        _bounded(lambda: failing.clear_failures(service))
        return
    logger.warning(
        "sync.service.failed", extra={"operation": context.operation, "service": service, "code": failed.code}
    )
    if failed.failure not in (FailureClass.REFUSED, FailureClass.IDENTITY):
        _bounded(
            lambda: failing.note_failure(
                service, person_id=context.person_id, code=failed.code, at=now, rest_seconds=failed.retry_after
            )
        )


def _bounded(act: Callable[[], T]) -> T | None:
    """Do what is of use and not needed: a database that refuses it takes nothing away from what was done."""
    try:
        return act()
    except DatabaseError as error:
        logger.warning("sync.second_best.unkept", extra={"code": code_of(error)})
        return None


def _ago(seconds: float) -> str:
    age = dt.timedelta(seconds=seconds)
    for name, size in (
        ("day", dt.timedelta(days=1)),
        ("hour", dt.timedelta(hours=1)),
        ("minute", dt.timedelta(minutes=1)),
    ):
        if number := age // size:
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "a moment ago"
