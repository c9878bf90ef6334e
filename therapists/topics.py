"""What streams tell of, and who may hear it: one table, read when a stream opens and again while it is open."""

from collections.abc import Collection
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Topic:
    """Something that may be different from before. `permission` is what staff need; whose own it is needs none."""

    permission: str
    meaning: str
    # Whose subject may hear of it, staff or not.
    is_own: bool = False


TOPICS = MappingProxyType(
    {
        "avatar.updated": Topic("therapists.view_user", "A person's avatar was written, anywhere.", is_own=True),
        "profile.updated": Topic(
            "therapists.view_user", "Another fact about a person was written, anywhere.", is_own=True
        ),
        "copies.updated": Topic("sync.view_ledger", "Workers were at a person's copies.", is_own=True),
        "booking.updated": Topic("therapists.view_booking", "A booking was asked for, confirmed or cancelled.", is_own=True),
        "credits.updated": Topic("therapists.view_creditentry", "Credits came or went.", is_own=True),
        "intervention.updated": Topic("interventions.view_intervention", "An intervention opened, moved or was resolved."),
        "cause.updated": Topic("interventions.view_cause", "So did a cause."),
        "run.updated": Topic("interventions.view_retryrun", "A bulk retry came further, or was switched."),
        "repair.updated": Topic("sync.view_run", "So was a repair."),
        "target.updated": Topic("sync.view_breaker", "A place's breaker changed, or staff switched something off or on."),
    }
)  # fmt: skip
PERMISSIONS = frozenset(topic.permission for topic in TOPICS.values())


def open_to(permissions: Collection[str]) -> frozenset[str]:
    """Give the topics that somebody with these permissions may hear of everybody."""
    return frozenset(name for name, topic in TOPICS.items() if topic.permission in permissions)


OWN = frozenset(name for name, topic in TOPICS.items() if topic.is_own)
