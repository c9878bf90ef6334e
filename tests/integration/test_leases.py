"""Leases: work outside a transaction is given to one at a time, and a late answer undoes nothing."""

import datetime as dt

import pytest
from django.utils import timezone

from sync import leases
from sync.leases import Lease
from sync.models import Ledger
from tests import fakes
from tests.factories import therapists

TARGET = "therapist_profiles"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def person() -> int:
    person = therapists(1)[0].pk
    Ledger.objects.create(
        person_id=person, target=TARGET, desired_revision=3, applied_revision=1, verified_revision=1,
        owed_since=timezone.now(), next_attempt_at=timezone.now(),
    )  # fmt: skip
    return person


def take(seconds: float = 60) -> list[Lease]:
    return leases.take(target=TARGET, owner="worker", limit=10, seconds=seconds)


def lapse() -> None:
    Ledger.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))


def row(person: int) -> Ledger:
    return Ledger.objects.get(person_id=person, target=TARGET)


def test_one_at_a_time_holds_a_lease(person: int) -> None:
    (lease,) = take()
    assert (lease.person_id, lease.revision) == (person, 3)
    assert take() == []
    assert fakes.states(person)[TARGET] == "leased"


def test_p1_settled_is_what_was_asked_for_when_the_lease_was_taken(person: int) -> None:
    (lease,) = take()
    assert leases.settle(lease, is_verified=True)
    settled = row(person)
    assert (settled.applied_revision, settled.verified_revision, settled.owed_since) == (3, 3, None)
    assert fakes.states(person)[TARGET] == "in_sync"


def test_p1_what_changes_during_the_call_stays_owed(person: int) -> None:
    (lease,) = take()
    Ledger.objects.update(desired_revision=4)
    assert leases.settle(lease, is_verified=False)
    settled = row(person)
    assert (settled.applied_revision, settled.verified_revision, settled.desired_revision) == (3, 1, 4)
    assert settled.owed_since is not None
    assert fakes.states(person)[TARGET] == "due"
    assert [again.revision for again in take()] == [4]


def test_p2_who_comes_back_late_is_refused(person: int) -> None:
    (late,) = take()
    lapse()
    (later,) = take()
    assert later.fence > late.fence
    assert not leases.settle(late, is_verified=True)
    assert not leases.hand_back(late)
    assert row(person).applied_revision == 1
    assert leases.settle(later, is_verified=True)
    assert not leases.settle(later, is_verified=True), "a lease is told of once"


def test_a_lease_that_is_handed_back_costs_nothing(person: int) -> None:
    (lease,) = take()
    assert leases.hand_back(lease)
    assert (row(person).crashes, row(person).attempts) == (0, 0)
    assert len(take()) == 1


def test_p9_a_crash_is_counted_before_the_work_starts(person: int) -> None:
    for crashes in (1, 2, 3):
        assert leases.poisoned(TARGET) == []
        take()
        assert row(person).crashes == crashes
        lapse()
    assert leases.poisoned(TARGET) == [(person, TARGET)]
    assert take() == []
