"""What beat asks of the therapists' app."""

from celery import shared_task
from django.utils import timezone

from therapists import images


@shared_task(ignore_result=True)
def remove_unused_avatars() -> None:
    """Delete uploaded files that no place has named for a day."""
    images.remove_unused_avatars(at=timezone.now())
