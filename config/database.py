"""What a connection to PostgreSQL is given where it answers requests: a pool, and bounds on every statement."""

from typing import Any

from django.conf import settings


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
    Add a pool that gives out no broken connection (CONN_HEALTH_CHECKS) and makes nobody wait for long.

    For `config.wsgi` alone: a prefork worker's child would share the sockets of its parent's pool, and a command that
    ends with one leaves its threads behind.
    """
    pool = {"min_size": 1, "max_size": settings.WEB_THREADS + 2, "timeout": 2, "reconnect_timeout": 2}
    return options | {"pool": pool}
