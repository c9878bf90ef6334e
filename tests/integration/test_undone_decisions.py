"""A decision about two enrollments of one address keeps what it changed: it is read back, and undone as it was."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from interventions.models import History, Intervention
from tests import appointments, fakes
from tests.factories import UserFactory, therapist
from therapists import decisions, duplicates, erasure, identity
from therapists.duplicates import ChangedMeanwhile, Choice, DecidedAlready
from therapists.models import DecidedRow, Enrollment, Profile, Status
from therapists.roles import LEAD, OPERATOR, sync_groups

pytestmark = pytest.mark.django_db(transaction=True)
Settle = Callable[..., int]
Pair = tuple[Enrollment, Enrollment]
PICKS = dict.fromkeys(("phone", "bio", "status", "experience_years", "specialization"), "b")


@pytest.fixture
def pair(settled: Settle) -> Pair:
    """Ada's linked enrollment, and a later one of the same address with other facts."""
    ada = therapist("Ada Quist", status=Status.REJECTED, approved_at=None)
    settled()
    second = Enrollment.objects.create(
        email=ada.email, full_name="Ada", bio="The other bio.", phone="+44 1632 960000", status=Status.APPROVED,
        approved_at=dt.datetime(2026, 3, 1, 12, 0, 0, 123_457, tzinfo=dt.UTC), specialization="Ünusual, CBT",
    )  # fmt: skip
    settled()
    return Enrollment.objects.get(user=ada), second


def decide(pair: Pair, choice: Choice, picks: dict[str, str] | None = None) -> None:
    duplicates.decide(
        first_id=pair[0].pk, second_id=pair[1].pk, choice=choice, picks=picks or {},
        compared=identity.digest(*pair), by="user:7", at=timezone.now(),
    )  # fmt: skip


def stored() -> list[tuple[Any, ...]]:
    """Both rows as PostgreSQL has them, but for when, by which number and by whom they were written."""
    return fakes.sql(
        "SELECT to_jsonb(e) - '{updated_at,revision,net_revision,avatar_revision,last_changes}'::text[]"
        " FROM therapist_enrollments e ORDER BY id"
    )


@pytest.mark.parametrize("choice", list(Choice))
def test_p7_every_decision_is_undone_byte_for_byte(pair: Pair, choice: Choice, settled: Settle) -> None:
    before, item = stored(), identity.review(at=timezone.now())
    decide(pair, choice, PICKS if choice is Choice.MERGE else None)
    settled()
    assert stored() != before
    (change, _) = decisions.last(pair[0].pk)
    assert (change.choice, change.by) == (choice, "user:7")

    assert duplicates.undo(decision=change.decision, by="user:8", at=timezone.now()) == pair[0].user_id

    settled()
    assert stored() == before
    assert fakes.behind() == set()
    assert decisions.last(pair[0].pk) == []
    assert History.objects.filter(action="duplicate:undone", actor="user:8").count() == 2
    assert identity.review(at=timezone.now())[identity.DUPLICATE] == item[identity.DUPLICATE] == (1, 0)


def test_what_a_merge_replaced_can_be_read_back(pair: Pair) -> None:
    decide(pair, Choice.MERGE, {"bio": "b"})
    (kept, other) = sorted(decisions.last(pair[1].pk), key=lambda row: row.enrollment_id)
    assert (kept.before, kept.after) == ({"bio": "Twelve years with couples."}, {"bio": "The other bio."})
    assert (other.before, other.after) == ({"superseded_by": None}, {"superseded_by": str(pair[0].pk)})


def test_p2_nothing_is_undone_over_a_later_edit(pair: Pair) -> None:
    decide(pair, Choice.MERGE, {"bio": "b"})
    Enrollment.objects.filter(pk=pair[0].pk).update(bio="Edited since.")
    before = stored()
    with pytest.raises(ChangedMeanwhile):
        duplicates.undo(decision=decisions.last(pair[0].pk)[0].decision, by="user:8", at=timezone.now())
    assert stored() == before


def test_a_later_edit_of_another_fact_stays(pair: Pair) -> None:
    decide(pair, Choice.MERGE, {"bio": "b"})
    Enrollment.objects.filter(pk=pair[0].pk).update(phone="+44 1632 960123")
    duplicates.undo(decision=decisions.last(pair[0].pk)[0].decision, by="user:8", at=timezone.now())
    row = Enrollment.objects.get(pk=pair[0].pk)
    assert (row.bio, row.phone) == ("Twelve years with couples.", "+44 1632 960123")


