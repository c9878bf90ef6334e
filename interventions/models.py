"""Items that need a person, and the history of what people and the engine did with them."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class State(models.TextChoices):
    """The life of an item."""

    OPEN = "open", "Needs a person"
    RETRYING = "retrying", "Retrying"
    RESOLVED = "resolved", "Resolved"
    REOPENED = "reopened", "Reopened"


class Resolution(models.TextChoices):
    """How an item came to be resolved. Nothing else is ever called resolved."""

    AUTO = "auto", "By itself"
    VERIFIED = "verified", "Both sides read back and equal"
    ACCEPTED = "accepted", "Difference accepted"
    SUPERSEDED = "superseded", "No longer applies"


class RandomUUID(models.Func):
    """PostgreSQL's own random UUID, so that programs that write SQL need not make one."""

    function = "gen_random_uuid"
    output_field = models.UUIDField()


class Intervention(models.Model):
    """
    An item: one target of one person that cannot be brought in line by itself.

    The first ten columns and the index on unresolved rows are a contract with existing programs; `state` follows
    `resolved` by a trigger where such a program writes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    operation = models.TextField()
    entity_id = models.TextField(null=True, blank=True)
    error = models.TextField()
    payload = models.JSONField(null=True, blank=True)
    timestamp = models.DateTimeField("open since", db_default=Now())
    resolved = models.BooleanField(db_default=False)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.TextField(null=True, blank=True)
    resolution_notes = models.TextField(null=True, blank=True)

    person_id = models.BigIntegerField(null=True, blank=True)
    target = models.TextField(db_default="", blank=True)
    state = models.TextField(choices=State, db_default=State.OPEN)
    resolution = models.TextField(choices=Resolution, null=True, blank=True)
    # SQLSTATE or a code of the engine; with target and object it is the cause.
    code = models.TextField(db_default="", blank=True)
    cause = models.TextField(db_default="", blank=True)
    attempts = models.IntegerField("tries", db_default=0)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    # While retrying: when the wish lapses, so that nothing hangs.
    retry_until = models.DateTimeField(null=True, blank=True)
    retry_by = models.TextField(null=True, blank=True)
    # Digest of both sides at the moment of the decision.
    compared = models.TextField(null=True, blank=True)
    attempt_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        db_table = "manual_intervention_log"
        verbose_name = "intervention"
        default_permissions = ("view",)
        permissions = [
            ("retry_intervention", "May retry interventions"),
            ("resolve_intervention", "May mark interventions resolved when both sides are equal"),
            ("accept_difference", "May accept a difference, with a note"),
            ("adopt_value", "May adopt a value that was written into a copy"),
        ]
        constraints = [
            models.UniqueConstraint(
                # The engine's own. Programs that know the founding columns alone write no target, as often as they like.
                fields=["operation", "entity_id", "target"],
                condition=Q(resolved=False) & ~Q(target=""),
                name="intervention_one_live",
            ),
            models.CheckConstraint(
                condition=Q(resolved=True, state=State.RESOLVED) | (Q(resolved=False) & ~Q(state=State.RESOLVED)),
                name="intervention_state_is_resolved",
            ),
        ]
        indexes = [
            models.Index(fields=["person_id", "target"], name="intervention_of_person"),
            models.Index(fields=["state", "-timestamp"], name="intervention_by_state"),
            models.Index(fields=["cause"], name="intervention_by_cause", condition=Q(resolved=False)),
            models.Index(fields=["-resolved_at"], name="intervention_resolved", condition=Q(resolved=True)),
        ]

    def __str__(self) -> str:
        return f"{self.operation} → {self.target or 'elsewhere'}"


class FailedRequest(models.Model):
    """How often an operation answered somebody with an error of ours in one hour. No person, no request."""

    id = models.BigAutoField(primary_key=True)
    # Method and route, as declared; never an address that somebody typed.
    operation = models.TextField()
    hour = models.DateTimeField()
    number = models.BigIntegerField()

    class Meta:
        db_table = "failed_request"
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["hour", "operation"], name="failed_request_once")]


class HistoryQuerySet(models.QuerySet["History"]):
    """History is only ever added to."""

    def of(self, object_type: str, object_id: str) -> "HistoryQuerySet":
        """Narrow to one object, oldest first."""
        return self.filter(object_type=object_type, object_id=object_id).order_by("id")


class History(models.Model):
    """One thing that somebody did. The database refuses UPDATE, DELETE and TRUNCATE; holds no personal data."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    # `system`, `user:ID` or `sql:ROLE`.
    actor = models.TextField()
    action = models.TextField()
    object_type = models.TextField()
    object_id = models.TextField()
    from_state = models.TextField(null=True)
    to_state = models.TextField(null=True)
    run_id = models.UUIDField(null=True)
    request_id = models.TextField(db_default="")

    objects = HistoryQuerySet.as_manager()

    class Meta:
        db_table = "intervention_history"
        verbose_name_plural = "history"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["object_type", "object_id", "id"], name="history_of_object"),
            models.Index(fields=["at"], name="history_at"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"


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


class RetryRun(models.Model):
    """A bulk retry: the items that needed a person when it was planned, tried a few first, then at a bounded rate."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # What it is about, in names and codes; never a person.
    title = models.TextField()
    state = models.TextField(choices=RetryState)
    asked_by = models.TextField()
    # What came later is not part of it.
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    moved_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    is_past_canary = models.BooleanField(default=False)

    class Meta:
        db_table = "intervention_retry_run"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-asked_at"], name="retry_run_asked"),
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
    item_id = models.UUIDField()
    person_id = models.BigIntegerField()
    target = models.TextField()
    outcome = models.TextField(choices=RetryOutcome, db_default=RetryOutcome.WAITING)
    at = models.DateTimeField(null=True)

    class Meta:
        db_table = "intervention_retry_run_item"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["run", "item_id"], name="retry_run_item_once")]
        indexes = [models.Index(fields=["run", "outcome", "id"], name="retry_run_item_of")]
