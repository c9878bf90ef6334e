"""Try a whole piece of work again where that is sure to do no harm: by class, bounded in tries and time, with jitter."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.db import DatabaseError

from interventions.sqlstates import code_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Two got into each other's way, and PostgreSQL has undone one of them whole. A broken connection is none of these: it
# leaves open whether the COMMIT happened.
CONFLICTS = frozenset({"40001", "40P01"})


@dataclass(frozen=True)
class Tries:
    """How often, and for how long: no try begins later than `seconds` after the first."""

    most: int = 4
    seconds: float = 2.0
    base_seconds: float = 0.02
    cap_seconds: float = 0.25


def is_conflict(error: BaseException) -> bool:
    """Tell whether PostgreSQL has undone the transaction because of somebody else's, and asks to try it again."""
    return code_of(error) in CONFLICTS


def retry_with_backoff(
    act: Callable[[], T],
    *,
    tries: Tries | None = None,
    is_worth_it: Callable[[BaseException], bool] = is_conflict,
    uniform: Callable[[float, float], float] = random.uniform,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """
    Run something that is whole in itself, such as one transaction; where it fails in a way that is worth it, run it anew.

    Waits between tries are full jitter. Raises what the last try raised. Never for what is owed: that is the ledger's,
    and two layers that retry multiply.
    """
    bounds = tries or Tries()
    end = clock() + bounds.seconds
    for number in range(1, bounds.most + 1):
        try:
            return act()
        except DatabaseError as error:
            wait = uniform(0.0, min(bounds.cap_seconds, bounds.base_seconds * 2.0 ** (number - 1)))
            if number == bounds.most or not is_worth_it(error) or clock() + wait > end:
                raise
            logger.info("sync.again", extra={"code": code_of(error), "tries": number})
            sleep(wait)
    raise AssertionError("At least one try is made.")
