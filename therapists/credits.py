"""Clients' credits: lines that are only ever added, of which PostgreSQL lets no balance fall below zero."""

import datetime as dt

from django.db import IntegrityError, connection
from django.db.models import QuerySet

from interventions import events
from interventions.correlation import request_id
from interventions.models import History
from sync.strict import Strict
from therapists.models import CreditEntry, EntryKind, User, UserType
from therapists.operations import primary

CREDIT = Strict("credit", because="A credit is spent once, and no balance falls below zero.")
# More than anybody is granted at once on purpose.
MOST_AT_ONCE = 1_000
_BALANCE = "credit_balance_not_negative"
# One statement. A trigger numbers the line after the person's last one, under a lock held until the commit, and adds up.
_ADD = """
INSERT INTO credit_entries (person_id, amount, kind, booking_id, by, at) VALUES (%s, %s, %s, %s, %s, %s)
RETURNING balance
"""


class NotEnoughCredits(Exception):
    """The balance would fall below zero. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


@CREDIT.exact
def grant_credits(*, person_id: int, amount: int, by: str, at: dt.datetime) -> int:
    """
    Give a client credits, or take some back where the amount is negative; gives the balance after it.

    One line of history says so. Raises User.DoesNotExist for whoever is no client, ValueError for an amount that is none
    or beyond MOST_AT_ONCE, and NotEnoughCredits.
    """
    if not 0 < abs(amount) <= MOST_AT_ONCE:
        raise ValueError(f"Between 1 and {MOST_AT_ONCE} credits at once.")
    with primary(person_id, by=by):
        User.objects.only("pk").get(pk=person_id, user_type=UserType.CLIENT)
        kind = EntryKind.GRANTED if amount > 0 else EntryKind.WITHDRAWN
        balance = add(person_id=person_id, amount=amount, kind=kind, by=by, at=at)
        History.objects.create(
            actor=by, action=f"credits_{kind}", object_type="user", object_id=str(person_id),
            from_state=str(balance - amount), to_state=str(balance), request_id=request_id.get(),
        )  # fmt: skip
    return balance


def add(
    *, person_id: int, amount: int, kind: EntryKind, by: str, at: dt.datetime, booking_id: int | None = None
) -> int:
    """
    Add one line in the caller's transaction; gives the balance after it.

    Raises NotEnoughCredits, after which the transaction is to be rolled back.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ADD, [person_id, amount, kind, booking_id, by, at])
            (balance,) = cursor.fetchone()
    except IntegrityError as error:
        if getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == _BALANCE:
            raise NotEnoughCredits from error
        raise
    events.announce_people("credits.updated", [person_id])
    return int(balance)


def entries(person_id: int) -> QuerySet[CreditEntry]:
    """Give somebody's lines; unordered."""
    return CreditEntry.objects.filter(person_id=person_id)


def balance(person_id: int) -> int:
    """Give what somebody has."""
    last = entries(person_id).order_by("-number").values_list("balance", flat=True).first()
    return last or 0
