"""Credits: granted by leads, spent once, never below zero, and every line for ever."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError
from django.test import Client

from interventions.models import History
from tests import appointments, fakes
from tests.appointments import granted, post, signed, summed
from tests.factories import UserFactory
from therapists.models import CreditEntry, User
from therapists.roles import LEAD, OPERATOR

pytestmark = pytest.mark.usefixtures("transactional_db")
LINE = "INSERT INTO credit_entries (person_id, amount, kind, by) VALUES (%s, %s, %s, 'sql')"


@pytest.fixture
def kim() -> User:
    return appointments.clients(1)[0]


def staff(role: str) -> Client:
    person = UserFactory.create(is_staff=True, user_type="staff")
    person.groups.add(Group.objects.get(name=role))
    return signed(person)


class TestGranting:
    def test_is_a_line_in_history_and_seen_by_whom_it_concerns(self, kim: User) -> None:
        lead = staff(LEAD)
        answer = post(lead, "credits/", person_id=kim.pk, amount=5)
        assert (answer.status_code, answer.json()["data"]) == (201, {"person_id": kim.pk, "balance": 5})
        assert post(lead, "credits/", person_id=kim.pk, amount=-2).json()["data"]["balance"] == 3
        seen: Any = signed(kim).get("/api/v1/credits/?page_size=1").json()
        assert (seen["balance"], [(e["amount"], e["balance"], e["kind"]) for e in seen["results"]]) == (
            3, [(-2, 3, "withdrawn")]
        )  # fmt: skip
        lines = History.objects.filter(object_type="user", object_id=str(kim.pk)).order_by("id")
        assert [(line.action, line.from_state, line.to_state) for line in lines] == [
            ("credits_granted", "0", "5"), ("credits_withdrawn", "5", "3"),
        ]  # fmt: skip
        assert summed(kim) == 3

    def test_p6_takes_nothing_that_is_not_there(self, kim: User) -> None:
        granted(kim, 1)
        answer = post(staff(LEAD), "credits/", person_id=kim.pk, amount=-2)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_enough_credits")
        assert summed(kim) == 1
        assert History.objects.filter(object_type="user", object_id=str(kim.pk)).count() == 1

    def test_p10_is_for_leads_and_for_clients_alone(self, kim: User) -> None:
        assert post(staff(OPERATOR), "credits/", person_id=kim.pk, amount=1).status_code == 403
        assert post(signed(kim), "credits/", person_id=kim.pk, amount=1).status_code == 403
        lead = staff(LEAD)
        for nobody in (appointments.practice().pk, 999_999):
            assert post(lead, "credits/", person_id=nobody, amount=1).status_code == 404
        for amount in (0, 1001, -1001, 1.5, "many", None):
            assert post(lead, "credits/", person_id=kim.pk, amount=amount).status_code == 400
        assert not CreditEntry.objects.exists()


class TestTheTable:
    @pytest.mark.parametrize(
        "statement", ["UPDATE credit_entries SET amount = 9", "DELETE FROM credit_entries", "TRUNCATE credit_entries"]
    )
    def test_p6_refuses_every_change_of_a_line(self, kim: User, statement: str) -> None:
        granted(kim, 1)
        with pytest.raises(DatabaseError, match="append-only"):
            fakes.sql(statement)
        assert summed(kim) == 1

    def test_p6_adds_up_by_itself_whatever_is_sent(self, kim: User) -> None:
        fakes.sql(
            "INSERT INTO credit_entries (person_id, number, amount, balance, kind, by) VALUES"
            " (%s, 7, 2, 1000, 'granted', 'sql'), (%s, 7, 3, 1000, 'granted', 'sql')",
            kim.pk, kim.pk,
        )  # fmt: skip
        assert summed(kim) == 5
        for amount, kind in ((-6, "withdrawn"), (-1, "granted"), (1, "withdrawn"), (-1, "debited"), (0, "granted")):
            with pytest.raises(IntegrityError):
                fakes.sql(LINE, kim.pk, amount, kind)
        assert summed(kim) == 5

    def test_p6_stays_above_zero_also_for_who_cannot_see_the_last_line(self, kim: User, second_connection: Any) -> None:
        granted(kim, 1)
        old = second_connection()
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM credit_entries")
        fakes.sql(LINE, kim.pk, -1, "withdrawn")
        with pytest.raises(Exception, match="credit_line_once"):
            old.execute(LINE, [kim.pk, -1, "withdrawn"])
        assert summed(kim) == 0
