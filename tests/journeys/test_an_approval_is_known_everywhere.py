"""Staff decide about an enrollment: authority is read from the source at once, and every copy of it follows."""

import pytest
from django.db import IntegrityError
from django.utils import timezone

from interventions.models import History
from sync import tasks
from tests import fakes
from tests.factories import Cast, EnrollmentFactory, UserFactory
from therapists import approval
from therapists.approval import Decision
from therapists.models import Enrollment, Profile, Status, User


@pytest.fixture
def applicant(cast: Cast) -> User:
    person: User = UserFactory.create(full_name="Gil Navarro")
    EnrollmentFactory.create(user=person, status=Status.PENDING, approved_at=None)
    fakes.settled()
    return person


def decide(person: User, decision: Decision) -> Enrollment:
    return approval.decide(
        enrollment_id=Enrollment.objects.get(user=person).pk,
        decision=decision,
        reason="",
        by="user:1",
        at=timezone.now(),
    ).enrollment


def is_known(person: User, status: Status) -> bool:
    person.refresh_from_db()
    profile = Profile.objects.get(user=person)
    return person.is_verified == (status == Status.APPROVED) and profile.verification_status == status


def test_an_approved_applicant_is_verified_in_every_place(applicant: User, layers: str) -> None:
    decide(applicant, Decision.APPROVE)
    assert Enrollment.objects.get(user=applicant).status == Status.APPROVED
    assert not {person for person, _ in fakes.silently_behind()} & {applicant.pk}
    tasks.sweep()
    assert is_known(applicant, Status.APPROVED)
    assert Profile.objects.get(user=applicant).bio == Enrollment.objects.get(user=applicant).bio
    assert set(fakes.states(applicant.pk).values()) == {"in_sync"}
    line = History.objects.get(object_type="enrollment")
    assert (line.action, line.from_state, line.to_state) == ("approve", "pending", "approved")


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.SUSPEND])
def test_p10_who_is_turned_away_is_verified_nowhere(cast: Cast, layers: str, decision: Decision) -> None:
    decide(cast.ada, decision)
    tasks.sweep()
    assert is_known(cast.ada, approval.STATUS_AFTER[decision])


def test_p3_a_profile_that_cannot_be_made_does_not_undo_the_decision(applicant: User, layers: str) -> None:
    with fakes.refusing("therapist_profiles", "views < 0"):
        decide(applicant, Decision.APPROVE)
        tasks.sweep()
        applicant.refresh_from_db()
        assert applicant.is_verified
        assert fakes.states(applicant.pk)["therapist_profiles"] == "blocked"
    approval.approve_therapist(enrollment_id=Enrollment.objects.get(user=applicant).pk, by="user:1", at=timezone.now())
    tasks.sweep()
    assert is_known(applicant, Status.APPROVED)


def test_p6_a_decision_that_cannot_be_written_down_is_not_taken(cast: Cast, layers: str) -> None:
    refusing = fakes.refusing("intervention_history", "action <> 'reject'")
    with refusing, pytest.raises(IntegrityError, match="refused_on_purpose"):
        decide(cast.ada, Decision.REJECT)
    assert Enrollment.objects.get(user=cast.ada).status == Status.APPROVED
    assert is_known(cast.ada, Status.APPROVED)
