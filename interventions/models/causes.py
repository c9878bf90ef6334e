"""What items failed for: one row for each reason, with what staff decided about it."""

import datetime as dt

from django.db import models
from django.db.models import F, Q

from interventions.models.items import RandomUUID

# Nobody stops hearing of a cause for longer than this.
LONGEST_IGNORED = dt.timedelta(days=30)


class CauseState(models.TextChoices):
    """
    The life of a cause. Whether it is being retried is no state: a bulk retry that is under way says so.

    Stored, it would have to be taken back whenever such a run ends, is paused or cancelled; derived, it cannot be wrong.
    """

    OPEN = "open", "Nobody has taken it"
    ACKNOWLEDGED = "acknowledged", "Somebody sees to it"
    RESOLVED = "resolved", "Resolved"
    REOPENED = "reopened", "Came back"


class Cause(models.Model):
    """
    Why items failed. The rows follow the live items every few seconds; nothing that fails waits for one of them.

    Live, and so at most one for each fingerprint, while an item that is not resolved bears that fingerprint.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    # The `cause` of its items, as `fingerprint` makes it: names and codes, never a person.
    fingerprint = models.TextField()
    target = models.TextField(db_default="")
    code = models.TextField(db_default="")
    state = models.TextField(choices=CauseState, db_default=CauseState.OPEN)
    # Since when the oldest of its items had been open as it was found.
    first_at = models.DateTimeField()
    reopened_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    # `user:ID`: who sees to it. Kept when it is resolved and comes back, so that it stands among their own again.
    owner = models.TextField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.TextField(null=True)
    snoozed_until = models.DateTimeField(null=True)
    # Hides its items from the inbox and its alerts, and nothing else: what counts what differs does not know of it.
    ignored_at = models.DateTimeField(null=True)
    ignored_until = models.DateTimeField(null=True)
    ignored_reason = models.TextField(null=True)
    note = models.TextField(db_default="")

    class Meta:
        db_table = "intervention_cause"
        default_permissions = ("view",)
        permissions = [
            ("acknowledge_cause", "May see to a cause, and hand it back"),
            ("snooze_cause", "May snooze a cause"),
            ("note_cause", "May write a note on a cause"),
            ("ignore_cause", "May ignore a cause for a while, with a reason"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=~Q(state=CauseState.RESOLVED), name="cause_one_live"
            ),
            models.CheckConstraint(
                condition=Q(state=CauseState.RESOLVED, resolved_at__isnull=False)
                | (~Q(state=CauseState.RESOLVED) & Q(resolved_at__isnull=True)),
                name="cause_resolved_since",
            ),
            models.CheckConstraint(
                condition=~Q(state=CauseState.ACKNOWLEDGED)
                | Q(owner__isnull=False, acknowledged_at__isnull=False, acknowledged_by__isnull=False),
                name="cause_acknowledged_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(ignored_until__isnull=True)
                | (Q(ignored_until__lte=F("ignored_at") + LONGEST_IGNORED) & ~Q(ignored_reason="")
                   & Q(ignored_at__isnull=False, ignored_reason__isnull=False)),
                name="cause_ignored_for_a_while",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["fingerprint", "-resolved_at"], name="cause_by_fingerprint"),
            models.Index(fields=["owner"], name="cause_by_owner", condition=~Q(state=CauseState.RESOLVED)),
        ]

    def __str__(self) -> str:
        return f"Cause {str(self.pk)[:8]}"
