"""How long a person waits for what somebody else holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.db import connection, transaction

from interventions.idempotency import keyed
from interventions.sqlstates import code_of

WAIT_MS = 3_000
# An answer waits no longer than this for a place that somebody has locked, and for what is read there.
LOOK_LOCK_MS, LOOK_MS = 20, 300
# Somebody holds the row or the table, or two held what the other wanted; PostgreSQL has undone everything.
HELD = ("55P03", "40P01")


@contextmanager
def bounded() -> Iterator[None]:
    """
    Decide in one transaction that waits no longer than WAIT_MS for anybody's lock.

    Raises OperationalError then, with nothing changed: an open session must not hold the web's threads. It begins with
    the key of the request at hand, and raises what `keyed` does.
    """
    with transaction.atomic(), keyed(first=f"SET LOCAL lock_timeout = {WAIT_MS}"):
        yield


@contextmanager
def looking(*, statement_ms: int | None = LOOK_MS) -> Iterator[None]:
    """
    Bound what each read in the block may wait for; None: for locks alone. Raises DatabaseError or InterfaceError.

    The bounds go along with each statement, at no round trip of their own. What fails inside a transaction harms nothing
    that was done there before.
    """
    bounds = f"SET LOCAL lock_timeout = {LOOK_LOCK_MS}; "
    bounds += f"SET LOCAL statement_timeout = {statement_ms}; " if statement_ms else ""

    def bounded(execute: Callable[..., Any], sql: str, words: Any, many: bool, context: dict[str, Any]) -> Any:
        given = execute(bounds + sql, words, many, context)
        for _ in range(bounds.count(";")):
            context["cursor"].nextset()
        return given

    # Together with a statement sent alone they hold for it alone.
    harmless = transaction.atomic() if connection.in_atomic_block else nullcontext()
    with harmless, connection.execute_wrapper(bounded):
        yield


def is_held(error: BaseException) -> bool:
    """Tell whether somebody held what was wanted."""
    return code_of(error) in HELD
