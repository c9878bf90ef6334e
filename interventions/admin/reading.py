"""Numbers for pages, each read on its own: what cannot be read says so and spoils nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, connection, transaction

# A page that waits for a number longer than this is worth less than the page without it.
READ_MS, LOCK_MS = 2_000, 100
_ARE_SET = ContextVar("bounds are set", default=False)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """A value, or the knowledge that there is none to be had: never a zero that nobody counted."""

    value: Value | None = None
    is_known: bool = True


@contextmanager
def bounds() -> Iterator[None]:
    """Set the bounds once for all readings inside: a page of many numbers would spend a sixth of its time on setting them."""
    token = _ARE_SET.set(False)
    # Who cannot set them cannot read either, and each reading says so.
    with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {READ_MS}; SET lock_timeout = {LOCK_MS}")
        _ARE_SET.set(True)
    try:
        yield
    finally:
        _ARE_SET.reset(token)
        try:
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout; RESET lock_timeout")
        except (DatabaseError, InterfaceError):
            # Nobody else shall have a connection with the bounds of a page.
            connection.close()


def read(what: Callable[[], Value]) -> Reading[Value]:
    """Read within bounds; a database that does not answer, or answers late, makes an unknown reading."""
    try:
        with transaction.atomic():
            if not _ARE_SET.get():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {READ_MS}; SET LOCAL lock_timeout = {LOCK_MS}")
            return Reading(what())
    except (DatabaseError, InterfaceError):
        # It may be another connection by the next one.
        _ARE_SET.set(False)
        return Reading(is_known=False)
