"""Bookings over HTTP: a client asks, the therapist confirms, either cancels; nobody else knows of it."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast
from zoneinfo import ZoneInfo

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, Key
from interventions.api.envelope import exact
from interventions.api.pagination import NewestFirst
from interventions.api.problems import Problem
from interventions.api.serializers import NoBody, ReadOnly, Strict, envelope_of
from interventions.api.views import PAGING
from therapists import bookings, zones
from therapists.bookings import BookingRefused
from therapists.models import Booking, BookingState, User

LARGEST_ID = 2**63 - 1
FORBIDDEN = {"not_a_client", "not_yours_to_confirm"}
FIELDS = {"too_short_or_long": "ends_at", "not_ahead": "starts_at", "therapist_unavailable": "therapist_id"}


class Moment(serializers.DateTimeField):
    """A moment with its offset: without one nobody knows which moment it is."""

    default_error_messages = {"naive": "Say the offset too, as in 2027-03-01T10:00:00+01:00."}

    def enforce_timezone(self, value: dt.datetime) -> dt.datetime:
        """Give the moment in UTC; raises ValidationError where it has no offset."""
        if timezone.is_naive(value):
            self.fail("naive")
        try:
            return value.astimezone(dt.UTC)
        except OverflowError:
            self.fail("overflow")


class BookingRequest(Strict):
    """Whose time, from when until when."""

    therapist_id = serializers.IntegerField(min_value=1, max_value=LARGEST_ID)
    starts_at = Moment(help_text="ISO 8601 with an offset.")
    ends_at = Moment(help_text="Not included: another booking may begin then.")
    time_zone = serializers.CharField(
        required=False, max_length=100, help_text="In which you are told the time, as in Europe/Paris; UTC without."
    )

    def validate_time_zone(self, value: str) -> ZoneInfo:
        """Give the zone; raises ValidationError."""
        if (found := zones.named(value)) is None:
            raise serializers.ValidationError(
                "There is no such time zone; a name is written as in Europe/Paris.", "zone"
            )
        return found


class PartySerializer(ReadOnly):
    """One of the two."""

    person_id = serializers.IntegerField()
    full_name = serializers.CharField(allow_null=True, help_text="Null: they have no account any more.")


class BookingSerializer(ReadOnly):
    """A booking, as both of its people see it."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(choices=BookingState.choices)
    therapist = PartySerializer()
    client = PartySerializer()
    starts_at = serializers.DateTimeField(help_text="In UTC.")
    ends_at = serializers.DateTimeField(help_text="In UTC.")
    time_zone = serializers.CharField()
    local_starts_at = serializers.DateTimeField(help_text="The same moment by the clock of `time_zone`.")
    local_ends_at = serializers.DateTimeField()
    requested_at = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(allow_null=True)
    cancelled_at = serializers.DateTimeField(allow_null=True)
    cancelled_by = serializers.IntegerField(
        allow_null=True, help_text="The id of whoever cancelled it, went, or may not be booked any more."
    )


SAVED_BOOKING = envelope_of("Booking", BookingSerializer)


class BookingView(ApiView):
    """What every view of bookings shares."""

    key: ClassVar[Key] = Key.REQUIRED

    def translated(self, error: Exception) -> Exception:
        """Answer 404 for what is not the caller's, and say why a booking was refused."""
        if isinstance(error, Booking.DoesNotExist):
            return Problem(404, "not_found", "There is nothing here, or it is not yours to see.")
        if isinstance(error, BookingRefused):
            status = 400 if error.is_fault else 403 if error.code in FORBIDDEN else 409
            return Problem(status, error.code, str(error), field=FIELDS.get(error.code))
        return error

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Show the booking as it is now."""
        made = "booking" in outcome
        row = bookings.of(_person(request)).get(pk=outcome["booking"] if made else kwargs["pk"])
        return exact(data=shown([row])[0], what="Done.", status=201 if made else 200)


class BookingsView(BookingView):
    """The caller's bookings, as a client or as a therapist."""

    pagination_class = NewestFirst

    @extend_schema(operation_id="bookings_list", parameters=PAGING, responses=BookingSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the caller's own bookings, newest first."""
        pages = self.pagination_class()
        page = pages.paginate_queryset(bookings.of(_person(request)), request, view=self) or []
        return pages.get_paginated_response(shown(page))

    @extend_schema(operation_id="bookings_create", request=BookingRequest, responses={201: SAVED_BOOKING})
    def post(self, request: Request) -> Response:
        """Ask for a therapist's time; the slot is held for the caller until somebody cancels."""
        asked = BookingRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        words = asked.validated_data
        made = bookings.request_booking(
            client_id=_person(request), therapist_id=words["therapist_id"], starts_at=words["starts_at"],
            ends_at=words["ends_at"], zone=words.get("time_zone") or ZoneInfo("UTC"), at=timezone.now(),
        )  # fmt: skip
        return exact(data=shown([made])[0], what="Asked for. The therapist confirms it.", status=201)


class ConfirmView(BookingView):
    """A therapist's word on a booking."""

    @extend_schema(operation_id="bookings_confirm", request=NoBody, responses={200: SAVED_BOOKING})
    def post(self, request: Request, pk: int) -> Response:
        """Confirm a booking as its therapist; it costs its client one credit."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        made = bookings.confirm_booking(booking_id=pk, person_id=_person(request), at=timezone.now())
        return exact(data=shown([made])[0], what="Confirmed.")


class CancelView(BookingView):
    """The end of a booking."""

    @extend_schema(operation_id="bookings_cancel", request=NoBody, responses={200: SAVED_BOOKING})
    def post(self, request: Request, pk: int) -> Response:
        """Cancel a booking as its client or its therapist; what it cost is given back."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        made = bookings.cancel_booking(booking_id=pk, person_id=_person(request), at=timezone.now())
        return exact(data=shown([made])[0], what="Cancelled.")


def shown(page: Iterable[Booking]) -> list[dict[str, Any]]:
    """Give bookings as both of their people see them; names are looked up for all at once."""
    rows = list(page)
    people = {person for row in rows for person in (row.client_id, row.therapist_id)}
    names = dict(User.objects.filter(pk__in=people).values_list("pk", "full_name"))
    return [_shown(row, names) for row in rows]


def _shown(row: Booking, names: dict[int, str]) -> dict[str, Any]:
    zone = zones.named(row.time_zone) or dt.UTC
    starts, ends = row.during.lower, row.during.upper
    return {
        "id": row.pk,
        "state": row.state,
        "therapist": {"person_id": row.therapist_id, "full_name": names.get(row.therapist_id)},
        "client": {"person_id": row.client_id, "full_name": names.get(row.client_id)},
        "starts_at": starts.astimezone(dt.UTC),
        "ends_at": ends.astimezone(dt.UTC),
        "time_zone": row.time_zone,
        "local_starts_at": starts.astimezone(zone),
        "local_ends_at": ends.astimezone(zone),
        "requested_at": row.requested_at,
        "confirmed_at": row.confirmed_at,
        "cancelled_at": row.cancelled_at,
        "cancelled_by": row.cancelled_by,
    }


def _person(request: Request) -> int:
    return cast("int", request.user.pk)
