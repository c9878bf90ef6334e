"""Short messages to therapists and applicants: queued with what asks for them, sent by workers, each one once."""

import datetime as dt
from enum import StrEnum
from zoneinfo import ZoneInfo

from interventions import idempotency
from interventions.correlation import request_id
from interventions.models import History
from sync import errands
from sync.backoff import FailureClass
from sync.errands import Kind, Pointless, Priority, Wish
from sync.fallback import ServiceFailed
from sync.integrations import sms
from sync.models import Errand
from sync.strict import SecondBest, allow
from therapists import bookings, zones
from therapists.models import Booking, BookingState, Enrollment
from therapists.operations import primary

REMINDER, MESSAGE = "booking reminder", "applicant message"
allow(REMINDER, SecondBest.QUEUED)
allow(MESSAGE, SecondBest.QUEUED)


class About(StrEnum):
    """What an applicant is told. The words stand here: what staff might type could hold anything."""

    RECEIVED = "received"
    INCOMPLETE = "incomplete"
    DECIDED = "decided"


TEXTS = {
    About.RECEIVED: "We have your application as a therapist, and will look at it soon.",
    About.INCOMPLETE: "Something is missing in your application as a therapist. Please look at your mail.",
    About.DECIDED: "Your application as a therapist was decided. Please look at your mail.",
}


class ReminderRefused(Exception):
    """No message can be sent; `code` says why, for programs. Nothing was queued."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(SENTENCES[code])


SENTENCES = {
    "not_set_up": "No service for text messages is set up here.",
    "no_phone": "There is no telephone number for this message.",
    "cancelled": "This booking is cancelled.",
    "already_begun": "This booking has begun already.",
    "too_many_waiting": "Too many messages wait already. Please try again later.",
}


def remind(*, booking_id: int, person_id: int, at: dt.datetime) -> Errand:
    """
    Queue a reminder of a booking to its therapist's telephone, the only one known here; one a day, whoever asks.

    Raises ReminderRefused, and Booking.DoesNotExist for whoever has no part in the booking.
    """
    booking = bookings.of(person_id).get(pk=booking_id)
    if booking.state == BookingState.CANCELLED:
        raise ReminderRefused("cancelled")
    if booking.during.lower <= at:
        raise ReminderRefused("already_begun")
    phone = Enrollment.objects.filter(user_id=booking.therapist_id).values_list("phone", flat=True).first()
    wish = Wish(
        REMINDER, key=f"reminder:{booking.pk}:{at.date().isoformat()}", payload={"booking": booking.pk},
        person_id=booking.therapist_id, priority=Priority.HIGH,
    )  # fmt: skip
    return _queued(
        wish, phone, by=f"user:{person_id}", about=("booking", booking.pk), at=at, until=booking.during.lower
    )


def message_applicant(*, enrollment_id: int, about: About, by: str, at: dt.datetime) -> Errand:
    """Queue a message to whoever enrolled; the same one once a day. Raises ReminderRefused, Enrollment.DoesNotExist."""
    enrollment = Enrollment.objects.get(pk=enrollment_id)
    wish = Wish(
        MESSAGE, key=f"message:{enrollment.pk}:{about}:{at.date().isoformat()}",
        payload={"enrollment": enrollment.pk, "about": about.value}, person_id=enrollment.user_id,
    )  # fmt: skip
    return _queued(wish, enrollment.phone, by=by, about=("enrollment", enrollment.pk), at=at)


def _queued(
    wish: Wish, phone: str | None, *, by: str, about: tuple[str, int], at: dt.datetime, until: dt.datetime | None = None
) -> Errand:
    if not sms.is_configured():
        raise ReminderRefused("not_set_up")
    if not phone:
        raise ReminderRefused("no_phone")
    kind, pk = about
    with primary(by=by):
        errand = errands.queue(wish, at=at, until=until)
        if errand is None:
            raise ReminderRefused("too_many_waiting")
        if errand.made_at == at:
            History.objects.create(
                actor=by, action="message_queued", object_type=kind, object_id=str(pk), to_state=wish.kind,
                request_id=request_id.get(),
            )  # fmt: skip
        idempotency.remember(errand=errand.pk)
    return errand


def _send_reminder(errand: Errand) -> None:
    """Send it to the number of now, about the booking as it is now."""
    booking = Booking.objects.filter(pk=errand.payload["booking"]).exclude(state=BookingState.CANCELLED).first()
    if booking is None:
        raise Pointless
    zone = zones.named(booking.time_zone) or ZoneInfo("UTC")
    begins = booking.during.lower.astimezone(zone)
    text = f"Keepwell: a reminder of your booking on {begins:%-d %B %Y} at {begins:%H:%M} ({zone.key})."
    _send(Enrollment.objects.filter(user_id=booking.therapist_id).first(), text, errand)


def _send_message(errand: Errand) -> None:
    enrollment = Enrollment.objects.filter(pk=errand.payload["enrollment"]).first()
    if enrollment is None:
        raise Pointless
    _send(enrollment, f"Keepwell: {TEXTS[About(errand.payload['about'])]}", errand)


def _send(enrollment: Enrollment | None, text: str, errand: Errand) -> None:
    if enrollment is None or not enrollment.phone:
        raise ServiceFailed("no_phone", FailureClass.REFUSED)
    sms.send(to=enrollment.phone.replace(" ", ""), text=text, key=errand.key)


errands.declare(Kind(REMINDER, service=sms.SERVICE, carry=_send_reminder))
errands.declare(Kind(MESSAGE, service=sms.SERVICE, carry=_send_message))
