"""What the engine remembers of deletions, and what it appends late; Django finds the models through `sync.models`."""

from django.db import models
from django.db.models.functions import Now


class Hold(models.Model):
    """More deletions at once than anybody makes by hand: what they mean for the copies waits for a person."""

    id = models.BigAutoField(primary_key=True)
    target = models.TextField("table", help_text="Where the rows were deleted.")
    opened_at = models.DateTimeField("held since", db_default=Now())
    decided_at = models.DateTimeField(null=True)
    decided_by = models.TextField(null=True)
    is_released = models.BooleanField(null=True)

    class Meta:
        db_table = "sync_hold"
        verbose_name = "held deletion"
        default_permissions = ("view",)
        permissions = [("decide_hold", "May let held deletions take effect, or reject them")]
        constraints = [
            models.UniqueConstraint(fields=["target"], condition=models.Q(decided_at=None), name="sync_hold_one_open"),
            models.CheckConstraint(
                name="sync_hold_decided_by_somebody",
                condition=models.Q(decided_at=None, is_released=None)
                | models.Q(decided_at__isnull=False, is_released__isnull=False, decided_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"deletions from {self.target}"


class Tombstone(models.Model):
    """
    A person's row is gone, or was taken from its person: appended by triggers, ids only.

    While it stands nothing of a deleted person is given to anybody who comes with the same address.
    """

    class Kind(models.TextChoices):
        DELETED = "deleted"
        UNLINKED = "unlinked"

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    target = models.TextField()
    row_id = models.BigIntegerField()
    kind = models.TextField(choices=Kind)
    at = models.DateTimeField(db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()))
    # When workers carried out what the deletion means for the copies.
    applied_at = models.DateTimeField(null=True)
    hold_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "sync_tombstone"
        default_permissions = ()
        indexes = [
            models.Index(fields=["person_id"], name="sync_tombstone_person"),
            models.Index(fields=["target", "row_id"], name="sync_tombstone_row"),
            models.Index(fields=["at"], name="sync_tombstone_at"),
            models.Index(
                fields=["id"], name="sync_tombstone_open", condition=models.Q(applied_at=None, kind="deleted")
            ),
        ]


class Belated(models.Model):
    """
    A row that a trigger could not append because its table was out of reach; set down in the transaction of the change.

    Without what stands here nobody is linked: it may say that somebody was deleted, or had an address. Erasable.
    """

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    # The table that the row belongs into, and its columns.
    target = models.TextField()
    values = models.JSONField()
    at = models.DateTimeField(db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()))

    class Meta:
        db_table = "sync_belated"
        default_permissions = ()
        indexes = [models.Index(fields=["person_id"], name="sync_belated_of")]
