"""What stands in the way of work: breakers, which open by themselves, and pauses, which staff make."""

from django.db import models
from django.db.models.functions import Now


class Breaker(models.Model):
    """
    What all processes know of a target's health: written when something fails, and never while all is well.

    No row, or one at its defaults, says that nothing bad is known.
    """

    target = models.TextField(primary_key=True)
    word = models.TextField(db_default="closed")
    since = models.DateTimeField(null=True)
    # Failed calls in a row, and the last person who failed alone: one person's failures after one another count once.
    failures = models.IntegerField(db_default=0)
    lone = models.BigIntegerField(null=True)
    # [second, calls, failed calls], one entry a second and one minute at most.
    recent = models.JSONField(db_default=models.Value([], output_field=models.JSONField()))
    probe_at = models.DateTimeField(null=True)
    probe_seconds = models.FloatField(db_default=0)
    # Whose row is the probe under way.
    probe = models.BigIntegerField(null=True)
    throttled_until = models.DateTimeField(null=True)
    ramp_since = models.DateTimeField(null=True)
    ramp_taken = models.IntegerField(db_default=0)
    code = models.TextField(db_default="")
    error_object = models.TextField(db_default="")

    class Meta:
        db_table = "sync_breaker"
        default_permissions = ("view",)
        permissions = [
            ("switch_target", "May switch targets and operations off and on, and reset breakers"),
            ("pause_person", "May pause the work on a person's copies"),
        ]
        constraints = [
            models.CheckConstraint(
                name="sync_breaker_open_is_probed",
                condition=models.Q(word="closed") | models.Q(word="open", since__isnull=False, probe_at__isnull=False),
            )
        ]


class Pause(models.Model):
    """What staff have paused: a person, a target or an operation. What is owed there stays owed."""

    pk = models.CompositePrimaryKey("scope", "key")
    # `person`, `target` or `operation`, and its id or name.
    scope = models.TextField()
    key = models.TextField()
    by = models.TextField()
    at = models.DateTimeField(db_default=Now())
    note = models.TextField(db_default="")

    class Meta:
        db_table = "sync_pause"
        default_permissions = ("view",)
