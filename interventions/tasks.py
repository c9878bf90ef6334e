"""What workers do for the desk's alerts. Whom to tell of what, and what waits to be sent, stands in PostgreSQL."""

from celery import shared_task
from django.utils import timezone

from interventions import alerts, deliveries, digest

# More than a run takes, and less than a lease: a library that hangs is ended before somebody else sends the same.
SOFT_SECONDS, HARD_SECONDS = 90, 100


@shared_task(ignore_result=True, soft_time_limit=SOFT_SECONDS, time_limit=HARD_SECONDS)
def alert() -> None:
    """Write down who is to be told of what, and the day's digest; once that is committed, send what waits."""
    alerts.look(at=timezone.now())
    digest.make_due(at=timezone.now())
    deliveries.send_due()


@shared_task(ignore_result=True)
def prune_alerts() -> None:
    """Keep alerts and digests no longer than the settings say."""
    alerts.prune(at=timezone.now())
