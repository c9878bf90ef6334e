"""Clients, therapists and slots, and calls that carry a key, for tests of what is strict."""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connections, models
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test import Client
from django.utils import timezone

from tests import fakes
from tests.factories import EnrollmentFactory, UserFactory
from therapists import credits
from therapists.demo.cast import signed_in
from therapists.models import Booking, BookingState, CreditEntry, User, UserType

API = "/api/v1/"


def clients(number: int) -> list[User]:
    """Save people who book."""
    return User.objects.bulk_create(UserFactory.build(user_type=UserType.CLIENT, password="") for _ in range(number))


def practice(**facts: Any) -> User:
    """Save a therapist who can be booked."""
    user = EnrollmentFactory.create(**facts).user
    assert user is not None
    return user


def signed(user: User) -> Client:
    """Sign somebody in; errors become answers, as a server makes them."""
    return Client(raise_request_exception=False, headers=signed_in(user))


def post(client: Client, path: str, **body: object) -> Any:
    """Send a write with a key of its own."""
    return client.post(API + path, body, "application/json", headers={"Idempotency-Key": str(uuid.uuid4())})


def slot(hours: float = 0, *, minutes: int = 50) -> dict[str, str]:
    """Give so long a time, the day after tomorrow and so many hours later."""
    begin = (timezone.now() + dt.timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    begin += dt.timedelta(hours=hours)
    return {"starts_at": begin.isoformat(), "ends_at": (begin + dt.timedelta(minutes=minutes)).isoformat()}


def requested(client: User, therapist: User, hours: float = 0) -> Booking:
    """Save a booking that waits for its therapist."""
    begin, end = (dt.datetime.fromisoformat(moment) for moment in slot(hours).values())
    return Booking.objects.create(
        client_id=client.pk, therapist_id=therapist.pk, during=DateTimeTZRange(begin, end), time_zone="UTC",
        state=BookingState.REQUESTED,
    )  # fmt: skip


def granted(person: User, amount: int) -> None:
    """Give somebody credits."""
    credits.grant_credits(person_id=person.pk, amount=amount, by="system", at=timezone.now())


def summed(person: User) -> int:
    """Add up somebody's lines; fails where they do not follow one another."""
    lines = list(CreditEntry.objects.filter(person_id=person.pk).order_by("number"))
    total = 0
    for number, line in enumerate(lines, start=1):
        total += line.amount
        assert (line.number, line.balance) == (number, total)
        assert total >= 0
    return total


def paid_for() -> int:
    """Add up everybody's debits less their refunds."""
    found = CreditEntry.objects.filter(booking_id__isnull=False).aggregate(models.Sum("amount"))["amount__sum"]
    return -(found or 0)


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Let all act at the same moment, each in a thread and over a connection of its own; give what each came to."""
    start = Barrier(len(acts), timeout=60)

    def meet(act: Callable[[], Any]) -> Any:
        try:
            fakes.sql("SELECT 1")
            start.wait()
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [done.result(90) for done in [pool.submit(meet, act) for act in acts]]
