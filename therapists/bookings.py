"""What clients and therapists may do with bookings: each one whole transaction, exact or refused."""

import datetime as dt
from collections.abc import Collection
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Q, QuerySet

from interventions import events, idempotency
from interventions.correlation import request_id
from interventions.models import History
from sync.strict import Strict
from therapists import credits
from therapists.models import Booking, BookingState, Enrollment, EntryKind, Status, UserType
from therapists.operations import primary

BOOKING = Strict("booking", because="One slot is one client's, and what is confirmed is paid.")
COST = 1
SHORTEST, LONGEST = dt.timedelta(minutes=5), dt.timedelta(hours=8)
FURTHEST = dt.timedelta(days=400)
SLOT_CONSTRAINT = "booking_slots_apart"


class BookingRefused(Exception):
    """
    What was asked for cannot be; `code` says why, for programs. Nothing was changed.

    `is_fault`: the request itself is wrong, and would be at any time.
    """

    def __init__(self, code: str) -> None:
        self.code, self.is_fault = code, code in FAULTS
        super().__init__(SENTENCES[code])


SENTENCES = {
    "not_a_client": "Only clients book.",
    "too_short_or_long": "A booking takes between five minutes and eight hours.",
    "not_ahead": "A booking begins in the future, at most 400 days from now.",
    "therapist_unavailable": "This therapist cannot be booked.",
    "client_unavailable": "This client has no account any more.",
    "slot_taken": "The therapist is not free at that time.",
    "too_many_requests": "Too many of your bookings wait to be confirmed.",
    "not_yours_to_confirm": "The therapist confirms a booking.",
    "not_requested": "This booking does not wait to be confirmed any more.",
    "already_cancelled": "This booking is cancelled already.",
    "already_begun": "This booking has begun already.",
    "not_enough_credits": "The client has no credits left for this booking.",
}
FAULTS = frozenset({"too_short_or_long", "not_ahead"})


@BOOKING.exact
def request_booking(
    *, client_id: int, therapist_id: int, starts_at: dt.datetime, ends_at: dt.datetime, zone: ZoneInfo, at: dt.datetime
) -> Booking:
    """
    Ask for a therapist's time; it is held from then on, for this client alone.

    Raises BookingRefused.
    """
    if not SHORTEST <= ends_at - starts_at <= LONGEST:
        raise BookingRefused("too_short_or_long")
    if not at < starts_at <= at + FURTHEST:
        raise BookingRefused("not_ahead")
    if therapist_id == client_id:
        raise BookingRefused("therapist_unavailable")
    by = f"user:{client_id}"
    try:
        with primary(client_id, therapist_id, by=by):
            if _hold_people(client_id, therapist_id).get(client_id) != UserType.CLIENT:
                raise BookingRefused("not_a_client")
            if waiting(client_id).count() >= settings.BOOKINGS_OPEN_MOST:
                raise BookingRefused("too_many_requests")
            _hold_calendar(therapist_id)
            booking = Booking.objects.create(
                client_id=client_id, therapist_id=therapist_id, during=DateTimeTZRange(starts_at, ends_at),
                time_zone=zone.key, requested_at=at, state=BookingState.REQUESTED,
            )  # fmt: skip
            _note(booking, "booking_requested", by, None)
            idempotency.remember(booking=booking.pk)
    except IntegrityError as error:
        if getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == SLOT_CONSTRAINT:
            raise BookingRefused("slot_taken") from error
        raise
    return booking


@BOOKING.exact
def confirm_booking(*, booking_id: int, person_id: int, at: dt.datetime) -> Booking:
    """
    Confirm a booking as its therapist, for one of the client's credits.

    Raises BookingRefused, and Booking.DoesNotExist for whoever has no part in it.
    """
    by = f"user:{person_id}"
    found = of(person_id).get(pk=booking_id)
    if found.therapist_id != person_id:
        raise BookingRefused("not_yours_to_confirm")
    with primary(found.client_id, person_id, by=by):
        if found.client_id not in _hold_people(found.client_id, person_id):
            raise BookingRefused("client_unavailable")
        _hold_calendar(person_id)
        booking = Booking.objects.select_for_update(no_key=True).get(pk=booking_id)
        if booking.state != BookingState.REQUESTED:
            raise BookingRefused("not_requested")
        if booking.during.lower <= at:
            raise BookingRefused("already_begun")
        booking.state, booking.confirmed_at, booking.confirmed_by = BookingState.CONFIRMED, at, person_id
        booking.save(update_fields=["state", "confirmed_at", "confirmed_by"])
        try:
            credits.add(
                person_id=booking.client_id, amount=-COST, kind=EntryKind.DEBITED, by=by, at=at, booking_id=booking.pk
            )
        except credits.NotEnoughCredits as error:
            raise BookingRefused("not_enough_credits") from error
        _note(booking, "booking_confirmed", by, BookingState.REQUESTED)
    return booking


