"""Bulk retries and their items."""

import uuid
from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import Q


class RetryState(models.TextChoices):
    """The life of a bulk retry."""

    PLANNED = "planned", "Planned"
    CANARY = "canary", "Trying the first ones"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped: of the first ones some failed again"
    CANCELLED = "cancelled", "Cancelled"
    DONE = "done", "Done"


class RetryOutcome(models.TextChoices):
    """What came of one item of a bulk retry."""

    WAITING = "waiting", "Waiting for its turn"
    ASKED = "asked", "Being tried"
    FIXED = "fixed", "Fixed"
    FAILED = "failed", "Failed again"
    SKIPPED = "skipped", "Skipped: somebody else was trying it"
    ALREADY = "already", "Already fixed before its turn"
    LEFT = "left", "Left: the run was cancelled"


class RunRecord(models.Model):
    """What every kind of run has: who asked for it, and when it began, moved and ended. A kind adds its `state`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    asked_by = models.TextField()
    started_at = models.DateTimeField(null=True)
    moved_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    state: "models.TextField[Any, Any]"
    get_state_display: Callable[[], str]

    class Meta:
        abstract = True


class RetryRun(RunRecord):
    """A bulk retry: the items that needed a person when it was planned, tried a few first, then at a bounded rate."""

    # What it is about, in names and codes; never a person.
    title = models.TextField()
    # The fingerprint, where it is about one cause.
    cause = models.TextField(db_default="")
    state = models.TextField(choices=RetryState)
    # What came later is not part of it.
    asked_at = models.DateTimeField()
    is_past_canary = models.BooleanField(default=False)
    # How many items it was planned with; none come later, so nobody counts them again.
    total = models.IntegerField(db_default=0)

    class Meta:
        db_table = "intervention_retry_run"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-asked_at"], name="retry_run_asked"),
            models.Index(fields=["cause", "-asked_at"], name="retry_run_of_cause", condition=~Q(cause="")),
            models.Index(
                fields=["state"], name="retry_run_live",
                condition=~Q(state__in=[RetryState.PLANNED, RetryState.DONE]),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"Bulk retry {str(self.pk)[:8]}"


class RetryRunItem(models.Model):
    """One item of a bulk retry. What programs may do to the log does not undo what a run says it did."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(RetryRun, models.CASCADE)
    # Held by no constraint: what the log loses stays in the report.
    item = models.ForeignKey(
        "interventions.Intervention",
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="bulk_retries",
    )
    person_id = models.BigIntegerField()
    target = models.TextField()
    outcome = models.TextField(choices=RetryOutcome, db_default=RetryOutcome.WAITING)
    at = models.DateTimeField(null=True)

    class Meta:
        db_table = "intervention_retry_run_item"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["run", "item"], name="retry_run_item_once")]
        indexes = [models.Index(fields=["run", "outcome", "id"], name="retry_run_item_of")]
