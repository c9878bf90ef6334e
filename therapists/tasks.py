"""What beat asks of the therapists' app."""

from celery import shared_task
from django.utils import timezone

from therapists import decisions, identity, images
from therapists.accounts import lockout, sessions


@shared_task(ignore_result=True)
def remove_unused_avatars() -> None:
    """Delete uploaded files that no place has named for a day."""
    images.remove_unused_avatars(at=timezone.now())


@shared_task(ignore_result=True)
def review_identity() -> None:
    """Keep one item for each duplicate, approved applicant and kind of orphan; forget decisions of long ago."""
    identity.review(at=timezone.now())
    decisions.prune(at=timezone.now())


@shared_task(ignore_result=True)
def forget_ended_sessions() -> None:
    """Delete sessions that nobody can use any more, and tries that count no longer."""
    sessions.forget_ended(at=timezone.now())
    lockout.forget_old(at=timezone.now())
