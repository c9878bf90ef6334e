"""Run something whose failure must not be the user's, and say truthfully what became of it."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection, transaction

from interventions.idempotency import InFlight, KeyTaken
from interventions.operations import log_manual_intervention_needed
from sync.strict import NotDegradable, SecondBest, standing_in

logger = logging.getLogger(__name__)

T = TypeVar("T")


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
        # A name and a code only: messages quote values.
        code = str(getattr(error.__cause__, "sqlstate", None) or type(error).__name__)
        logger.warning("sync.degraded", extra={"operation": name, "entity_id": entity_id, "code": code})
    is_noted = log_manual_intervention_needed(operation=name, entity_id=entity_id, error=f"{name}: {code}")
    warning = "This could not be finished right now."
    told = " Our staff have been told." if is_noted else ""
    return Degraded(success=False, value=None, degraded=True, warnings=(warning + told,))
