"""The public directory: who is approved, what is public of them, from the source and nothing else."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from tests import appointments, fakes
from tests.factories import Cast, EnrollmentFactory, UserFactory, therapist
from therapists.models import Enrollment, Profile, Status, User
from therapists.roles import LEAD

DIRECTORY = "/api/v1/directory/"
PUBLIC = {"id", "full_name", "bio", "experience_years", "specialization", "avatar_url"}

pytestmark = pytest.mark.usefixtures("transactional_db")


def listed(client: Client, query: str = "") -> list[int]:
    answer = client.get(DIRECTORY + query)
    assert answer.status_code == 200, answer.content
    return [entry["id"] for entry in answer.json()["results"]]


def test_p10_lists_who_is_approved_and_may_sign_in_and_nobody_else(client: Client) -> None:
    first, second = appointments.practice(), appointments.practice()
    for status in (Status.PENDING, Status.REJECTED, Status.SUSPENDED):
        EnrollmentFactory.create(status=status, approved_at=None)
    EnrollmentFactory.create(user=UserFactory.create(is_active=False))
    Enrollment.objects.create(email="lone@example.org", status=Status.APPROVED, approved_at="2026-01-01T00:00Z")
    assert listed(client) == [second.pk, first.pk]
    for person in User.objects.exclude(pk__in=(first.pk, second.pk)):
        assert client.get(f"{DIRECTORY}{person.pk}/").status_code == 404


def test_shows_what_is_public_and_nothing_else(client: Client) -> None:
    ada = appointments.practice(specialization="CBT, Anxiety", status_reason="checked by phone")
    answer = client.get(f"{DIRECTORY}{ada.pk}/")
    assert answer.json() == {
        "id": ada.pk, "full_name": ada.full_name, "bio": "Twelve years with couples.", "experience_years": 12,
        "specialization": "CBT, Anxiety", "avatar_url": None,
    }  # fmt: skip
    (entry,) = client.get(DIRECTORY).json()["results"]
    assert set(entry) == PUBLIC
    assert ada.email not in client.get(DIRECTORY).content.decode()
    for query in ("?cursor=rubbish", "?page_size=2&cursor=cD14"):
        assert client.get(DIRECTORY + query).status_code == 400


def test_p10_reads_the_source_whatever_its_copies_say(client: Client) -> None:
    person = therapist("Rae Jones", status=Status.REJECTED, approved_at=None)
    with fakes.asleep():
        User.objects.filter(pk=person.pk).update(is_verified=True)
        Profile.objects.filter(user=person).update(verification_status=Status.APPROVED, bio="Of the copy.")
    assert listed(client) == []
    with fakes.asleep():
        Enrollment.objects.filter(user=person).update(status=Status.APPROVED, approved_at="2026-01-01T00:00Z")
        User.objects.filter(pk=person.pk).update(is_verified=False)
    (entry,) = client.get(DIRECTORY).json()["results"]
    assert entry["bio"] == "Twelve years with couples."


def test_p10_whoever_is_rejected_is_let_in_nowhere_from_the_answer_on(cast: Cast, client: Client) -> None:
    """Also while no copy of the decision can be written."""
    customer = appointments.clients(1)[0]
    appointments.granted(customer, 1)
    waiting = appointments.requested(customer, cast.ada)
    lead = UserFactory.create(is_staff=True)
    lead.groups.add(Group.objects.get(name=LEAD))
    enrollment = Enrollment.objects.get(user=cast.ada)
    with fakes.locked_row("users", cast.ada.pk), fakes.locked_table("therapist_profiles"):
        decided = appointments.post(
            appointments.signed(lead), f"enrollments/{enrollment.pk}/decision/", decision="reject", reason="Licence."
        )
        assert (decided.status_code, decided.json()["degraded"]) == (200, True)
        assert client.get(f"{DIRECTORY}{cast.ada.pk}/").status_code == 404
        assert cast.ada.pk not in listed(client)
    with fakes.asleep():
        User.objects.filter(pk=cast.ada.pk).update(is_verified=True)
    asked = appointments.post(
        appointments.signed(customer), "bookings/", therapist_id=cast.ada.pk, **appointments.slot(5)
    )
    confirmed = appointments.post(appointments.signed(cast.ada), f"bookings/{waiting.pk}/confirm/")
    assert [(a.status_code, a.json()["code"]) for a in (asked, confirmed)] == [(409, "therapist_unavailable")] * 2
    assert appointments.summed(customer) == 1


def test_comes_in_pages_that_stay_as_they_were_while_others_come(client: Client) -> None:
    people = [appointments.practice().pk for _ in range(3)]
    first: Any = client.get(DIRECTORY + "?page_size=2").json()
    appointments.practice()
    rest = client.get(first["next"]).json()
    assert [entry["id"] for entry in first["results"] + rest["results"]] == people[::-1]
    assert "count" not in first


def test_may_be_kept_by_anybody_who_asks_whether_it_is_still_so(client: Client) -> None:
    ada = appointments.practice()
    for address in (DIRECTORY, f"{DIRECTORY}{ada.pk}/"):
        answer = client.get(address)
        assert answer["Cache-Control"] == "public, max-age=0, must-revalidate"
        assert "Cookie" not in answer.get("Vary", "")
        tag = answer["ETag"]
        again = client.get(address, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
        Enrollment.objects.filter(user=ada).update(bio=f"Another, for {address}.")
        assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


def test_reads_one_page_by_an_index(client: Client, django_assert_num_queries: Any) -> None:
    for _ in range(3):
        appointments.practice()
    with django_assert_num_queries(1) as caught:
        client.get(DIRECTORY)
    # Among three rows every index is as good as another.
    Enrollment.objects.bulk_create(Enrollment(email=f"applicant{number}@example.org") for number in range(400))
    fakes.sql("REINDEX TABLE therapist_enrollments")
    fakes.sql("ANALYZE therapist_enrollments")
    fakes.sql("SET enable_seqscan = off; SET enable_sort = off")
    try:
        plan = "\n".join(row[0] for row in fakes.sql(f"EXPLAIN {caught.captured_queries[0]['sql']}"))
    finally:
        fakes.sql("RESET enable_seqscan; RESET enable_sort")
    assert "enrollment_by_status" in plan
    assert "Sort" not in plan
