"""A therapist edits their profile: it is saved, the public profile follows, and a broken place is told, not suffered."""

import pytest
from django.db import IntegrityError
from django.utils import timezone

from interventions.models import Intervention
from sync import tasks
from tests import fakes
from tests.factories import Cast
from therapists import operations
from therapists.models import Enrollment, Profile, User

CHANGES = {"full_name": "Ada Quist-Lund", "bio": "New words.", "experience_years": 13, "phone": "+44 20 7946 0111"}


def edit(person: User, **changes: object) -> Enrollment:
    return operations.edit_profile(
        person_id=person.pk, changes=changes or CHANGES, by=f"user:{person.pk}", at=timezone.now()
    )


def test_the_edit_is_the_same_everywhere_once_the_workers_are_quiet(cast: Cast, layers: str) -> None:
    edit(cast.ada)
    assert fakes.silently_behind() <= {(cast.ben.pk, "therapist_profiles")}
    tasks.sweep()
    row = Profile.objects.select_related("user__enrollment").get(user=cast.ada)
    assert row.user is not None
    assert (row.user.full_name, row.user.enrollment.full_name) == ("Ada Quist-Lund",) * 2
    assert (row.bio, row.experience_years, row.phone) == ("New words.", 13, "+44 20 7946 0111")
    assert set(fakes.states(cast.ada.pk).values()) == {"in_sync"}


def test_no_layer_alone_makes_anybody_wait_for_a_worker(cast: Cast, layers: str) -> None:
    edit(cast.ada)
    assert Profile.objects.get(user=cast.ada).bio == "New words."
    assert set(fakes.states(cast.ada.pk).values()) == {"in_sync"}


def test_a_place_that_refuses_is_owed_told_and_mended(cast: Cast, layers: str) -> None:
    with fakes.refusing("therapist_profiles", "bio <> 'New words.'"):
        edit(cast.ada)
        assert Enrollment.objects.get(user=cast.ada).bio == "New words."
        tasks.sweep()
        assert fakes.states(cast.ada.pk) == {
            "users": "in_sync", "therapist_enrollments": "in_sync", "therapist_profiles": "blocked",
        }  # fmt: skip
        assert Intervention.objects.get(person_id=cast.ada.pk).target == "therapist_profiles"
    tasks.sweep()
    assert Intervention.objects.get(person_id=cast.ada.pk).resolution == "auto"
    assert Profile.objects.get(user=cast.ada).bio == "New words."


def test_nothing_is_half_done_when_the_edit_itself_is_refused(cast: Cast, layers: str) -> None:
    refusing = fakes.refusing("therapist_enrollments", "bio <> 'New words.'")
    with refusing, pytest.raises(IntegrityError, match="refused_on_purpose"):
        edit(cast.ada)
    cast.ada.refresh_from_db()
    assert cast.ada.full_name == "Ada Quist"
    assert set(fakes.states(cast.ada.pk).values()) == {"in_sync"}