@BOOKING.exact
def cancel_booking(*, booking_id: int, person_id: int, at: dt.datetime) -> Booking:
    """
    Cancel a booking as its client or its therapist; what was paid for it is given back, and its time is free.

    Raises BookingRefused, and Booking.DoesNotExist for whoever has no part in it.
    """
    with primary(person_id, by=f"user:{person_id}"):
        booking = of(person_id).select_for_update(no_key=True).get(pk=booking_id)
        if booking.state == BookingState.CANCELLED:
            raise BookingRefused("already_cancelled")
        if booking.state == BookingState.CONFIRMED and booking.during.lower <= at:
            raise BookingRefused("already_begun")
        _cancel(booking, person_id, f"user:{person_id}", at)
    return booking


def call_off(*, people: Collection[int], by: str, at: dt.datetime) -> list[int]:
    """
    Cancel, in the caller's transaction, everything ahead of people who go or may not be booked any more; give the ids.

    What was paid for it is given back.
    """
    ahead = Booking.objects.filter(Q(client_id__in=people) | Q(therapist_id__in=people), during__startswith__gt=at)
    # All rows are locked before the first line of credits is, as everywhere; of credits in one order for everybody.
    rows = list(ahead.exclude(state=BookingState.CANCELLED).select_for_update(no_key=True).order_by("client_id", "pk"))
    for booking in rows:
        gone = booking.client_id if booking.client_id in people else booking.therapist_id
        _cancel(booking, gone, by, at)
    return sorted(booking.pk for booking in rows)


def of(person_id: int) -> QuerySet[Booking]:
    """Give the bookings that somebody has a part in; unordered."""
    return Booking.objects.filter(Q(client_id=person_id) | Q(therapist_id=person_id))


def waiting(client_id: int) -> QuerySet[Booking]:
    """Give what a client has asked for and nobody has confirmed; unordered."""
    return Booking.objects.filter(client_id=client_id, state=BookingState.REQUESTED)


def _hold_people(*people: int) -> dict[int, str]:
    """Let nobody delete these people until the commit; gives the kinds of those who may sign in."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, user_type FROM users WHERE id = ANY(%s) AND is_active ORDER BY id FOR KEY SHARE", [[*people]]
        )
        return dict(cursor.fetchall())


def _hold_calendar(therapist_id: int) -> None:
    """
    Let whoever books this therapist take turns, and let nobody decide about them meanwhile. Raises BookingRefused.

    Without turns two who want one slot would each wait for the other's row, until PostgreSQL ends one of them. The
    enrollment is the source: a copy may still say approved.
    """
    held = Enrollment.objects.select_for_update(no_key=True, of=("self",)).filter(
        user_id=therapist_id, user__is_active=True
    )
    if held.values_list("status", flat=True).first() != Status.APPROVED:
        raise BookingRefused("therapist_unavailable")


def _cancel(booking: Booking, person_id: int, by: str, at: dt.datetime) -> None:
    before = booking.state
    booking.state, booking.cancelled_at, booking.cancelled_by = BookingState.CANCELLED, at, person_id
    booking.save(update_fields=["state", "cancelled_at", "cancelled_by"])
    if before == BookingState.CONFIRMED:
        credits.add(
            person_id=booking.client_id, amount=COST, kind=EntryKind.REFUNDED, by=by, at=at, booking_id=booking.pk
        )
    _note(booking, "booking_cancelled", by, before)


def _note(booking: Booking, action: str, by: str, before: str | None) -> None:
    History.objects.create(
        actor=by, action=action, object_type="booking", object_id=str(booking.pk), from_state=before,
        to_state=booking.state, request_id=request_id.get(),
    )  # fmt: skip
    events.announce("booking.updated", [booking.pk], people=[booking.client_id, booking.therapist_id])
