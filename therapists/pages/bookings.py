"""Somebody's bookings: what waits for them, what is ahead, what is over; confirmed and cancelled exactly once."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from interventions import idempotency
from sync.integrations import sms
from therapists import bookings
from therapists.api.bookings import shown as told
from therapists.bookings import BookingRefused
from therapists.models import Booking, BookingState
from therapists.pages.frame import done, own, person_of, shown
from therapists.pages.once import FormTooOld, key, once

# More that is ahead than anybody keeps; the rest comes up as time goes on.
MOST_AHEAD, A_PAGE = 100, 20
UNDER_WAY = "What you pressed is still under way. Look again in a moment."


@own("GET")
def page(request: HttpRequest) -> HttpResponse:
    """List somebody's bookings."""
    person_id, now = person_of(request), timezone.now()
    mine = bookings.of(person_id)
    ahead = mine.filter(during__endswith__gt=now).exclude(state=BookingState.CANCELLED).order_by("during", "pk")
    over = (mine.filter(during__endswith__lte=now) | mine.filter(state=BookingState.CANCELLED)).order_by(
        "-during", "-pk"
    )
    earlier = Paginator(over, A_PAGE).get_page(request.GET.get("page"))
    coming, past = list(ahead[:MOST_AHEAD]), list(earlier.object_list)
    cards = _cards([*coming, *past], person_id)
    waiting = [card for card in cards[: len(coming)] if card["is_asked_of_me"]]
    return shown(
        request, "bookings", "bookings", waiting=waiting, earlier=earlier, past=cards[len(coming) :],
        ahead=[card for card in cards[: len(coming)] if not card["is_asked_of_me"]],
    )  # fmt: skip


@own("POST")
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Confirm a booking as its therapist."""
    return _decided(
        request, lambda: bookings.confirm_booking(booking_id=pk, person_id=person_of(request), at=timezone.now()),
        "The booking is confirmed.",
    )  # fmt: skip


@own("POST")
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel a booking as its client or its therapist."""
    return _decided(
        request, lambda: bookings.cancel_booking(booking_id=pk, person_id=person_of(request), at=timezone.now()),
        "The booking is cancelled. What it cost is given back.",
    )  # fmt: skip


def _decided(request: HttpRequest, act: Callable[[], Booking], said: str) -> HttpResponse:
    def acted() -> str:
        act()
        return said

    try:
        return done(request, once(request, acted), "own:bookings")
    except Booking.DoesNotExist as error:
        raise Http404 from error
    except (BookingRefused, FormTooOld) as error:
        return done(request, str(error), "own:bookings", is_well=False)
    except idempotency.InFlight:
        return done(request, UNDER_WAY, "own:bookings", is_well=False)


def _cards(rows: Iterable[Booking], person_id: int) -> list[dict[str, Any]]:
    now = timezone.now()
    return [_card(row, person_id, is_ahead=row["starts_at"] > now) for row in told(rows)]


def _card(row: dict[str, Any], person_id: int, *, is_ahead: bool) -> dict[str, Any]:
    is_therapist = row["therapist"]["person_id"] == person_id
    other = row["client" if is_therapist else "therapist"]["full_name"]
    is_requested = row["state"] == BookingState.REQUESTED
    return row | {
        "with": other or "Somebody who has no account any more",
        "is_asked_of_me": is_requested and is_therapist and is_ahead,
        "may_remind": is_therapist and is_ahead and row["state"] == BookingState.CONFIRMED and sms.is_configured(),
        "may_cancel": is_ahead and row["state"] != BookingState.CANCELLED,
        "word": BookingState(row["state"]).label if is_ahead or not is_requested else "Never confirmed",
        "look": {"requested": "soon", "confirmed": "good", "cancelled": "plain"}[row["state"]],
        "minutes": round((row["ends_at"] - row["starts_at"]).total_seconds() / 60),
        "confirm_key": key(),
        "cancel_key": key(),
    }
