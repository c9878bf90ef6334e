"""What is only written down: who did what and when, and how often requests failed."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


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
            models.Index(fields=["object_id", "object_type", "id"], name="history_of_object"),
            models.Index(fields=["at"], name="history_at"),
            # For the search and the filter of the page. What is frequent is found without, and does not pay for them.
            models.Index(fields=["actor", "id"], name="history_of_actor", condition=~Q(actor="system")),
            models.Index(fields=["request_id"], name="history_of_request", condition=~Q(request_id="")),
            models.Index(
                fields=["action", "id"], name="history_of_action",
                condition=~Q(action="opened") & ~Q(action="resolved:auto"),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"
