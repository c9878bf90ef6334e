"""How long a person waits for what somebody else holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from interventions.idempotency import keyed

WAIT_MS = 3_000
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


def is_held(error: BaseException) -> bool:
    """Tell whether somebody held what was wanted."""
    return getattr(error.__cause__, "sqlstate", None) in HELD
