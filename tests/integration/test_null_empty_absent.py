"""Set to null, empty and absent are three things, for every mirror: the first two are copied, the third is not touched."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from tests import fakes
from tests.factories import therapist
from therapists.mirrors import DECLARATION
from therapists.models import Enrollment, Profile, User

U, E, P = "users", "therapist_enrollments", "therapist_profiles"
# (fact, the source's table and column, what is written, what each copy says then); REFUSED: the source has no such value.
REFUSED = object()
CASES: list[tuple[str, str, str, Any, dict[tuple[str, str], Any]]] = [
    ("name", U, "full_name", None, {(E, "full_name"): REFUSED}),
    ("name", U, "full_name", "", {(E, "full_name"): ""}),
    ("bio", E, "bio", None, {(P, "bio"): None}),
    ("bio", E, "bio", "", {(P, "bio"): ""}),
    ("experience_years", E, "experience_years", None, {(P, "experience_years"): None}),
    ("experience_years", E, "experience_years", 0, {(P, "experience_years"): 0}),
    ("phone", E, "phone", None, {(P, "phone"): None}),
    ("phone", E, "phone", "", {(P, "phone"): ""}),
    ("specialization", E, "specialization", None, {(P, "specialization"): None}),
    ("specialization", E, "specialization", "", {(P, "specialization"): []}),
    ("specialization", E, "specialization", " ; ,\n", {(P, "specialization"): []}),
    ("verification", E, "status", None, {(P, "verification_status"): REFUSED}),
    ("verification", E, "status", "", {(P, "verification_status"): REFUSED}),
    ("avatar", E, "profile_image_url", None, {(U, "avatar_url"): None, (P, "profile_image_url"): None}),
    ("avatar", U, "avatar_url", "", {(E, "profile_image_url"): "", (P, "profile_image_url"): ""}),
    ("avatar", P, "profile_image_url", None, {(E, "profile_image_url"): None, (U, "avatar_url"): None}),
]


def value(table: str, column: str, person: User) -> Any:
    return fakes.sql(f"SELECT {column} FROM {table} WHERE {'id' if table == U else 'user_id'} = %s", person.pk)[0][0]


@pytest.fixture
def ada(transactional_db: None) -> User:
    person = therapist("Ada Quist", specialization="CBT, DBT")
    fakes.settled()
    return person


@pytest.mark.parametrize(
    ("fact", "table", "column", "written", "copies"), CASES, ids=[f"{c[0]}-{c[1]}-{c[3]!r}" for c in CASES]
)
def test_null_and_empty_are_values_like_any_other(
    ada: User, layers: str, fact: str, table: str, column: str, written: Any, copies: dict[tuple[str, str], Any]
) -> None:
    statement = f"UPDATE {table} SET {column} = %s WHERE {'id' if table == U else 'user_id'} = %s"
    if REFUSED in copies.values():
        with pytest.raises(IntegrityError), transaction.atomic():
            fakes.sql(statement, written, ada.pk)
        return
    fakes.sql(statement, written, ada.pk)
    fakes.settled()
    assert {place: value(*place, ada) for place in copies} == copies
    assert fakes.behind() == set()


def test_every_mirror_has_its_cases() -> None:
    told = {mirror.fact for mirror in DECLARATION.mirrors}
    # The address is unique and never empty; its own tests say what a clash does.
    assert told - {"email"} == {case[0] for case in CASES}


class TestAbsent:
    def test_a_source_row_that_is_absent_says_nothing_and_empties_nothing(self, ada: User, layers: str) -> None:
        facts = ("bio", "experience_years", "phone", "specialization", "verification_status", "profile_image_url")
        before = Profile.objects.values_list(*facts).get(user=ada)
        fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = %s", ada.pk)
        fakes.settled()
        assert Profile.objects.values_list(*facts).get(user=ada) == before
        assert fakes.states(ada.pk)["therapist_enrollments"] == "excluded"

    def test_a_row_that_comes_back_says_again_what_it_says(self, ada: User, layers: str) -> None:
        fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = %s", ada.pk)
        fakes.settled()
        Enrollment.objects.create(user=ada, email=ada.email, full_name=ada.full_name, bio=None, specialization="")
        fakes.settled()
        row = Profile.objects.get(user=ada)
        assert (row.bio, row.phone, row.specialization, row.verification_status) == (None, None, [], "pending")

    def test_a_copy_row_that_is_absent_and_not_expected_is_no_failure(self, ada: User, layers: str) -> None:
        Enrollment.objects.filter(user=ada).update(status="pending")
        Profile.objects.filter(user=ada).delete()
        Enrollment.objects.filter(user=ada).update(bio=None, specialization="EMDR")
        fakes.settled()
        assert fakes.states(ada.pk)["therapist_profiles"] == "excluded"
        Profile.objects.create(user=ada, bio="of its own")
        fakes.settled()
        assert (value(P, "bio", ada), value(P, "specialization", ada)) == (None, ["EMDR"])
