"""
Which operations must be exact: each completes or is refused, and nothing second best ever stands in for one.

What may have a second best says so here as well, so that whoever declares both is told at the start.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from sync.again import retry_with_backoff

P = ParamSpec("P")
T = TypeVar("T")


class SecondBest(StrEnum):
    """What may stand in for an operation that fails, or cannot be tried now."""

    DEGRADED = "degraded"
    CACHED = "cached"
    QUEUED = "queued"
    DEFAULT = "answered by a default"
    SKIPPED = "skipped"
    REPLAYED = "replayed offline"


class NotDegradable(Exception):
    """A strict operation was about to run where its failure would be passed over. It was not run."""


_reasons: dict[str, str] = {}
_allowed: dict[str, frozenset[SecondBest]] = {}
# Within which second best the code runs; empty: within none.
_within: ContextVar[str] = ContextVar("within", default="")


class Strict:
    """A strict operation, known by its name from the moment that this is made."""

    def __init__(self, name: str, *, because: str) -> None:
        """Raises ImproperlyConfigured where something may stand in for an operation of this name."""
        _refuse_both(name, _allowed.get(name, frozenset()), is_strict=True)
        _reasons[name] = because
        self.name = name

    def exact(self, act: Callable[P, T]) -> Callable[P, T]:
        """
        Let a function be a part of this operation, which is one whole transaction of its own.

        Where PostgreSQL undoes it because of somebody else's transaction it is run anew, a few times. Inside a
        transaction it is run once: whoever began that retries. Raises NotDegradable where a failure would be passed over.
        """

        @wraps(act)
        def exactly(*args: P.args, **kwargs: P.kwargs) -> T:
            if _within.get():
                raise NotDegradable(f"{self.name} is strict, and was called within {_within.get()}.")
            return transactional(lambda: act(*args, **kwargs))

        return exactly


def transactional(act: Callable[[], T]) -> T:
    """Run one whole transaction, anew where PostgreSQL asks for that; inside a transaction, once."""
    return act() if connection.in_atomic_block else retry_with_backoff(act)


def allow(name: str, *kinds: SecondBest) -> None:
    """
    Declare what may stand in for an operation; called where modules are loaded, so that it is known at the start.

    Raises ImproperlyConfigured for a strict one.
    """
    _refuse_both(name, frozenset(kinds), is_strict=name in _reasons)
    _allowed[name] = _allowed.get(name, frozenset()) | frozenset(kinds)


def may(name: str, kind: SecondBest) -> bool:
    """Tell whether this may stand in for an operation; of what nobody declared nothing may."""
    return kind in _allowed.get(name, frozenset())


def reasons() -> dict[str, str]:
    """Give the strict operations, each with why."""
    return dict(sorted(_reasons.items()))


@contextmanager
def standing_in(name: str, kind: SecondBest) -> Iterator[None]:
    """Let something second best stand in for what runs in here. Raises NotDegradable where it may not."""
    if not may(name, kind):
        raise NotDegradable(f"Nobody declared that {name} may be {kind}: sync.strict.allow().")
    token = _within.set(name)
    try:
        yield
    finally:
        _within.reset(token)


def _refuse_both(name: str, kinds: frozenset[SecondBest], *, is_strict: bool) -> None:
    if is_strict and kinds:
        words = " or ".join(sorted(kinds))
        raise ImproperlyConfigured(f"The operation {name} is strict: it must not be declared {words}.")
