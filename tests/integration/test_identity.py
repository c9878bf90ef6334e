"""Who is who: two enrollments of one address, applicants, profiles without a user."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from interventions.models import History, Intervention
from tests import fakes
from tests.factories import Cast, UserFactory, therapist
from therapists import duplicates, identity
from therapists.duplicates import ChangedMeanwhile, Choice, DecidedAlready
from therapists.models import Enrollment, Profile, Status, User
from therapists.roles import LEAD, OPERATOR, sync_groups

pytestmark = pytest.mark.django_db(transaction=True)
Settle = Callable[..., int]


def applicant(email: str, **facts: Any) -> Enrollment:
    return Enrollment.objects.create(user=None, email=email, **({"full_name": "Erin Vale"} | facts))


def approved(email: str, **facts: Any) -> Enrollment:
    return applicant(email, status=Status.APPROVED, approved_at=timezone.now(), **facts)


def review() -> dict[str, tuple[int, int]]:
    return identity.review(at=timezone.now())


def live(operation: str) -> list[str | None]:
    return list(
        Intervention.objects.filter(operation=operation, resolved=False)
        .order_by("pk")
        .values_list("entity_id", flat=True)
    )


def decide(first: Enrollment, second: Enrollment, choice: Choice, by: str = "user:1", **picks: str) -> Enrollment:
    rows = identity.ranked([first.pk, second.pk])
    return duplicates.decide(
        first_id=rows[0].pk, second_id=rows[1].pk, choice=choice, picks=picks, compared=identity.digest(*rows), by=by,
        at=timezone.now(),
    )  # fmt: skip


def desk_of(role: str, name: str) -> Client:
    sync_groups()
    user = UserFactory.create(full_name=name, is_staff=True, user_type="staff")
    user.groups.set(Group.objects.filter(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def pair(settled: Settle) -> tuple[Enrollment, Enrollment]:
    """Ada's linked enrollment, and a later one of the same address in another spelling."""
    ada = therapist("Ada Quist")
    settled()
    second = approved("ADA.quist@Example.org", bio="The other bio.", phone="+44 1632 960000")
    settled()
    return Enrollment.objects.get(user=ada), second


class TestAClash:
    def test_is_one_item_however_often_it_is_looked_for(self, pair: tuple[Enrollment, Enrollment]) -> None:
        for _ in range(3):
            review()
        assert live(identity.DUPLICATE) == [str(pair[0].pk)]
        (item,) = Intervention.objects.filter(operation=identity.DUPLICATE)
        assert History.objects.of("intervention", str(item.pk)).count() == 1
        assert live(identity.APPROVED_ALONE) == []

    def test_holds_back_nothing_but_the_address(self, pair: tuple[Enrollment, Enrollment], settled: Settle) -> None:
        first, second = pair
        Enrollment.objects.filter(pk=first.pk).update(bio="Still kept equal.")
        settled()
        second.refresh_from_db()
        assert Profile.objects.get(user=first.user).bio == "Still kept equal."
        assert second.user_id is None
        assert fakes.states(first.user_id or 0)["therapist_profiles"] == "in_sync"

    def test_clears_its_item_when_it_is_gone(self, pair: tuple[Enrollment, Enrollment]) -> None:
        review()
        Enrollment.objects.filter(pk=pair[1].pk).update(email="her.own@example.org")
        Intervention.objects.filter(operation=identity.DUPLICATE).update(state="reopened")
        assert review()[identity.DUPLICATE] == (0, 1)
        assert live(identity.DUPLICATE) == []
        assert History.objects.filter(action="resolved:superseded", from_state="reopened").count() == 1

    def test_of_two_applicants_has_a_winner_by_the_rule(self) -> None:
        rejected, pending = (applicant("erin@example.org", status=s) for s in (Status.REJECTED, Status.PENDING))
        late = approved("Erin@Example.org")
        fakes.sql("UPDATE therapist_enrollments SET bio = 'newest' WHERE id = %s", rejected.pk)
        review()
        clash = identity.clash_of(pending.pk)
        assert clash is not None
        assert [member.pk for member in clash.members] == [late.pk, pending.pk, rejected.pk]
        assert live(identity.DUPLICATE) == [str(rejected.pk)]

    def test_through_an_earlier_address_is_one_too(self, settled: Settle) -> None:
        ada = therapist("Ada Quist")
        settled()
        User.objects.filter(pk=ada.pk).update(email="ada@new.example")
        settled()
        second = applicant("ada.quist@example.org")
        clash = identity.clash_of(second.pk)
        assert clash is not None
        assert clash.members[0].user_id == ada.pk

    def test_that_a_person_resolved_with_a_note_stays_so_until_it_changes(
        self, pair: tuple[Enrollment, Enrollment]
    ) -> None:
        review()
        Intervention.objects.filter(operation=identity.DUPLICATE).update(
            resolved=True, state="resolved", resolution="accepted", resolved_at=timezone.now()
        )
        review()
        assert live(identity.DUPLICATE) == []
        applicant("ada.quist@example.org")
        review()
        assert len(live(identity.DUPLICATE)) == 1


