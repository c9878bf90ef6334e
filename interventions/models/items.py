"""Items that need a person."""

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
    # `user:ID`: who sees to this one, whoever sees to its cause.
    assignee = models.TextField(null=True, blank=True)
    # Until then it is out of the inbox. What fails for good again after it was resolved is not.
    snoozed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "manual_intervention_log"
        verbose_name = "intervention"
        default_permissions = ("view",)
        permissions = [
            ("retry_intervention", "May retry interventions"),
            ("resolve_intervention", "May mark interventions resolved when both sides are equal"),
            ("accept_difference", "May accept a difference, with a note"),
            ("adopt_value", "May adopt a value that was written into a copy"),
            ("assign_intervention", "May see to an intervention, and hand it back"),
            ("snooze_intervention", "May snooze an intervention"),
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
            # The three that list pages live on. Causes and tabs are counted from the index alone.
            models.Index(
                fields=["cause", "timestamp"],
                include=["person_id"],
                name="intervention_of_cause",
                condition=Q(resolved=False),
            ),
            models.Index(
                fields=["timestamp", "id"],
                include=["state", "snoozed_until", "cause"],
                name="intervention_inbox",
                condition=Q(resolved=False),
            ),
            models.Index(fields=["-timestamp", "id"], name="intervention_newest"),
            # What was opened for one reason long ago, found among all that came later.
            models.Index(fields=["cause", "-timestamp"], name="intervention_cause_newest"),
            models.Index(fields=["code", "-timestamp"], name="intervention_code_newest"),
            models.Index(
                fields=["assignee"],
                name="intervention_by_assignee",
                condition=Q(resolved=False, assignee__isnull=False),
            ),
            models.Index(
                fields=["snoozed_until"],
                name="intervention_snoozed",
                condition=Q(resolved=False, snoozed_until__isnull=False),
            ),
            models.Index(fields=["-resolved_at"], name="intervention_resolved", condition=Q(resolved=True)),
        ]

    def __str__(self) -> str:
        # What keeps copies equal needs no name; whatever else was tried does.
        return (self.target if self.operation == "sync" else "") or self.operation.replace("_", " ").capitalize()
