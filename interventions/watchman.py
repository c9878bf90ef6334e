"""Who tells staff when those who should are dead: each web process looks, and steps in where no worker has for minutes."""

import datetime as dt
import logging
import threading

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from interventions import alerts, deliveries
from interventions.models import AlertWatch

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0


def step_in(*, at: dt.datetime) -> bool:
    """
    Write down whom to tell and send what waits, where no worker has looked for ALERT_URGENT_MINUTES; gives whether it did.

    That a worker looked last is left on record as it is: others see for how long nobody has. Where none ever did, no
    worker has been started yet. Raises DatabaseError.
    """
    watch = AlertWatch.objects.first()
    patience = max(
        dt.timedelta(minutes=settings.ALERT_URGENT_MINUTES), dt.timedelta(seconds=4 * settings.ALERT_SECONDS)
    )
    if watch is None or watch.looked_at is None or at - watch.looked_at <= patience:
        return False
    logger.warning("interventions.watch.stepped_in", extra={"looked_at": watch.looked_at.isoformat()})
    alerts.look(at=at, is_on_duty=False)
    deliveries.send_due()
    return True


class Watchman(threading.Thread):
    """Looks again and again, from a process that does something else. Several of them do not tell anything twice."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS) -> None:
        super().__init__(name="watchman", daemon=True)
        self._every_seconds = every_seconds
        self._is_over = threading.Event()

    def run(self) -> None:
        """Look until told to stop. A database that is away is looked for again; no connection is kept meanwhile."""
        while not self._is_over.wait(self._every_seconds):
            try:
                step_in(at=timezone.now())
            except (DatabaseError, InterfaceError) as error:
                logger.info("interventions.watch.unread", extra={"reason": type(error).__name__})
            finally:
                connection.close()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._is_over.set()
        self.join()