class TestADecision:
    def test_merges_fact_by_fact(self, pair: tuple[Enrollment, Enrollment], settled: Settle) -> None:
        first, second = pair
        review()
        kept = decide(first, second, Choice.MERGE, phone="b", bio="a")
        settled()
        first.refresh_from_db()
        second.refresh_from_db()
        assert (kept.pk, first.phone, first.bio) == (first.pk, "+44 1632 960000", "Twelve years with couples.")
        assert (second.superseded_by, second.bio) == (first.pk, "The other bio.")
        assert Profile.objects.get(user__enrollment=first).phone == "+44 1632 960000"
        assert live(identity.DUPLICATE) == []
        review()
        assert live(identity.DUPLICATE) == live(identity.APPROVED_ALONE) == []

    def test_takes_a_status_over_with_its_date(self, pair: tuple[Enrollment, Enrollment], settled: Settle) -> None:
        first, second = pair
        Enrollment.objects.filter(pk=first.pk).update(status=Status.REJECTED, approved_at=None)
        settled()
        decide(first, second, Choice.MERGE, status="b")
        settled()
        first.refresh_from_db()
        assert (first.status, first.approved_at) == (Status.APPROVED, second.approved_at)
        assert User.objects.filter(enrollment=first, is_verified=True).exists()
        assert History.objects.filter(action="status_merged", from_state="rejected", to_state="approved").exists()

    def test_keeps_the_other_and_moves_the_user(self, pair: tuple[Enrollment, Enrollment], settled: Settle) -> None:
        first, second = pair
        person = first.user
        decide(first, second, Choice.KEEP_B)
        settled()
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.user_id, first.superseded_by, second.user) == (None, second.pk, person)
        assert Profile.objects.get(user=person).bio == "The other bio."
        assert fakes.behind() == set()
        assert identity.clash_of(second.pk) is None

    def test_says_two_people_and_never_links_the_other_by_this_address(self, settled: Settle) -> None:
        first, second = approved("erin@example.org"), applicant("erin@example.org")
        decide(first, second, Choice.TWO_PEOPLE)
        person = UserFactory.create(email="erin@example.org")
        settled()
        assert Enrollment.objects.get(user=person).pk == first.pk
        Enrollment.objects.filter(pk=first.pk).delete()
        settled()
        assert not Enrollment.objects.filter(user=person).exists()
        other = UserFactory.create(email="her.own@example.org")
        Enrollment.objects.filter(pk=second.pk).update(email="her.own@example.org")
        settled()
        assert Enrollment.objects.get(user=other).pk == second.pk

    def test_p8_is_refused_when_a_side_changed_since_it_was_compared(self, pair: tuple[Enrollment, Enrollment]) -> None:
        seen = identity.digest(*pair)
        Enrollment.objects.filter(pk=pair[1].pk).update(bio="Changed a moment ago.")
        with pytest.raises(ChangedMeanwhile):
            duplicates.decide(
                first_id=pair[0].pk, second_id=pair[1].pk, choice=Choice.KEEP_A, picks={}, compared=seen, by="user:1",
                at=timezone.now(),
            )  # fmt: skip
        assert Enrollment.objects.filter(superseded_by=None).count() == 2

    def test_is_made_once_and_the_second_is_told_by_whom(self, pair: tuple[Enrollment, Enrollment]) -> None:
        decide(*pair, Choice.KEEP_A, by="user:7")
        with pytest.raises(DecidedAlready) as told:
            decide(*pair, Choice.KEEP_B, by="user:8")
        assert told.value.line is not None
        assert (told.value.line.actor, told.value.line.action) == ("user:7", "duplicate:keep_a")

    def test_leaves_no_value_in_history(self, pair: tuple[Enrollment, Enrollment]) -> None:
        decide(*pair, Choice.MERGE, phone="b")
        said = " ".join(str(line.__dict__) for line in History.objects.all())
        assert "@" not in said
        assert "960000" not in said

    def test_refuses_to_pick_what_is_no_fact(self, pair: tuple[Enrollment, Enrollment]) -> None:
        with pytest.raises(ValueError, match="Not to be picked"):
            decide(*pair, Choice.MERGE, user_id="b")


