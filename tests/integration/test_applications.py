"""Applications: anybody may apply, and learns nothing about anybody by it."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from interventions.models import History
from sync import tasks
from tests import appointments, fakes
from tests.factories import EnrollmentFactory, UserFactory
from therapists.models import EmailAlias, Enrollment, Status
from therapists.roles import LEAD

PATH = "/api/v1/applications/"
WORDS = {"full_name": "Nia Bell", "email": "nia@example.org", "bio": "Ten years.", "experience_years": 10}

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def anybody() -> Client:
    """Nobody who is signed in, and without a token."""
    return Client(enforce_csrf_checks=True)


def apply(client: Client, **words: object) -> Any:
    return client.post(PATH, WORDS | words, "application/json")


def test_becomes_a_pending_enrollment_that_staff_see_and_decide(anybody: Client) -> None:
    answer = apply(anybody)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["success"], body["degraded"], body["data"]) == (True, False, {"email": "nia@example.org"})
    row = Enrollment.objects.get()
    assert (row.user, row.email, row.full_name, row.bio, row.experience_years) == (
        None, "nia@example.org", "Nia Bell", "Ten years.", 10
    )  # fmt: skip
    assert (row.status, row.approved_at) == (Status.PENDING, None)
    (line,) = History.objects.filter(object_type="enrollment", object_id=str(row.pk))
    assert (line.actor, line.action, line.to_state) == ("applicant", "applied", "pending")
    lead = UserFactory.create(is_staff=True)
    lead.groups.add(Group.objects.get(name=LEAD))
    desk = appointments.signed(lead)
    (seen,) = desk.get("/api/v1/enrollments/?status=pending").json()["results"]
    assert (seen["id"], seen["person_id"]) == (row.pk, None)
    assert (
        appointments.post(desk, f"enrollments/{row.pk}/decision/", decision="reject", reason="No licence.").status_code
        == 200
    )
    row.refresh_from_db()
    assert row.status == Status.REJECTED
    # The directory is for therapists with a user.
    assert anybody.get("/api/v1/directory/").json()["results"] == []


def test_links_to_the_user_with_the_address_by_the_rules_of_every_enrollment(anybody: Client) -> None:
    nia = UserFactory.create(email="Nia@Example.org", full_name="Nia")
    assert apply(anybody).status_code == 202
    tasks.link()
    fakes.settled()
    row = Enrollment.objects.get()
    assert (row.user_id, row.status) == (nia.pk, Status.PENDING)


def test_p10_the_answer_is_the_same_whoever_is_known(anybody: Client) -> None:
    unknown = apply(anybody)
    assert Enrollment.objects.count() == 1
    EnrollmentFactory.create(user=UserFactory.create(email="known@example.org"))
    moved = UserFactory.create(email="now@example.org")
    EnrollmentFactory.create(user=moved)
    EmailAlias.objects.create(person_id=moved.pk, email="once@example.org", email_norm="once@example.org")
    there = list(Enrollment.objects.order_by("pk").values())
    for address in ("nia@example.org", " NIA@example.org ", "Known@Example.ORG", "once@example.org", "now@example.org"):
        answer = apply(anybody, email=address, bio="A stranger's words.", full_name="Somebody Else")
        assert answer.status_code == unknown.status_code
        assert answer.json() == unknown.json() | {"data": {"email": address.strip()}}
        assert answer.headers.keys() == unknown.headers.keys()
    assert list(Enrollment.objects.order_by("pk").values()) == there


def test_takes_no_more_than_an_applicant_may_say(anybody: Client) -> None:
    for words in (
        {"status": "approved"}, {"user_id": 1}, {"approved_at": "2026-01-01T00:00Z"}, {"profile_image_url": "/x"},
        {"email": "nobody"}, {"email": None}, {"full_name": ""}, {"experience_years": 200}, {"bio": "x" * 10_001},
    ):  # fmt: skip
        answer = apply(anybody, **words)
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert anybody.post(PATH, {"email": "a@example.org"}, "application/json").status_code == 400
    assert not Enrollment.objects.exists()


def test_of_one_address_at_once_makes_one() -> None:
    answers = appointments.at_once([lambda: apply(Client(), email="Twice@example.org")] * 6)
    assert {answer.status_code for answer in answers} == {202}
    assert Enrollment.objects.count() == 1
