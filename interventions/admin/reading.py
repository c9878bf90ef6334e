"""Numbers for pages, each read on its own: what cannot be read says so and spoils nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, connection, transaction

# A page that waits for a number longer than this is worth less than the page without it.
READ_MS, LOCK_MS = 2_000, 100

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reading(Generic[Value]):
    """A value, or the knowledge that there is none to be had: never a zero that nobody counted."""

    value: Value | None = None
    is_known: bool = True


def read(what: Callable[[], Value]) -> Reading[Value]:
    """Read within bounds; a database that does not answer, or answers late, makes an unknown reading."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {READ_MS}; SET LOCAL lock_timeout = {LOCK_MS}")
            return Reading(what())
    except (DatabaseError, InterfaceError):
        return Reading(is_known=False)
