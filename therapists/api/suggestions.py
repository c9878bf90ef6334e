"""What services on demand do for people over HTTP: a suggested bio, a reminder, a message to an applicant."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, Key, StaffView, actor
from interventions.api.envelope import exact
from interventions.api.problems import Problem
from interventions.api.serializers import NoBody, ReadOnly, Strict, envelope_of
from sync.fallback import Which
from sync.models import Errand, ErrandState
from therapists import reminders, suggestions
from therapists.api.me import TherapistView
from therapists.models import Booking, Enrollment
from therapists.reminders import About, ReminderRefused

REFUSED = "not_set_up, no_phone, cancelled, already_begun, too_many_waiting: no message can be sent."
QUEUED = "It waits to be sent, and follows by itself."


class SuggestionSerializer(ReadOnly):
    """A text to start from; it is not saved."""

    suggestion = serializers.CharField()
    which = serializers.ChoiceField(
        choices=[Which.FRESH.value, Which.CACHED.value, Which.DEFAULT.value],
        help_text="fresh: written now. cached: written before on the same facts. default: a template.",
    )
    age_seconds = serializers.IntegerField(allow_null=True, help_text="Of a cached one.")
    degraded = serializers.BooleanField(help_text="Whether it is second best.")
    message = serializers.CharField()


class SuggestionView(TherapistView):
    """A suggested bio of the caller's own."""

    # Nothing is written: the same request again asks again.
    key: ClassVar[Key] = Key.IGNORED

    @extend_schema(operation_id="me_bio_suggestion", request=NoBody, responses=SuggestionSerializer)
    def post(self, request: Request) -> Response:
        """Suggest a bio from the caller's specialization, years and bio, which is all that the assistant is told."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        found = suggestions.suggest_bio(person_id=cast("int", request.user.pk))
        age = None if found.age_seconds is None else int(found.age_seconds)
        return Response({
            "suggestion": found.text, "which": found.which.value, "age_seconds": age,
            "degraded": found.which is not Which.FRESH, "message": found.message,
        })  # fmt: skip


class MessageSerializer(ReadOnly):
    """A message that waits, or what became of it."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(choices=ErrandState.choices)
    asked_at = serializers.DateTimeField()
    until = serializers.DateTimeField(help_text="After this it is not sent any more.")


SAVED_MESSAGE = {202: envelope_of("Message", MessageSerializer)}


class MessagesView(ApiView):
    """What every view of messages shares."""

    problems: ClassVar[dict[str, str]] = {"409": REFUSED}

    def translated(self, error: Exception) -> Exception:
        """Answer 404 for what is not there or not the caller's, and say why there is no message."""
        if isinstance(error, Booking.DoesNotExist | Enrollment.DoesNotExist):
            return Problem(404, "not_found", "There is nothing here, or it is not yours to see.")
        if isinstance(error, ReminderRefused):
            return Problem(409, error.code, str(error))
        return error

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Show the message as it is now."""
        found = Errand.objects.filter(pk=outcome["errand"]).first()
        if found is None:
            raise Http404
        return queued(found)


class ReminderView(MessagesView):
    """A reminder of a booking."""

    @extend_schema(operation_id="bookings_remind", request=NoBody, responses=SAVED_MESSAGE)
    def post(self, request: Request, pk: int) -> Response:
        """Remind a booking's therapist by a text message; either of its two may ask, and one a day is sent."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        person_id = cast("int", request.user.pk)
        return queued(reminders.remind(booking_id=pk, person_id=person_id, at=timezone.now()))


class MessageWish(Strict):
    """What an applicant is told."""

    about = serializers.ChoiceField(choices=[word.value for word in About])


class ApplicantMessageView(MessagesView, StaffView):
    """A message to whoever enrolled."""

    needed: ClassVar[dict[str, str]] = {"POST": "therapists.decide_enrollment"}

    @extend_schema(operation_id="enrollments_message", request=MessageWish, responses=SAVED_MESSAGE)
    def post(self, request: Request, pk: int) -> Response:
        """Send an applicant or a therapist one of the texts there are; each one once a day."""
        asked = MessageWish(data=request.data)
        asked.is_valid(raise_exception=True)
        about = About(asked.validated_data["about"])
        return queued(reminders.message_applicant(enrollment_id=pk, about=about, by=actor(request), at=timezone.now()))


def queued(errand: Errand) -> Response:
    """Say that a message waits, or what became of it."""
    data = {"id": errand.pk, "state": errand.state, "asked_at": errand.made_at, "until": errand.until}
    what = QUEUED if errand.state == ErrandState.WAITING else f"{ErrandState(errand.state).label}."
    return exact(data=data, what=what, status=202)
