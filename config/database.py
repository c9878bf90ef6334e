"""What a connection to PostgreSQL is given where it answers requests: a pool, and bounds on every statement."""

from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg import errors
from psycopg.abc import PQGen

T = TypeVar("T")

# Longer than the longest statement by so much: a server that keeps its bounds has answered by then.
SILENCE_SECONDS = 5.0


class Impatient(psycopg.Connection[Any]):
    """
    A connection that gives a silent server up: one that is frozen keeps no bound, and would hold a thread as long as it is.

    Raises OperationalError without an SQLSTATE, as for a connection that broke: whether what was asked last was done,
    nobody can tell.
    """

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer, no longer than the longest statement of a request takes."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, settings.WEB_STATEMENT_SECONDS + SILENCE_SECONDS)
        except errors._WaitTimeout as error:
            # Whoever gets this connection next must not be given the rest of that answer.
            self.pgconn.finish()
            raise psycopg.OperationalError("PostgreSQL says nothing.") from error


def bounded(options: dict[str, Any]) -> dict[str, Any]:
    """
    Add bounds for a statement, for the wait for a lock and for an idle transaction to a connection's options.

    They are what the session starts with, so they hold for whoever gets it from the pool next; `SET LOCAL` goes beyond
    them where an operation needs more or less. What the address in DATABASE_URL says itself counts for more.
    """
    bounds = {
        "statement_timeout": settings.WEB_STATEMENT_SECONDS,
        "lock_timeout": settings.WEB_LOCK_SECONDS,
        "idle_in_transaction_session_timeout": settings.WEB_IDLE_SECONDS,
    }
    words = [f"-c {name}={seconds}s" for name, seconds in bounds.items()]
    return options | {"options": " ".join([*words, options.get("options", "")]).strip()}


def pooled(options: dict[str, Any]) -> dict[str, Any]:
    """
    Add a pool that gives out no broken connection (CONN_HEALTH_CHECKS) and makes nobody wait for long, or for ever.

    For `config.wsgi` alone: a prefork worker's child would share the sockets of its parent's pool, and a command that
    ends with one leaves its threads behind.
    """
    pool = {
        "connection_class": Impatient, "min_size": 1, "max_size": settings.WEB_THREADS + 2, "timeout": 2,
        "reconnect_timeout": 2,
    }  # fmt: skip
    return options | {"pool": pool}


def watched(options: dict[str, Any]) -> dict[str, Any]:
    """Give the streams' connection a name of its own, and let it notice within seconds that its server's machine is gone."""
    signs = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
    return signs | options | {"application_name": "keepwell-streams"}
