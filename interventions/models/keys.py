"""The keys of requests that shall have one effect however often they are sent."""

from django.db import models


class KeyedRequest(models.Model):
    """
    A request with an idempotency key that had an effect: written by the transaction of its write, gone with it or kept.

    The answer is composed after the commit, so it comes later; until then `body` is null.
    """

    # Made by the request that wrote the row: by it a request knows its own row from another's.
    id = models.UUIDField(primary_key=True)
    person_id = models.BigIntegerField()
    key = models.TextField()
    method = models.TextField()
    # As declared, with names in place of ids; which object was meant is in the digest.
    route = models.TextField()
    # SHA-256 of the address and of the body in its canonical form.
    digest = models.TextField()
    at = models.DateTimeField(db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()))
    # The number of the write, where it has one, and the ids of what it made.
    revision = models.BigIntegerField(null=True)
    outcome = models.JSONField(db_default={})
    # What was answered; null together. It may quote what the caller saw.
    status = models.SmallIntegerField(null=True)
    headers = models.JSONField(null=True)
    body = models.TextField(null=True)

    class Meta:
        db_table = "keyed_request"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["person_id", "key", "method", "route"], name="keyed_request_once"),
        ]
        indexes = [models.Index(fields=["at"], name="keyed_request_at")]
