"""
A block of `transaction.atomic()` that ends without an exception was kept; where it was undone in silence, this raises.

Django and PostgreSQL both undo a transaction in which an error was caught without a savepoint, and tell nobody: COMMIT is
answered with ROLLBACK, hooks for after the commit are run, and the request goes on to a 200.
"""

from types import TracebackType
from typing import Any

from django.db import DatabaseError
from django.db.transaction import Atomic, get_connection
from psycopg.pq import TransactionStatus


class RolledBack(DatabaseError):
    """What was to be saved was undone, though no error left the transaction: one inside it was caught without a savepoint."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


_leave = Atomic.__exit__


def guard() -> None:
    """Watch every atomic block of this process from now on; calling it again changes nothing."""
    Atomic.__exit__ = _leave_watched  # type: ignore[method-assign]


def _leave_watched(
    self: Atomic, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    connection: Any = get_connection(self.using)
    was_doomed, caught = connection.needs_rollback, connection.rollback_exc
    # The transaction around a whole test of Django's is rolled back on purpose.
    if kind is None and not getattr(self, "_from_testcase", False) and _is_undone(connection):
        silent = RolledBack()
        _leave(self, RolledBack, silent, None)
        _remember(connection, caught or silent)
        raise silent from caught
    _leave(self, kind, error, trace)
    # Who wished for the rollback before is not contradicted by an error that came after.
    _remember(connection, caught if was_doomed else caught or error)


def _is_undone(connection: Any) -> bool:
    """Tell whether what was written cannot be kept any more, by nobody's wish: `set_rollback(True)` is one."""
    if connection.closed_in_transaction:
        return True
    if connection.needs_rollback:
        return connection.rollback_exc is not None
    raw = connection.connection
    return raw is not None and raw.pgconn.transaction_status == TransactionStatus.INERROR


def _remember(connection: Any, why: BaseException | None) -> None:
    """Keep why a transaction is lost, which Django forgets where a block has no savepoint, until it is not or over."""
    connection.rollback_exc = why if connection.needs_rollback else None