@pytest.mark.parametrize("is_undone", [False, True])
def test_p6_who_is_not_approved_by_it_any_more_is_not_booked_any_more(pair: Pair, is_undone: bool) -> None:
    """By a merge that takes over the other row's status, and by the undo that gives a status back."""
    turned_away = pair[0] if is_undone else pair[1]
    Enrollment.objects.filter(pk=turned_away.pk).update(status=Status.SUSPENDED, approved_at=None)
    for row in pair:
        row.refresh_from_db()
    person = pair[0].user
    assert person
    (kim,) = appointments.clients(1)
    if is_undone:
        decide(pair, Choice.MERGE, {"status": "b"})
    booked = appointments.requested(kim, person)
    if is_undone:
        duplicates.undo(decision=decisions.last(pair[0].pk)[0].decision, by="user:8", at=timezone.now())
    else:
        decide(pair, Choice.MERGE, {"status": "b"})
    booked.refresh_from_db()
    assert booked.state == "cancelled"


def test_it_is_undone_once(pair: Pair) -> None:
    decide(pair, Choice.KEEP_B)
    decision = decisions.last(pair[0].pk)[0].decision
    duplicates.undo(decision=decision, by="user:8", at=timezone.now())
    with pytest.raises(DecidedAlready) as told:
        duplicates.undo(decision=decision, by="user:9", at=timezone.now())
    assert told.value.line is None or told.value.line.actor == "user:8"


def test_p9_what_was_changed_is_forgotten_after_its_time(pair: Pair) -> None:
    decide(pair, Choice.MERGE, PICKS)
    decisions.prune(at=timezone.now() + dt.timedelta(days=89))
    assert DecidedRow.objects.count() == 2
    decisions.prune(at=timezone.now() + dt.timedelta(days=91))
    assert not DecidedRow.objects.exists()


def test_an_erased_person_is_in_no_image(pair: Pair) -> None:
    decide(pair, Choice.MERGE, PICKS)
    erasure.erase(subject=erasure.find(person_id=pair[0].user_id), by="user:1", at=timezone.now())
    assert not DecidedRow.objects.exists()


def desk_of(role: str) -> Client:
    sync_groups()
    user = UserFactory.create(full_name="Lena Vogt", is_staff=True, user_type="staff")
    user.groups.set(Group.objects.filter(name=role))
    client = Client()
    client.force_login(user)
    return client


class TestThePage:
    def test_shows_what_was_changed_and_undoes_it(self, pair: Pair, settled: Settle) -> None:
        identity.review(at=timezone.now())
        decide(pair, Choice.MERGE, {"bio": "b"})
        lena, page = desk_of(LEAD), f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/"
        text = lena.get(page).content.decode()
        assert "Twelve years with couples." in text
        assert "The other bio." in text
        form = {"choice": "undo", "decision": str(decisions.last(pair[0].pk)[0].decision)}
        assert "Nothing was undone" in lena.post(page, form, follow=True).content.decode()
        assert (
            "Nothing was" in lena.post(page, form | {"decision": "x", "confirmed": "yes"}, follow=True).content.decode()
        )
        answer = lena.post(page, form | {"confirmed": "yes"}, follow=True).content.decode()
        assert "Undone: both are as they were before" in answer
        settled()
        assert Profile.objects.get(user=pair[0].user).bio == "Twelve years with couples."
        assert "claim the same address" in lena.get(page).content.decode()
        identity.review(at=timezone.now())
        assert Intervention.objects.filter(operation=identity.DUPLICATE, resolved=False).count() == 1

    def test_p10_is_for_leads_alone(self, pair: Pair) -> None:
        decide(pair, Choice.KEEP_A)
        page = f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/"
        client = desk_of(OPERATOR)
        assert "tell a lead" in client.get(page).content.decode()
        form = {"choice": "undo", "confirmed": "yes", "decision": str(decisions.last(pair[0].pk)[0].decision)}
        assert client.post(page, form).status_code == 403
        assert decisions.last(pair[0].pk)
