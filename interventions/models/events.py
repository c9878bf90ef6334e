"""What streams tell: that something was written, and how far it has been looked for. Ids and numbers, never a value."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class StreamEvent(models.Model):
    """
    One hint that something is different from before; kept for as long as a stream that broke off may go on from it.

    Whoever appends holds a lock until the commit, so ids are in the order of commits, which no sequence alone is.
    """

    id = models.BigAutoField(primary_key=True)
    topic = models.TextField()
    # Whom or what it is about; null: many at once.
    subject = models.TextField(null=True)
    # Whose own it is; null: nobody's, or everybody's where it is about many.
    people = ArrayField(models.BigIntegerField(), null=True)
    # The number of the write; null: there is none, and the event's own id stands for it.
    revision = models.BigIntegerField(null=True)
    at = models.DateTimeField(db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()))

    class Meta:
        db_table = "stream_event"
        default_permissions = ()
        indexes = [
            models.Index(fields=["topic", "subject", "revision"], name="stream_event_told"),
            models.Index(fields=["at"], name="stream_event_at"),
        ]


class StreamMark(models.Model):
    """
    Up to which number every write of one kind has been told of.

    `ahead` is a higher number, read before the transaction `xid` began: once all before that one have ended, everything
    up to `ahead` can be seen and has been looked at.
    """

    source = models.TextField(primary_key=True)
    reached = models.BigIntegerField()
    ahead = models.BigIntegerField()
    xid = models.BigIntegerField()

    class Meta:
        db_table = "stream_mark"
        default_permissions = ()
