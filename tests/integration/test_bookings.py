"""Bookings: whose they are, what becomes of them, and which time is meant."""

import datetime as dt
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from interventions.models import History, KeyedRequest
from tests import appointments, fakes
from tests.appointments import granted, post, practice, requested, signed, slot, summed
from tests.factories import UserFactory
from therapists import approval, erasure
from therapists.models import Booking, BookingState, Enrollment, User

pytestmark = pytest.mark.usefixtures("transactional_db")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def kim() -> User:
    return appointments.clients(1)[0]


@pytest.fixture
def ada() -> User:
    return practice()


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


class TestItsLife:
    def test_is_requested_confirmed_and_cancelled_with_who_and_when(self, kim: User, ada: User) -> None:
        granted(kim, 2)
        made = post(signed(kim), "bookings/", therapist_id=ada.pk, **slot())
        assert made.status_code == 201, made.content
        body = made.json()
        assert (body["success"], body["message"]) == (True, "Asked for. The therapist confirms it.")
        assert (body["data"]["state"], summed(kim)) == ("requested", 2)
        path = f"bookings/{body['data']['id']}/"
        confirmed = post(signed(ada), path + "confirm/").json()["data"]
        assert (confirmed["state"], summed(kim)) == ("confirmed", 1)
        assert confirmed["client"] == {"person_id": kim.pk, "full_name": kim.full_name}
        cancelled = post(signed(kim), path + "cancel/").json()["data"]
        assert (cancelled["state"], cancelled["cancelled_by"], summed(kim)) == ("cancelled", kim.pk, 2)
        row = Booking.objects.get()
        assert (row.confirmed_by, row.cancelled_by) == (ada.pk, kim.pk)
        lines = History.objects.filter(object_type="booking", object_id=str(row.pk)).order_by("id")
        assert [(line.actor, line.action, line.from_state, line.to_state) for line in lines] == [
            (f"user:{kim.pk}", "booking_requested", None, "requested"),
            (f"user:{ada.pk}", "booking_confirmed", "requested", "confirmed"),
            (f"user:{kim.pk}", "booking_cancelled", "confirmed", "cancelled"),
        ]

    def test_goes_no_step_twice_and_none_back(self, kim: User, ada: User) -> None:
        granted(kim, 1)
        path = f"bookings/{requested(kim, ada).pk}/"
        assert code(post(signed(kim), path + "confirm/")) == (403, "not_yours_to_confirm")
        assert post(signed(ada), path + "confirm/").status_code == 200
        assert code(post(signed(ada), path + "confirm/")) == (409, "not_requested")
        assert post(signed(ada), path + "cancel/").status_code == 200
        for _ in range(2):
            assert code(post(signed(kim), path + "cancel/")) == (409, "already_cancelled")
            assert code(post(signed(ada), path + "confirm/")) == (409, "not_requested")
        assert summed(kim) == 1

    def test_costs_nothing_until_it_is_confirmed_and_is_not_without_credits(self, kim: User, ada: User) -> None:
        booking = requested(kim, ada)
        assert code(post(signed(ada), f"bookings/{booking.pk}/confirm/")) == (409, "not_enough_credits")
        booking.refresh_from_db()
        assert booking.state == BookingState.REQUESTED
        assert post(signed(kim), f"bookings/{booking.pk}/cancel/").status_code == 200
        assert summed(kim) == 0

    def test_is_not_given_back_once_it_has_begun(self, kim: User, ada: User) -> None:
        granted(kim, 1)
        done, late = requested(kim, ada), requested(kim, ada, 2)
        assert post(signed(ada), f"bookings/{done.pk}/confirm/").status_code == 200
        yesterday = timezone.now() - dt.timedelta(days=1)
        for row in (done, late):
            Booking.objects.filter(pk=row.pk).update(
                during=(yesterday, yesterday + dt.timedelta(minutes=row.pk % 50 + 5))
            )
            yesterday -= dt.timedelta(hours=3)
        assert code(post(signed(kim), f"bookings/{done.pk}/cancel/")) == (409, "already_begun")
        assert code(post(signed(ada), f"bookings/{late.pk}/confirm/")) == (409, "already_begun")
        assert summed(kim) == 0


