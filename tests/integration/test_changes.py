"""Which facts of a person changed when and by whom: every writer is named, no value is kept, and nobody pays for it."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions.correlation import request_id
from sync import changes, triggers
from tests import fakes
from tests.factories import Cast, therapist, therapists
from therapists import erasure, operations
from therapists.mirrors import DECLARATION, ENROLLMENTS, PROFILES, USERS
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada(transactional_db: None) -> User:
    person = therapist("Ada Quist")
    fakes.settled()
    return person


@pytest.fixture
def role(transactional_db: None) -> str:
    """Whom the database names where nobody says who writes."""
    return f"sql:{fakes.sql('SELECT session_user')[0][0]}"


def known(person: User) -> dict[tuple[str, str], str]:
    """Give by fact and place who changed it last."""
    return {(change.fact, change.place): change.actor for change in changes.newest(person.pk)}


class TestEveryWriterIsNamed:
    def test_whoever_edits_through_the_application_with_the_request(self, ada: User) -> None:
        token = request_id.set("req-1")
        try:
            operations.edit_profile(
                person_id=ada.pk, changes={"bio": "Anew.", "full_name": "Ada Q."}, by="user:42", at=timezone.now()
            )
        finally:
            request_id.reset(token)
        found = changes.newest(ada.pk)
        assert {(c.fact, c.place, c.actor, c.request_id) for c in found} == {
            ("bio", ENROLLMENTS, "user:42", "req-1"), ("name", USERS, "user:42", "req-1"),
        }  # fmt: skip
        assert all((timezone.now() - change.at).total_seconds() < 60 for change in found)

    def test_p4_a_program_that_writes_sql_by_its_role(self, ada: User, role: str) -> None:
        fakes.psql(f"UPDATE therapist_enrollments SET phone = '+44 1', status = 'rejected' WHERE user_id = {ada.pk}")
        Enrollment.objects.filter(user=ada).update(experience_years=3)
        assert known(ada) == {
            (fact, ENROLLMENTS): role for fact in ("phone", "verification", "experience_years")
        }  # fmt: skip

    def test_staff_at_the_desk(self, cast: Cast) -> None:
        cast.sam.user_permissions.add(*Permission.objects.filter(codename__in=("view_enrollment", "change_enrollment")))
        client = Client()
        client.force_login(User.objects.get(pk=cast.sam.pk))
        page = reverse("admin:therapists_enrollment_change", args=[cast.ada.enrollment.pk])
        form = client.get(page).context["adminform"].form
        words = {name: form[name].value() or "" for name in form.fields}
        words |= {f"initial-{name}": value for name, value in words.items()}
        answer = client.post(page, words | {"bio": "By Sam."})
        assert answer.status_code == 302
        assert known(cast.ada)["bio", ENROLLMENTS] == f"user:{cast.sam.pk}"
        text = client.get(page).content.decode()
        assert "What changed last" in text
        assert ">Sam Reyes</td>" in text

    def test_whose_request_it_is(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.ada)
        answer = client.patch("/api/v1/therapists/me/", {"bio": "By Ada."}, "application/json")
        assert answer.status_code == 200
        (change,) = [c for c in changes.newest(cast.ada.pk) if c.fact == "bio"]
        assert (change.actor, change.request_id) == (f"user:{cast.ada.pk}", answer.headers["X-Request-ID"])

    def test_who_wrote_into_a_copy_past_its_source(self, ada: User, role: str) -> None:
        fakes.psql(f"UPDATE therapist_profiles SET bio = 'Past it.' WHERE user_id = {ada.pk}")
        (change,) = changes.newest(ada.pk)
        assert (change.fact, change.place, change.actor, change.is_replaced) == ("bio", PROFILES, role, True)

    def test_one_of_many_in_one_statement(self, role: str) -> None:
        people = therapists(210)
        Enrollment.objects.update(bio="All.")
        assert {known(person)["bio", ENROLLMENTS] for person in people} == {role}

    def test_a_later_transaction_is_not_taken_for_the_one_before(self, ada: User, role: str) -> None:
        operations.edit_profile(person_id=ada.pk, changes={"bio": "Anew."}, by="user:42", at=timezone.now())
        Enrollment.objects.filter(user=ada).update(phone="+44 2")
        assert known(ada) == {("bio", ENROLLMENTS): "user:42", ("phone", ENROLLMENTS): role}


class TestWhatIsNoChange:
    def test_is_not_listed(self, ada: User) -> None:
        Profile.objects.filter(user=ada).update(views=7)
        Enrollment.objects.filter(user=ada).update(bio=ada.enrollment.bio)
        User.objects.filter(pk=ada.pk).update(last_login=timezone.now())
        assert changes.newest(ada.pk) == []

    def test_copies_are_none(self, ada: User, layers: str) -> None:
        User.objects.filter(pk=ada.pk).update(avatar_url="/media/avatars/second.webp")
        fakes.settled()
        assert fakes.avatars(ada) == {"/media/avatars/second.webp"}
        assert set(known(ada)) == {("avatar", USERS)}

    def test_what_was_undone_is_none(self, ada: User) -> None:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Enrollment.objects.filter(user=ada).update(bio="Never.")
            raise ZeroDivisionError
        assert changes.newest(ada.pk) == []


class TestNothingIsTold:
    def test_of_what_a_fact_says(self, ada: User) -> None:
        secret = "zebra-in-the-attic"
        for statement in (
            "users SET full_name",
            "users SET email",
            "therapist_enrollments SET bio",
            "therapist_enrollments SET phone",
        ):
            key = "id" if statement.startswith("users") else "user_id"
            fakes.sql(f"UPDATE {statement} = '{secret}@example.org' WHERE {key} = {ada.pk}")
        told = [fakes.sql(f"SELECT last_changes::text FROM {table.name}") for table in DECLARATION.tables]
        assert secret not in json.dumps(told)
        assert {fact for fact, _ in known(ada)} == {"name", "email", "bio", "phone"}

    def test_once_the_person_is_erased(self, ada: User) -> None:
        Enrollment.objects.filter(user=ada).update(bio="Anew.")
        erasure.erase(subject=erasure.find(person_id=ada.pk), by="user:1", at=timezone.now())
        assert changes.newest(ada.pk) == []


class TestAWrite:
    def test_p3_is_saved_also_where_changes_cannot_be_written_down(self, ada: User) -> None:
        fakes.sql("ALTER TABLE therapist_enrollments RENAME COLUMN last_changes TO elsewhere")
        try:
            Enrollment.objects.filter(user=ada).update(bio="Saved.")
            assert Enrollment.objects.get(user=ada).bio == "Saved."
        finally:
            fakes.sql("ALTER TABLE therapist_enrollments RENAME COLUMN elsewhere TO last_changes")
        fakes.settled()
        assert fakes.silently_behind() == set()

    @pytest.mark.parametrize("name", ["user:1'; DROP TABLE users; --", "user 1", "x" * 81])
    def test_is_not_signed_with_what_is_no_name(self, transactional_db: None, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be signed"):
            changes.signature(name)

    def test_that_is_signed_costs_no_round_trip_more(self, ada: User, django_assert_num_queries: Any) -> None:
        assert changes.signature("user:1").startswith("; ")
        with django_assert_num_queries(0):
            changes.signature("user:1")


def test_the_page_says_so_where_it_cannot_be_read(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.vic)
    page = reverse("admin:therapists_user_change", args=[cast.ada.pk])
    assert "has changed since Keepwell began to write that down" in client.get(page).content.decode()
    with fakes.locked_table("sync_lost_value"):
        text = client.get(page).content.decode()
    assert "Cannot be read right now." in text
    assert "What was replaced here cannot be read right now." in text


def test_the_columns_come_with_the_net(transactional_db: None) -> None:
    triggers.install()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.columns WHERE column_name = 'last_changes'")
        assert cursor.fetchone() == (len(DECLARATION.tables),)
