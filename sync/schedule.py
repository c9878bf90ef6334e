"""How urgent a target is, and the bounds of the schedule as they are set."""

from django.conf import settings

from sync.backoff import Limits, Urgency
from sync.mirrors import declaration


def urgency(target: str) -> Urgency:
    """A target is as urgent as its most urgent fact."""
    facts = {pair.mirror.urgency for pair in declaration().pairs if pair.copy.table == target}
    return Urgency.URGENT if Urgency.URGENT in facts else Urgency.NORMAL


def limits() -> Limits:
    """Give the bounds of the schedule from the settings."""
    return Limits(
        base_seconds=settings.SYNC_BACKOFF_BASE_SECONDS,
        cap_seconds=settings.SYNC_BACKOFF_CAP_SECONDS,
        urgent_cap_seconds=settings.SYNC_BACKOFF_URGENT_CAP_SECONDS,
        item_after_attempts=settings.SYNC_ITEM_AFTER_ATTEMPTS,
        item_after_seconds=settings.SYNC_ITEM_AFTER_SECONDS,
    )
