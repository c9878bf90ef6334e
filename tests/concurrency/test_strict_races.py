"""P6: one slot, one credit, many who want it at the same moment, and sessions that end in the middle."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from interventions.models import History, KeyedRequest
from tests import appointments, fakes
from tests.appointments import at_once, granted, post, practice, requested, signed, slot, summed
from therapists.models import Booking, BookingState, CreditEntry, Enrollment, User

pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.slow]
MANY = 50
# Who waited too long behind the others is told to come back, and has changed nothing.
REFUSED = {409, 503}
CONFIRMED = {"state": BookingState.CONFIRMED}


@contextmanager
def on_each_line(body: str) -> Iterator[None]:
    """Run some PL/pgSQL after each line of credits is written, within its transaction; `turn` counts, whatever is undone."""
    fakes.sql("CREATE SEQUENCE turn")
    fakes.sql(
        f"CREATE FUNCTION on_each_line() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;"
        " CREATE TRIGGER on_each_line AFTER INSERT ON credit_entries FOR EACH ROW EXECUTE FUNCTION on_each_line()"
    )
    try:
        yield
    finally:
        fakes.sql("DROP TRIGGER on_each_line ON credit_entries; DROP FUNCTION on_each_line; DROP SEQUENCE turn")


def turns() -> int:
    ((number,),) = fakes.sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM turn")
    return int(number)


DIE = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5);"


class TestTogether:
    def test_p6_one_slot_is_one_client_s_of_fifty_who_want_it(self) -> None:
        ada, times = practice(), slot()
        people = [signed(person) for person in appointments.clients(MANY)]
        answers = at_once([partial(post, one, "bookings/", therapist_id=ada.pk, **times) for one in people])
        found = Counter(answer.status_code for answer in answers)
        assert found[201] == 1
        assert found.keys() - {201} <= REFUSED
        assert Booking.objects.count() == History.objects.filter(action="booking_requested").count() == 1

    def test_p6_the_last_credit_is_spent_once_of_fifty_times_also_beside_kills(self) -> None:
        """At first two of three sessions that come to spend it are ended by PostgreSQL in the middle of it."""
        (kim,) = appointments.clients(1)
        granted(kim, 1)
        therapists = [practice() for _ in range(5)]
        rows = [requested(kim, therapists[number % 5], number) for number in range(MANY)]
        desks = {person.pk: signed(person) for person in therapists}
        calls = [partial(post, desks[row.therapist_id], f"bookings/{row.pk}/confirm/") for row in rows]
        with on_each_line(f"IF nextval('turn') % 3 <> 0 THEN {DIE} END IF;"):
            answers = at_once(calls[: MANY // 2])
            assert turns() >= 2
        self.expect_conserved(answers)
        answers += at_once(calls)
        self.expect_conserved(answers)
        assert Booking.objects.filter(**CONFIRMED).count() == 1

    def expect_conserved(self, answers: list[Any]) -> None:
        found = Counter(answer.status_code for answer in answers)
        assert found.keys() - {200} <= REFUSED
        assert found[200] == Booking.objects.filter(**CONFIRMED).count() == appointments.paid_for()
        (kim,) = User.objects.filter(user_type="client")
        assert summed(kim) == 1 - found[200]

    def test_p6_one_booking_confirmed_and_cancelled_by_many_is_paid_or_given_back(self) -> None:
        ada, (kim,) = practice(), appointments.clients(1)
        granted(kim, 3)
        for hour in range(3):
            row = requested(kim, ada, hour)
            therapist, client = signed(ada), signed(kim)
            if not hour:
                # Whoever comes first in the others: one has been paid for.
                assert post(therapist, f"bookings/{row.pk}/confirm/").status_code == 200
            calls = [(therapist, "confirm"), (client, "cancel")] * 4
            answers = at_once([partial(post, one, f"bookings/{row.pk}/{word}/") for one, word in calls])
            done = Counter(word for (_, word), answer in zip(calls, answers, strict=True) if answer.status_code == 200)
            assert done["cancel"] == 1
            assert done["confirm"] <= 1
        assert not Booking.objects.exclude(state=BookingState.CANCELLED).exists()
        assert (summed(kim), appointments.paid_for()) == (3, 0)

    def test_p6_a_rejection_beside_confirmations_ends_them_all_and_every_credit_is_given_back(self) -> None:
        """Whoever confirms first is paid and given back, whoever comes later is refused; nothing stays booked."""
        ada, people = practice(), appointments.clients(6)
        lead = signed(User.objects.create_superuser("root@example.org", "x"))
        rows = [requested(person, ada, hour) for hour, person in enumerate(people)]
        for person in people:
            granted(person, 1)
        therapist = signed(ada)
        assert post(therapist, f"bookings/{rows[0].pk}/confirm/").status_code == 200
        reject = partial(post, lead, f"enrollments/{Enrollment.objects.get(user=ada).pk}/decision/", decision="reject")
        confirm = [partial(post, therapist, f"bookings/{row.pk}/confirm/") for row in rows[1:]]
        cancel = partial(post, signed(people[0]), f"bookings/{rows[0].pk}/cancel/")
        rejected, cancelled, *_ = at_once([reject, cancel, *confirm])
        assert rejected.status_code == 200
        # The first is cancelled by its client or by the decision, once.
        by_decision = set(rejected.json()["data"]["cancelled_bookings"])
        assert by_decision == {row.pk for row in rows} - ({rows[0].pk} if cancelled.status_code == 200 else set())
        assert not Booking.objects.exclude(state=BookingState.CANCELLED).exists()
        assert ([summed(person) for person in people], appointments.paid_for()) == ([1] * len(people), 0)
        assert History.objects.filter(action="booking_cancelled").count() == len(rows)


class TestAlone:
    def test_p6_a_confirmation_whose_session_ends_was_not_and_is_not_repeated(self) -> None:
        """A broken connection leaves open whether it happened: only what PostgreSQL undid for sure is tried again."""
        ada, (kim,) = practice(), appointments.clients(1)
        granted(kim, 1)
        row = requested(kim, ada)
        with on_each_line(f"PERFORM nextval('turn'); {DIE}"):
            answer = post(signed(ada), f"bookings/{row.pk}/confirm/")
            assert (answer.status_code, answer["Retry-After"], turns()) == (503, "5", 1)
        row.refresh_from_db()
        assert (row.state, summed(kim)) == (BookingState.REQUESTED, 1)
        assert post(signed(ada), f"bookings/{row.pk}/confirm/").status_code == 200
        assert summed(kim) == 0

    @pytest.mark.parametrize("code", ["40001", "40P01"])
    def test_p6_what_postgresql_undid_is_repeated_whole_and_once(self, code: str) -> None:
        ada, (kim,) = practice(), appointments.clients(1)
        granted(kim, 1)
        row = requested(kim, ada)
        with on_each_line(f"IF nextval('turn') <= 2 THEN RAISE EXCEPTION 'again' USING ERRCODE = '{code}'; END IF;"):
            assert post(signed(ada), f"bookings/{row.pk}/confirm/").status_code == 200
            assert turns() == 3
        assert (summed(kim), CreditEntry.objects.filter(kind="debited").count()) == (0, 1)
        assert History.objects.filter(action="booking_confirmed").count() == 1

    def test_p5_what_is_undone_and_repeated_beside_its_duplicates_is_one_effect_and_one_answer(self) -> None:
        ada, (kim,) = practice(), appointments.clients(1)
        granted(kim, 3)
        row, desk = requested(kim, ada), signed(ada)
        path, headers = f"/api/v1/bookings/{row.pk}/confirm/", {"Idempotency-Key": "k"}
        with on_each_line("IF nextval('turn') <= 2 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40P01'; END IF;"):
            answers = at_once([partial(desk.post, path, {}, "application/json", headers=headers)] * 3)
            assert turns() == 3
        assert [answer.status_code for answer in answers] == [200] * 3
        assert sorted("Idempotent-Replayed" in answer for answer in answers) == [False, True, True]
        kept = KeyedRequest.objects.get()
        assert {answer.content.decode() for answer in answers} == {kept.body}
        assert (summed(kim), History.objects.filter(action="booking_confirmed").count()) == (2, 1)

    def test_p6_and_not_for_ever(self) -> None:
        ada, (kim,) = practice(), appointments.clients(1)
        granted(kim, 1)
        row = requested(kim, ada)
        with on_each_line("PERFORM nextval('turn'); RAISE EXCEPTION 'again' USING ERRCODE = '40001';"):
            answer = post(signed(ada), f"bookings/{row.pk}/confirm/")
            assert turns() == 4
        assert (answer.status_code, "Nothing was changed" in answer.json()["detail"]) == (503, True)
        assert summed(kim) == 1
