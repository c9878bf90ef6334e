"""What clients book with therapists, and the credits that it costs; the database refuses what must never be."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class BookingState(models.TextChoices):
    """Where a booking stands. It only ever goes down this list."""

    REQUESTED = "requested", "Requested"
    CONFIRMED = "confirmed", "Confirmed"
    CANCELLED = "cancelled", "Cancelled"


class Booking(models.Model):
    """
    A client's time with a therapist. Until it is cancelled it holds the slot: of one therapist no two overlap.

    Ids, times and codes only. No foreign keys: a person can be deleted, also by SQL, whatever was booked.
    """

    id = models.BigAutoField(primary_key=True)
    client_id = models.BigIntegerField()
    therapist_id = models.BigIntegerField()
    # From and until, the end not included, so that one booking may begin as another ends.
    during = DateTimeRangeField()
    # In which the client chose the time, to be told it by the same clock.
    time_zone = models.TextField()
    state = models.TextField(choices=BookingState, db_default=BookingState.REQUESTED)
    requested_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.BigIntegerField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    cancelled_by = models.BigIntegerField(null=True)

    class Meta:
        db_table = "bookings"
        default_permissions = ("view",)
        constraints = [
            ExclusionConstraint(
                name="booking_slots_apart",
                expressions=[("therapist_id", RangeOperators.EQUAL), ("during", RangeOperators.OVERLAPS)],
                condition=~Q(state=BookingState.CANCELLED),
            ),
            models.CheckConstraint(
                condition=Q(
                    during__isempty=False, during__lower_inc=True, during__upper_inc=False, during__lower_inf=False,
                    during__upper_inf=False,
                ),
                name="booking_has_a_beginning_and_an_end",
            ),
            models.CheckConstraint(condition=~Q(client_id=F("therapist_id")), name="booking_is_between_two"),
            models.CheckConstraint(
                condition=Q(
                    state=BookingState.REQUESTED, confirmed_at=None, confirmed_by=None, cancelled_at=None,
                    cancelled_by=None,
                )
                | Q(
                    state=BookingState.CONFIRMED, confirmed_at__isnull=False, confirmed_by__isnull=False,
                    cancelled_at=None, cancelled_by=None,
                )
                | Q(state=BookingState.CANCELLED, cancelled_at__isnull=False, cancelled_by__isnull=False),
                name="booking_says_who_and_when",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["client_id", "-id"], name="booking_of_client"),
            models.Index(fields=["therapist_id", "-id"], name="booking_of_therapist"),
        ]

    def __str__(self) -> str:
        return f"booking {self.pk}"


class EntryKind(models.TextChoices):
    """Why credits came or went."""

    GRANTED = "granted", "Granted"
    WITHDRAWN = "withdrawn", "Taken back"
    DEBITED = "debited", "Booking confirmed"
    REFUNDED = "refunded", "Booking cancelled"


COMING, GOING = (EntryKind.GRANTED, EntryKind.REFUNDED), (EntryKind.WITHDRAWN, EntryKind.DEBITED)


class CreditEntry(models.Model):
    """
    One line of somebody's credits, as on a bank's statement: what came or went, and the balance after it.

    Ids and numbers only. The database refuses UPDATE, DELETE and TRUNCATE, and sets `number` and `balance` itself.
    """

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    # 1, 2, 3 and so on for each person: no two lines can follow the same one, whatever a transaction can see.
    number = models.IntegerField(db_default=0)
    amount = models.IntegerField()
    balance = models.IntegerField(db_default=0)
    kind = models.TextField(choices=EntryKind)
    booking_id = models.BigIntegerField(null=True)
    # `user:ID`, `system` or `command`.
    by = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "credit_entries"
        verbose_name_plural = "credit entries"
        default_permissions = ("view",)
        permissions = [("grant_credits", "May grant credits to clients, and take them back")]
        constraints = [
            models.CheckConstraint(condition=Q(balance__gte=0), name="credit_balance_not_negative"),
            models.CheckConstraint(
                condition=Q(kind__in=COMING, amount__gt=0) | Q(kind__in=GOING, amount__lt=0),
                name="credit_kind_has_sign",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=(EntryKind.DEBITED, EntryKind.REFUNDED), booking_id__isnull=False)
                | Q(kind__in=(EntryKind.GRANTED, EntryKind.WITHDRAWN), booking_id=None),
                name="credit_kind_has_booking",
            ),
            models.UniqueConstraint(fields=["person_id", "number"], name="credit_line_once"),
            models.UniqueConstraint(
                fields=["booking_id", "kind"], condition=Q(booking_id__isnull=False), name="credit_booking_once"
            ),
        ]

    def __str__(self) -> str:
        return f"credit entry {self.pk}"