class TestThePage:
    def form(self, pair: tuple[Enrollment, Enrollment], **words: str) -> dict[str, str]:
        return {
            "first": str(pair[0].pk), "second": str(pair[1].pk), "compared": identity.digest(*pair), "choice": "merge",
            "pick_phone": "b", "confirmed": "yes",
        } | words  # fmt: skip

    def test_shows_both_sides_and_merges(self, pair: tuple[Enrollment, Enrollment]) -> None:
        lena, page = desk_of(LEAD, "Lena Vogt"), f"/admin/therapists/enrollment/{pair[1].pk}/duplicate/"
        text = lena.get(page).content.decode()
        assert "The other bio." in text
        assert "Twelve years with couples." in text
        answer = lena.post(page, self.form(pair), follow=True).content.decode()
        assert "Merged:" in answer
        assert Enrollment.objects.get(pk=pair[0].pk).phone == "+44 1632 960000"

    def test_tells_the_second_of_two_people(self, pair: tuple[Enrollment, Enrollment]) -> None:
        lena, noor = desk_of(LEAD, "Lena Vogt"), desk_of(LEAD, "Noor Haddad")
        page, form = f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/", self.form(pair)
        lena.post(page, form)
        text = noor.post(page, form | {"choice": "keep_b"}, follow=True).content.decode()
        assert "Nothing was decided: Lena Vogt decided" in text
        assert Enrollment.objects.get(pk=pair[1].pk).superseded_by == pair[0].pk

    @pytest.mark.parametrize("words", [{"confirmed": ""}, {"choice": ""}, {"compared": "x"}, {"first": "x"}])
    def test_decides_nothing_by_half_a_form(self, pair: tuple[Enrollment, Enrollment], words: dict[str, str]) -> None:
        page = f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/"
        text = desk_of(LEAD, "Lena Vogt").post(page, self.form(pair, **words), follow=True).content.decode()
        assert "Nothing was" in text
        assert not Enrollment.objects.filter(superseded_by__isnull=False).exists()

    def test_p10_is_for_leads_alone(self, pair: tuple[Enrollment, Enrollment]) -> None:
        client, page = desk_of(OPERATOR, "Sam Reyes"), f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/"
        assert "tell a lead" in client.get(page).content.decode()
        assert client.post(page, self.form(pair)).status_code == 403

    def test_is_where_the_item_leads(self, pair: tuple[Enrollment, Enrollment]) -> None:
        review()
        item = Intervention.objects.get(operation=identity.DUPLICATE)
        lena = desk_of(LEAD, "Lena Vogt")
        text = lena.get(f"/admin/interventions/intervention/{item.pk}/change/").content.decode()
        assert f"/admin/therapists/enrollment/{pair[0].pk}/duplicate/" in text
        assert "Two enrollments claim one address." in text


class TestApplicants:
    def test_are_excluded_until_linked_keyed_by_their_enrollment(self, settled: Settle) -> None:
        row = applicant("erin@example.org")
        assert fakes.sql("SELECT target, state, reason FROM contract_unlinked WHERE row_id = %s", row.pk) == [
            ("therapist_enrollments", "excluded", "applicant")
        ]
        UserFactory.create(email="erin@example.org")
        settled()
        assert fakes.sql("SELECT * FROM contract_unlinked") == []

    def test_that_are_approved_need_a_person_until_their_user_appears(self, settled: Settle) -> None:
        row = approved("erin@example.org")
        review()
        assert live(identity.APPROVED_ALONE) == [str(row.pk)]
        UserFactory.create(email="erin@example.org")
        settled()
        review()
        assert live(identity.APPROVED_ALONE) == []

    def test_a_therapist_without_an_enrollment_has_no_source(self, settled: Settle) -> None:
        person = UserFactory.create(email="erin@example.org")
        settled()
        rows = fakes.sql("SELECT state, excluded_reason FROM contract_sync_state WHERE person_id = %s", person.pk)
        assert set(rows) == {("excluded", "no source")}


class TestOrphans:
    def test_are_quarantined_and_one_item_stands_for_all(self, cast: Cast) -> None:
        for _ in range(3):
            Profile.objects.create(user=None, bio="Whose?")
        review()
        review()
        (item,) = Intervention.objects.filter(operation=identity.ORPHAN, resolved=False)
        assert item.error == "therapist_profiles: 3 without a user"
        assert Profile.objects.filter(quarantined_at__isnull=False).count() == 3
        assert {row[0] for row in fakes.sql("SELECT reason FROM contract_unlinked")} == {"quarantined"}

    def test_are_read_only_and_say_until_when_they_are_kept(self) -> None:
        row = Profile.objects.create(user=None, bio="Whose?")
        review()
        root = User.objects.create_superuser("root@example.org", "x" * 12)
        client = Client()
        client.force_login(root)
        page = f"/admin/therapists/profile/{row.pk}/change/"
        text = client.get(page).content.decode()
        assert "no machine ever deletes it" in text
        assert 'name="bio"' not in text
        assert client.post(page, {"bio": "Mine."}).status_code == 403
        assert "Without a user" in client.get("/admin/therapists/profile/?quarantined=yes").content.decode()

    def test_that_get_their_user_back_are_ordinary_again(self, cast: Cast) -> None:
        row = Profile.objects.create(user=None)
        review()
        Profile.objects.filter(pk=row.pk).update(user=UserFactory.create())
        review()
        assert live(identity.ORPHAN) == []
        assert Profile.objects.get(pk=row.pk).quarantined_at is None
