"""What beat asks of the desk."""

from celery import shared_task
from django.utils import timezone

from interventions import retry_runs


@shared_task(ignore_result=True)
def advance_retry_runs() -> None:
    """Take every bulk retry one step further."""
    retry_runs.advance_all(at=timezone.now())
