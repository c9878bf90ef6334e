"""What stands by for services that are called on demand: answers that were kept, errands that wait, and what failed."""

from django.db import models


class KeptAnswer(models.Model):
    """
    What a service answered to one person's question, for the times at which it does not answer.

    The question itself is kept as a digest alone; the answer is that person's and goes with them.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField()
    # Null: the question was nobody's.
    person_id = models.BigIntegerField(null=True)
    digest = models.TextField(unique=True)
    value = models.JSONField()
    made_at = models.DateTimeField()
    # From here on it is shown to nobody.
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "sync_kept_answer"
        default_permissions = ("view", "delete")
        indexes = [
            models.Index(fields=["kind", "-made_at"], name="sync_kept_newest"),
            models.Index(fields=["person_id", "kind", "-made_at"], name="sync_kept_of"),
            models.Index(fields=["expires_at"], name="sync_kept_until"),
        ]


class ErrandState(models.TextChoices):
    """Where an errand stands. Only `done` means that it took effect."""

    WAITING = "waiting", "Waiting"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"
    EXPIRED = "expired", "Too late"


class Errand(models.Model):
    """
    A call that waits to be made. It says what is to be done by ids and codes; the facts are read when it is made.

    The key is the service's idempotency key: however often it is tried, it has one effect there.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField()
    key = models.TextField(unique=True)
    person_id = models.BigIntegerField(null=True)
    payload = models.JSONField(default=dict)
    priority = models.SmallIntegerField()
    # When it was asked for, and later by what its priority has to wait: so nothing is overtaken for ever.
    rank_at = models.DateTimeField()
    made_at = models.DateTimeField()
    until = models.DateTimeField()
    state = models.TextField(choices=ErrandState, default=ErrandState.WAITING)
    # While somebody is at it: when somebody else takes it up, if nothing is heard of them.
    next_attempt_at = models.DateTimeField(null=True)
    # Whoever comes back late is told by it.
    lease = models.UUIDField(null=True)
    attempts = models.IntegerField(default=0)
    code = models.TextField(default="")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sync_errand"
        default_permissions = ("view", "delete")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="waiting", finished_at=None, next_attempt_at__isnull=False)
                | (~models.Q(state="waiting") & models.Q(finished_at__isnull=False, next_attempt_at=None)),
                name="sync_errand_waits_or_is_finished",
            )
        ]
        indexes = [
            models.Index(fields=["rank_at"], condition=models.Q(state="waiting"), name="sync_errand_waiting"),
            models.Index(fields=["kind", "state"], name="sync_errand_kind"),
            models.Index(fields=["person_id"], name="sync_errand_of"),
            models.Index(fields=["finished_at"], name="sync_errand_finished"),
        ]


class ServiceFailure(models.Model):
    """A call on demand that failed in a way that may be the service's own; a success forgets them."""

    id = models.BigAutoField(primary_key=True)
    service = models.TextField()
    person_id = models.BigIntegerField(null=True)
    code = models.TextField()
    at = models.DateTimeField()
    # The service asked to be left alone until then.
    rests_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "sync_service_failure"
        default_permissions = ("view", "delete")
        indexes = [models.Index(fields=["service", "-at"], name="sync_service_failed")]


class ServiceTally(models.Model):
    """What became of an hour's calls on demand: numbers alone."""

    pk = models.CompositePrimaryKey("service", "hour", "outcome")
    service = models.TextField()
    hour = models.DateTimeField()
    outcome = models.TextField()
    number = models.BigIntegerField()
    milliseconds = models.BigIntegerField()

    class Meta:
        db_table = "sync_service_tally"
        default_permissions = ()
