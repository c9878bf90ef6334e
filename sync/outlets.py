"""What the engine remembers of outside services; Django finds the models through `sync.models`."""

from django.db import models
from django.db.models.functions import Now


class Service(models.Model):
    """An outside service that is or was configured: one lane of calls, and one target of everybody."""

    target = models.TextField(primary_key=True)
    kind = models.TextField()
    is_configured = models.BooleanField()
    # The configuration's shape, without its secrets: another one is a reason to try again what was refused.
    digest = models.TextField()
    since = models.DateTimeField(db_default=Now())
    # The transaction that said so: whoever began before it may have owed nothing.
    xid = models.BigIntegerField()
    # When everybody was owed what had been there before; of notices nothing is.
    everybody_owed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sync_service"
        default_permissions = ()


class Endpoint(models.Model):
    """A public directory that staff entered: where it listens and, encrypted, what messages to it are signed with."""

    id = models.BigAutoField(primary_key=True)
    name = models.TextField(unique=True)
    url = models.TextField("address")
    read_url = models.TextField("address to read back", blank=True, db_default="")
    # Both as `sync.secrets` seals them. While the older one is there, messages are signed with both.
    secret = models.TextField()
    older_secret = models.TextField(blank=True, db_default="")
    is_on = models.BooleanField("on", db_default=True, default=True)
    made_at = models.DateTimeField(db_default=Now())
    made_by = models.TextField()
    secret_since = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sync_endpoint"
        default_permissions = ("view",)
        permissions = [("change_endpoint", "May enter, change, test and switch off directories")]

    def __str__(self) -> str:
        return self.name