class TestWhose:
    def test_p10_is_nobody_else_s(self, kim: User, ada: User) -> None:
        booking = requested(kim, ada)
        for stranger in (appointments.clients(1)[0], practice(), UserFactory.create(is_superuser=True, is_staff=True)):
            theirs = signed(stranger)
            assert theirs.get("/api/v1/bookings/").json()["results"] == []
            for step in ("confirm", "cancel"):
                assert code(post(theirs, f"bookings/{booking.pk}/{step}/")) == (404, "not_found")
        for person in (kim, ada):
            (seen,) = signed(person).get("/api/v1/bookings/").json()["results"]
            assert (seen["id"], seen["therapist"]["full_name"]) == (booking.pk, ada.full_name)

    def test_p10_only_clients_ask_and_only_for_approved_therapists(self, kim: User, ada: User) -> None:
        for person in (ada, UserFactory.create(is_staff=True, user_type="staff")):
            asked = post(signed(person), "bookings/", therapist_id=practice().pk, **slot())
            assert code(asked) == (403, "not_a_client")
        pending = practice(status="pending", approved_at=None).pk
        gone = practice().pk
        User.objects.filter(pk=gone).update(is_active=False)
        for nobody in (pending, gone, kim.pk, 999_999, 2**62):
            asked = post(signed(kim), "bookings/", therapist_id=nobody, **slot())
            assert code(asked) == (409, "therapist_unavailable")
            assert asked.json()["errors"][0]["field"] == "therapist_id"
        assert not Booking.objects.exists()

    def test_lists_a_page_with_two_questions(self, kim: User, ada: User, django_assert_num_queries: Any) -> None:
        for hour in range(3):
            requested(kim, ada, hour)
        theirs = signed(kim)
        # The session, its user, the page, the names.
        with django_assert_num_queries(4):
            assert len(theirs.get("/api/v1/bookings/").json()["results"]) == 3

    def test_waits_in_no_greater_number_than_allowed(self, kim: User, ada: User, settings: Any) -> None:
        settings.BOOKINGS_OPEN_MOST = 2
        answers = [post(signed(kim), "bookings/", therapist_id=ada.pk, **slot(hour)) for hour in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert answers[-1].json()["code"] == "too_many_requests"


class TestADecision:
    def test_p6_against_the_therapist_ends_what_is_ahead_gives_back_what_was_paid_and_names_it(
        self, kim: User, ada: User
    ) -> None:
        granted(kim, 2)
        begun, paid, held, elsewhere = (
            requested(kim, one, hour) for hour, one in enumerate((ada, ada, ada, practice()))
        )
        for booking in (begun, paid):
            assert post(signed(ada), f"bookings/{booking.pk}/confirm/").status_code == 200
        now, hour = timezone.now(), dt.timedelta(hours=1)
        Booking.objects.filter(pk=begun.pk).update(during=(now - hour, now + hour))
        lead = signed(User.objects.create_superuser("root@example.org", "x"))
        path = f"/api/v1/enrollments/{Enrollment.objects.get(user=ada).pk}/decision/"
        send = partial(lead.post, path, {"decision": "suspend"}, "application/json", headers={"Idempotency-Key": "k"})
        for _ in range(2):
            assert send().json()["data"]["cancelled_bookings"] == [paid.pk, held.pk]
            # What was never stored is composed anew, and names them too.
            KeyedRequest.objects.filter(key="k").update(status=None, headers=None, body=None, at=now - hour)
        states = dict(Booking.objects.values_list("pk", "state"))
        assert states == {begun.pk: "confirmed", paid.pk: "cancelled", held.pk: "cancelled", elsewhere.pk: "requested"}
        assert (summed(kim), appointments.paid_for()) == (1, 1)
        lines = (
            History.objects.filter(action="booking_cancelled").order_by("object_id").values_list("object_id", "actor")
        )
        assert set(lines) == {
            (str(row.pk), f"user:{User.objects.get(email='root@example.org').pk}") for row in (paid, held)
        }
        # Nothing comes back with an approval, and the time is free.
        approval.approve_therapist(enrollment_id=Enrollment.objects.get(user=ada).pk, by="user:1", at=timezone.now())
        requested(kim, ada, 1)

    def test_says_at_the_desk_how_many_it_ended(self, kim: User, ada: User, admin_client: Client) -> None:
        page = f"/admin/therapists/enrollment/{Enrollment.objects.get(user=ada).pk}/"
        for number, words in ((1, "One booking ahead was cancelled."), (2, "2 bookings ahead were cancelled.")):
            for hour in range(number):
                requested(kim, ada, hour)
            told = admin_client.post(f"{page}decide/", {"decision": "reject", "reason": ""}, follow=True)
            assert words in told.content.decode()


class TestWhichTime:
    def ask(self, kim: User, ada: User, start: str, end: str, **more: object) -> Any:
        return post(signed(kim), "bookings/", therapist_id=ada.pk, starts_at=start, ends_at=end, **more)

    def test_may_begin_as_another_ends_and_not_a_moment_before(self, kim: User, ada: User) -> None:
        noon = (timezone.now() + dt.timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
        hour, moment = dt.timedelta(hours=1), dt.timedelta(microseconds=1)

        def at(start: dt.datetime, end: dt.datetime) -> int:
            return int(self.ask(kim, ada, start.isoformat(), end.isoformat()).status_code)

        assert at(noon, noon + hour) == 201
        assert (at(noon + hour, noon + 2 * hour), at(noon - hour, noon)) == (201, 201)
        overlapping = [
            (noon, noon + hour), (noon - moment, noon + hour), (noon + hour / 4, noon + hour / 2),
            (noon - 2 * hour, noon - hour + moment), (noon + 2 * hour - moment, noon + 3 * hour),
            (noon - 3 * hour, noon + 4 * hour),
        ]  # fmt: skip
        assert [at(*times) for times in overlapping] == [409] * len(overlapping)
        elsewhere = practice()
        assert self.ask(kim, elsewhere, noon.isoformat(), (noon + hour).isoformat()).status_code == 201
        first = Booking.objects.filter(therapist_id=ada.pk).earliest("pk")
        assert post(signed(ada), f"bookings/{first.pk}/cancel/").status_code == 200
        assert at(noon, noon + hour) == 201

    def test_p6_programs_that_write_sql_are_held_to_it_too(self, kim: User, ada: User) -> None:
        requested(kim, ada)
        with pytest.raises(IntegrityError, match="booking_slots_apart"):
            requested(kim, ada)
        for columns in (
            "state = 'confirmed'",
            "during = 'empty'",
            "during = '[2027-01-01,)'",
            "client_id = therapist_id",
        ):
            with pytest.raises(IntegrityError):
                fakes.sql(f"UPDATE bookings SET {columns}")

    def test_is_the_same_moment_in_whatever_offset_it_is_said(self, kim: User, ada: User) -> None:
        day = (timezone.now() + dt.timedelta(days=3)).date().isoformat()
        made = self.ask(kim, ada, f"{day}T10:00:00+05:30", f"{day}T11:00:00+05:30", time_zone="Asia/Kolkata")
        told = made.json()["data"]
        assert (told["starts_at"], told["ends_at"]) == (f"{day}T04:30:00Z", f"{day}T05:30:00Z")
        assert (told["time_zone"], told["local_starts_at"]) == ("Asia/Kolkata", f"{day}T10:00:00+05:30")
        again = self.ask(kim, ada, f"{day}T04:30:00Z", f"{day}T05:30:00Z")
        assert code(again) == (409, "slot_taken")

    def test_is_told_by_the_clock_of_its_zone_also_where_that_is_put_back(self, kim: User, ada: User) -> None:
        """On the night in October half past two comes twice, an hour apart: two bookings."""
        day = next_autumn()
        first = self.ask(kim, ada, f"{day}T02:30:00+02:00", f"{day}T02:59:00+02:00", time_zone="Europe/Berlin")
        second = self.ask(kim, ada, f"{day}T02:30:00+01:00", f"{day}T02:59:00+01:00", time_zone="Europe/Berlin")
        told = [answer.json()["data"] for answer in (first, second)]
        assert [one["starts_at"] for one in told] == [f"{day}T00:30:00Z", f"{day}T01:30:00Z"]
        assert [one["local_starts_at"] for one in told] == [f"{day}T02:30:00+02:00", f"{day}T02:30:00+01:00"]
        across = self.ask(kim, ada, f"{day}T02:50:00+02:00", f"{day}T02:40:00+01:00", time_zone="Europe/Berlin")
        assert code(across) == (409, "slot_taken")

    def test_is_refused_where_it_cannot_be(self, kim: User, ada: User) -> None:
        day = (timezone.now() + dt.timedelta(days=3)).date().isoformat()
        for start, end, field in (
            (f"{day}T10:00:00", f"{day}T11:00:00", "starts_at"),
            (day, day, "starts_at"),
            ("soon", f"{day}T11:00:00Z", "starts_at"),
            (f"{day}T11:00:00Z", f"{day}T10:00:00Z", "ends_at"),
            (f"{day}T11:00:00Z", f"{day}T11:04:59Z", "ends_at"),
            (f"{day}T10:00:00Z", f"{day}T18:00:01Z", "ends_at"),
            ("2020-01-01T10:00:00Z", "2020-01-01T11:00:00Z", "starts_at"),
            ("9999-12-31T22:00:00-10:00", "9999-12-31T23:00:00-10:00", "starts_at"),
            ("2999-01-01T10:00:00Z", "2999-01-01T11:00:00Z", "starts_at"),
        ):
            answer = self.ask(kim, ada, start, end)
            assert answer.status_code == 400, (start, end)
            assert field in {fault["field"] for fault in answer.json()["errors"]}
        assert self.ask(kim, ada, *slot().values(), time_zone="Mars/Base").status_code == 400
        assert self.ask(kim, ada, *slot().values(), state="confirmed").status_code == 400
        assert not Booking.objects.exists()


def next_autumn() -> dt.date:
    """Find the next day, some days off, on which clocks in Berlin are put back at one o'clock UTC."""
    day = dt.datetime.now(tz=dt.UTC).replace(hour=0) + dt.timedelta(days=3)
    while day.astimezone(BERLIN).utcoffset() <= (day + dt.timedelta(hours=3)).astimezone(BERLIN).utcoffset():  # type: ignore[operator]
        day += dt.timedelta(days=1)
    return day.date()


class TestWhoIsErased:
    def test_gives_their_time_and_everybody_s_credits_back(self, kim: User, ada: User) -> None:
        granted(kim, 3)
        other = appointments.clients(1)[0]
        mine, theirs = requested(kim, ada), requested(other, ada, 2)
        granted(other, 1)
        for row in (mine, theirs):
            assert post(signed(ada), f"bookings/{row.pk}/confirm/").status_code == 200
        erasure.erase(subject=erasure.find(person_id=kim.pk), by="user:1", at=timezone.now())
        assert list(Booking.objects.values_list("pk", flat=True)) == [theirs.pk]
        assert (summed(kim), summed(other)) == (3, 0)
        erasure.erase(subject=erasure.find(person_id=ada.pk), by="user:1", at=timezone.now())
        theirs.refresh_from_db()
        assert (theirs.state, summed(other)) == (BookingState.CANCELLED, 1)
        (seen,) = signed(other).get("/api/v1/bookings/").json()["results"]
        assert seen["therapist"] == {"person_id": ada.pk, "full_name": None}

    def test_and_who_was_deleted_by_sql_holds_nobody_up(self, kim: User, ada: User) -> None:
        granted(kim, 1)
        gone, left = requested(kim, ada), requested(kim, practice())
        fakes.sql("DELETE FROM users WHERE id = %s", ada.pk)
        assert post(signed(kim), f"bookings/{gone.pk}/cancel/").status_code == 200
        therapist = signed(User.objects.get(pk=left.therapist_id))
        fakes.sql("DELETE FROM users WHERE id = %s", kim.pk)
        assert code(post(therapist, f"bookings/{left.pk}/confirm/")) == (409, "client_unavailable")


def test_anonymous_callers_are_told_to_sign_in(client: Client) -> None:
    for path in ("bookings/", "credits/"):
        assert client.get(f"/api/v1/{path}").status_code == 401
