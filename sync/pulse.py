"""Signs of life: workers, beat and streams processes say in PostgreSQL, every few seconds at most, that they are at it."""

import datetime as dt
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction

logger = logging.getLogger(__name__)

WORKER, BEAT, STREAMS = "worker", "beat", "streams"
EVERY_SECONDS, WAIT_MS, KEPT_DAYS = 5.0, 200, 7
# Who says nothing for longer than that, or for several sweeps, is called silent.
SILENT_SECONDS = 30
_SIGN = """
INSERT INTO sync_pulse AS p (role, name, load, at) VALUES (%s, %s, %s, clock_timestamp())
ON CONFLICT (role, name) DO UPDATE SET at = excluded.at, load = excluded.load WHERE p.at < excluded.at
"""


@dataclass(frozen=True)
class Sign:
    """When somebody was last at it, and how much they had in hand."""

    role: str
    name: str
    at: dt.datetime
    load: int | None = None

    def is_silent(self, now: dt.datetime) -> bool:
        """Whether it is so long ago that something is wrong."""
        return now - self.at > dt.timedelta(seconds=max(SILENT_SECONDS, 3 * settings.SYNC_SWEEP_SECONDS))


class Pulse:
    """
    What one process says of itself; an earlier word is not repeated before its time.

    `is_guest`: the connection is somebody's who goes on with it, and is left as it is.
    """

    def __init__(self, *, is_guest: bool = False) -> None:
        self._said, self._is_guest = -EVERY_SECONDS, is_guest

    def withdraw(self, role: str, name: str) -> None:
        """Take the sign back, for this process ends. Never raises: who is silent is counted no more after SILENT_SECONDS."""
        self._write("DELETE FROM sync_pulse WHERE role = %s AND name = %s", [role, name])

    def give(self, role: str, name: str = "", *, load: int | None = None) -> None:
        """Say that this process is at it. Never raises and hardly waits: work goes on without the sign."""
        if time.monotonic() - self._said < EVERY_SECONDS:
            return
        self._said = time.monotonic()
        if not self._is_guest:
            close_old_connections()
        self._write(_SIGN, [role, name or socket.gethostname(), load])

    def _write(self, statement: str, words: Sequence[str | int | None]) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {WAIT_MS}; SET LOCAL lock_timeout = {WAIT_MS}")
                cursor.execute(statement, words)
        except (DatabaseError, InterfaceError) as error:
            logger.info("sync.pulse.not_given", extra={"role": words[0], "reason": type(error).__name__})


def signs() -> list[Sign]:
    """List everybody who gave a sign lately, by role and name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT role, name, at, load FROM sync_pulse ORDER BY role, name")
        return [Sign(*row) for row in cursor.fetchall()]


def prune(*, at: dt.datetime) -> None:
    """Forget who has been gone for long: machines come and go under new names."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sync_pulse WHERE at < %s", [at - dt.timedelta(days=KEPT_DAYS)])


pulse = Pulse()
