"""What was told to whom, by which channel, and what came of it."""

from django.db import models
from django.db.models import Q

from interventions.ladder import Kind, Level


class AlertState(models.TextChoices):
    """What came of one message to one channel. Only what the channel took is ever called sent."""

    WAITING = "waiting", "Waiting to be sent"
    SENT = "sent", "Sent"
    DROPPED = "dropped", "Over before it could be sent"
    UNDELIVERED = "undelivered", "Could not be delivered"


class Alert(models.Model):
    """
    One subject that one level is told of, from the first message to its end. Holds sentences about codes, no person.

    Written before anything is sent: whoever looks here sees what should have been told, and whether it was.
    """

    id = models.BigAutoField(primary_key=True)
    # `cause:ID`, or the name of a delay.
    subject = models.TextField()
    level = models.SmallIntegerField(choices=[(level.value, level.name.capitalize()) for level in Level])
    kind = models.TextField(choices=[(kind.value, kind.value.capitalize()) for kind in Kind])
    says = models.TextField()
    advice = models.TextField(db_default="")
    # The page that opens exactly what it is about, below BASE_URL.
    path = models.TextField()
    items = models.IntegerField(db_default=0)
    people = models.IntegerField(db_default=0)
    since = models.DateTimeField()
    raised_at = models.DateTimeField()
    told_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "intervention_alert"
        default_permissions = ("view",)
        permissions = [("test_alert", "May send a test alert to every channel")]
        constraints = [
            models.UniqueConstraint(fields=["subject", "level"], condition=Q(ended_at=None), name="alert_one_live")
        ]
        indexes = [models.Index(fields=["-told_at"], name="alert_told")]

    def __str__(self) -> str:
        return f"Alert {self.pk}"


class Digest(models.Model):
    """What a day's digest said, in numbers and codes. The day is the key: there is never a second one."""

    day = models.DateField(primary_key=True)
    since = models.DateTimeField()
    made_at = models.DateTimeField()
    content = models.JSONField()

    class Meta:
        db_table = "intervention_digest"
        default_permissions = ()

    def __str__(self) -> str:
        return f"Digest of {self.day}"


class AlertDelivery(models.Model):
    """One message to one channel. Neither addresses nor secrets: a channel is known by its kind and a digest."""

    id = models.BigAutoField(primary_key=True)
    alert = models.ForeignKey(Alert, models.CASCADE, null=True)
    digest = models.ForeignKey(Digest, models.CASCADE, null=True)
    # A kind of `Kind`, or `digest`, or `test`.
    kind = models.TextField()
    channel = models.TextField()
    state = models.TextField(choices=AlertState, db_default=AlertState.WAITING)
    made_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField()
    # Raised by each claim: who comes back late is told by it.
    attempts = models.IntegerField(db_default=0)
    lease_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    # Why the last try failed: a code, never what the channel said.
    trouble = models.TextField(db_default="")

    class Meta:
        db_table = "intervention_alert_delivery"
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(state=AlertState.SENT, sent_at__isnull=False)
                | (~Q(state=AlertState.SENT) & Q(sent_at__isnull=True)),
                name="alert_sent_is_sent",
            ),
            models.UniqueConstraint(fields=["digest", "channel"], name="alert_digest_once"),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="alert_waiting", condition=Q(state=AlertState.WAITING)),
            models.Index(fields=["state", "-made_at"], name="alert_delivered"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel}"


class AlertReading(models.Model):
    """That somebody of the staff has read an alert."""

    id = models.BigAutoField(primary_key=True)
    alert = models.ForeignKey(Alert, models.CASCADE)
    user_id = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        db_table = "intervention_alert_reading"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["alert", "user_id"], name="alert_read_once")]

    def __str__(self) -> str:
        return f"Reading {self.pk}"


class AlertWatch(models.Model):
    """One row: when somebody last looked whom to tell. Who looks holds it, so that two never tell the same."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    looked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "intervention_alert_watch"
        default_permissions = ()

    def __str__(self) -> str:
        return "The watch"
