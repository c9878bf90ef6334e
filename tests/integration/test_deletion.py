"""Deletion: nothing comes back, nothing of the deleted goes to anybody else, and masses of it wait for a person."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from interventions.handlers import handler
from interventions.models import History, Intervention
from sync import deletion
from sync.models import Debt, Hold, Ledger, Tombstone
from tests import fakes
from tests.factories import Cast, UserFactory, therapist, therapists
from therapists import identity
from therapists.models import Enrollment, Profile, Status, User
from therapists.roles import LEAD, OPERATOR, sync_groups

pytestmark = pytest.mark.django_db(transaction=True)
Settle = Callable[..., int]


def carried_out(settled: Settle) -> deletion.Report:
    settled()
    return deletion.retire(at=timezone.now())


def live(operation: str) -> list[str]:
    return [str(i.entity_id) for i in Intervention.objects.filter(operation=operation, resolved=False)]


class TestADeletedUser:
    @pytest.mark.parametrize("by", ["orm", "sql"])
    def test_leaves_an_enrollment_without_a_user_and_a_quarantined_profile(
        self, cast: Cast, settled: Settle, by: str
    ) -> None:
        person = cast.ada.pk
        if by == "orm":
            cast.ada.delete()
        else:
            fakes.sql("DELETE FROM users WHERE id = %s", person)
        carried_out(settled)
        identity.review(at=timezone.now())
        assert Enrollment.objects.get(email="ada.quist@example.org").user_id is None
        profile = Profile.objects.get(bio="Twelve years with couples.", user=None)
        assert profile.quarantined_at is not None
        assert set(fakes.states(person).values()) == {"deleted"}
        assert live(identity.APPROVED_ALONE) == []
        assert not Ledger.objects.filter(person_id=person).exists()

    def test_p2_no_late_retry_brings_anything_back(self, cast: Cast, settled: Settle) -> None:
        person = cast.ada.pk
        with fakes.refusing("therapist_profiles", "bio <> 'Never.'"):
            Enrollment.objects.filter(user=cast.ada).update(bio="Never.")
            settled()
            assert Intervention.objects.filter(person_id=person, resolved=False).exists()
            fakes.sql("DELETE FROM users WHERE id = %s", person)
            carried_out(settled)
        assert not Intervention.objects.filter(person_id=person, resolved=False).exists()
        before = list(Enrollment.objects.order_by("pk").values()), list(Profile.objects.order_by("pk").values())
        handler().retry([(person, target) for target in ("users", "therapist_enrollments", "therapist_profiles")])
        carried_out(settled)
        after = list(Enrollment.objects.order_by("pk").values()), list(Profile.objects.order_by("pk").values())
        assert before == after
        assert not User.objects.filter(pk=person).exists()
        assert not Ledger.objects.filter(person_id=person).exists()
        assert not Debt.objects.filter(person_id=person).exists()

    def test_p10_leaves_nothing_to_whoever_comes_with_the_same_address(self, cast: Cast, settled: Settle) -> None:
        fakes.sql("DELETE FROM users WHERE id = %s", cast.ada.pk)
        carried_out(settled)
        other = UserFactory.create(email="Ada.Quist@example.org")
        carried_out(settled)
        other.refresh_from_db()
        assert not Enrollment.objects.filter(user=other).exists()
        assert not other.is_verified

    def test_who_is_restored_under_the_same_id_has_everything_again(self, cast: Cast, settled: Settle) -> None:
        person = cast.ada.pk
        fakes.sql("DELETE FROM users WHERE id = %s", person)
        carried_out(settled)
        UserFactory.create(pk=person, email="ada.quist@example.org")
        carried_out(settled)
        assert Enrollment.objects.filter(user_id=person).exists()
        assert "deleted" not in fakes.states(person).values()

    def test_p9_leaves_a_tombstone_for_its_time_alone(self, cast: Cast, settled: Settle) -> None:
        fakes.sql("DELETE FROM users WHERE id = %s", cast.ada.pk)
        carried_out(settled)
        deletion.prune(at=timezone.now())
        assert Tombstone.objects.filter(person_id=cast.ada.pk).count() == 3
        fakes.sql("UPDATE sync_tombstone SET at = now() - interval '91 days'")
        deletion.prune(at=timezone.now())
        assert not Tombstone.objects.exists()

    def test_p3_is_deleted_though_no_tombstone_can_be_written(self, cast: Cast) -> None:
        with fakes.locked_table("sync_tombstone"):
            assert fakes.milliseconds(lambda: fakes.sql("DELETE FROM users WHERE id = %s", cast.ada.pk)) < 1_000
        assert not User.objects.filter(pk=cast.ada.pk).exists()


class TestADeletedEnrollment:
    def test_leaves_the_user_who_is_not_verified_any_more(self, cast: Cast, settled: Settle) -> None:
        fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = %s", cast.ada.pk)
        carried_out(settled)
        cast.ada.refresh_from_db()
        assert not cast.ada.is_verified
        profile = Profile.objects.get(user=cast.ada)
        assert (profile.verification_status, profile.bio) == (Status.PENDING, "Twelve years with couples.")
        assert fakes.silently_behind() - {(cast.ben.pk, "therapist_profiles")} == set()

    def test_that_was_followed_by_another_changes_nothing(self, cast: Cast, settled: Settle) -> None:
        Enrollment.objects.filter(user=cast.ada).delete()
        Enrollment.objects.create(
            user=cast.ada, email=cast.ada.email, status=Status.APPROVED, approved_at=timezone.now()
        )
        carried_out(settled)
        cast.ada.refresh_from_db()
        assert cast.ada.is_verified

    def test_waits_for_a_locked_copy_and_comes_next_time(self, cast: Cast, settled: Settle) -> None:
        Enrollment.objects.filter(user=cast.ada).delete()
        settled()
        with fakes.locked_table("therapist_profiles", "SHARE"):
            assert deletion.retire(at=timezone.now()).retired == 0
        assert deletion.retire(at=timezone.now()).retired == 1
        assert Profile.objects.get(user=cast.ada).verification_status == Status.PENDING


@pytest.fixture
def many(settled: Settle) -> list[User]:
    return therapists(60)


def delete(people: list[User]) -> None:
    fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = ANY(%s)", [person.pk for person in people])


def verified() -> int:
    return User.objects.filter(is_verified=True).count()


class TestAMassOfThem:
    def test_is_not_refused_and_held_before_it_takes_effect(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        report = carried_out(settled)
        assert (report.held, report.retired) == (21, 0)
        assert Enrollment.objects.count() == 39
        assert verified() == 60
        (hold,) = Hold.objects.all()
        assert live(deletion.MASS) == [str(hold.pk)]
        carried_out(settled)
        assert verified() == 60
        assert Intervention.objects.filter(operation=deletion.MASS).count() == 1

    def test_p9_is_held_by_its_number_alone(self, many: list[User], settled: Settle, settings: Any) -> None:
        settings.SYNC_MASS_DELETION_PERCENT = 100
        delete(many[:20])
        assert carried_out(settled).held == 0
        delete(many[20:21])
        assert carried_out(settled).held == 1
        assert verified() == 40

    def test_counts_the_share_of_a_small_table(self, many: list[User], settled: Settle) -> None:
        delete(many[:9])
        assert carried_out(settled).retired == 9
        delete(many[9:11])
        assert carried_out(settled).held == 2

    def test_holds_what_was_deleted_one_by_one_too(self, many: list[User], settled: Settle) -> None:
        for person in many[:12]:
            delete([person])
        assert carried_out(settled).held == 12

    def test_long_ago_is_none(self, many: list[User], settled: Settle) -> None:
        delete(many[:8])
        carried_out(settled)
        fakes.sql("UPDATE sync_tombstone SET at = at - interval '11 minutes'")
        delete(many[8:16])
        assert carried_out(settled).retired == 8

    def test_of_users_says_parked(self, many: list[User], settled: Settle) -> None:
        fakes.sql("DELETE FROM users WHERE id = ANY(%s)", [person.pk for person in many[:21]])
        carried_out(settled)
        assert set(fakes.states(many[0].pk).values()) == {"parked"}

    def test_takes_effect_when_it_is_released(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        carried_out(settled)
        deletion.decide(hold_id=Hold.objects.get().pk, is_released=True, by="user:1", at=timezone.now())
        assert carried_out(settled).retired == 21
        assert verified() == 39
        assert live(deletion.MASS) == []
        assert History.objects.filter(action="deletions_released", actor="user:1").count() == 1
        delete(many[21:22])
        assert carried_out(settled).retired == 1

    def test_has_no_effect_when_it_is_rejected(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        carried_out(settled)
        deletion.decide(hold_id=Hold.objects.get().pk, is_released=False, by="user:1", at=timezone.now())
        carried_out(settled)
        assert verified() == 60
        assert live(deletion.MASS) == []

    def test_is_decided_once(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        carried_out(settled)
        hold = Hold.objects.get()
        deletion.decide(hold_id=hold.pk, is_released=True, by="user:1", at=timezone.now())
        with pytest.raises(deletion.DecidedAlready) as told:
            deletion.decide(hold_id=hold.pk, is_released=False, by="user:2", at=timezone.now())
        assert told.value.hold.decided_by == "user:1"


class TestThePage:
    def client(self, role: str, name: str) -> Client:
        sync_groups()
        user = UserFactory.create(full_name=name, is_staff=True, user_type="staff")
        user.groups.set(Group.objects.filter(name=role))
        client = Client()
        client.force_login(user)
        return client

    def test_lets_a_lead_decide_and_tells_the_next(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        carried_out(settled)
        item = Intervention.objects.get(operation=deletion.MASS)
        lena, noor = self.client(LEAD, "Lena Vogt"), self.client(LEAD, "Noor Haddad")
        page = f"/admin/sync/hold/{item.entity_id}/"
        assert f"{page}change/" in lena.get(f"/admin/interventions/intervention/{item.pk}/change/").content.decode()
        assert "21 rows deleted from therapist_enrollments" in lena.get(f"{page}change/").content.decode()
        half = lena.post(f"{page}decide/", {"choice": "release"}, follow=True).content.decode()
        assert "Nothing was decided" in half
        form = {"choice": "release", "confirmed": "yes"}
        assert "21 deletions are being carried out" in lena.post(f"{page}decide/", form, follow=True).content.decode()
        again = noor.post(f"{page}decide/", form | {"choice": "reject"}, follow=True).content.decode()
        assert "Nothing was decided: Lena Vogt let them take effect" in again

    def test_p10_is_for_leads_alone(self, many: list[User], settled: Settle) -> None:
        delete(many[:21])
        carried_out(settled)
        sam, page = self.client(OPERATOR, "Sam Reyes"), f"/admin/sync/hold/{Hold.objects.get().pk}/"
        assert "tell a lead" in sam.get(f"{page}change/").content.decode()
        form = {"choice": "release", "confirmed": "yes"}
        assert sam.post(f"{page}decide/", form).status_code == 403
        assert Hold.objects.get().decided_at is None


def test_one_deletion_in_a_small_house_is_no_mass(settled: Settle) -> None:
    ada = therapist("Ada Quist")
    settled()
    fakes.sql("DELETE FROM users WHERE id = %s", ada.pk)
    assert carried_out(settled).held == 0
    assert set(fakes.states(ada.pk).values()) == {"deleted"}
