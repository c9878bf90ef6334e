"""P4: whoever writes and however, every copy is equal or owed in the snapshot in which the write is first seen."""

from collections.abc import Callable, Iterator

import pytest
from django.db import transaction
from django.utils import timezone

from sync import repair
from sync.models import Debt, LostValue
from tests import fakes
from tests.factories import Cast, EnrollmentFactory, ProfileFactory, UserFactory, therapist, therapists
from therapists.models import Enrollment, Profile, Status, User

BIO = "A bio that nobody has read yet."
pytestmark = pytest.mark.usefixtures("database_alone")


def save(person: User) -> None:
    enrollment = Enrollment.objects.get(user=person)
    enrollment.bio = BIO
    enrollment.save()


def update(person: User) -> None:
    Enrollment.objects.filter(user=person).update(bio=BIO)


def bulk_update(person: User) -> None:
    rows = list(Enrollment.objects.filter(user=person))
    for row in rows:
        row.bio = BIO
    Enrollment.objects.bulk_update(rows, ["bio"])


def raw_sql(person: User) -> None:
    fakes.sql("UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s", BIO, person.pk)


def psql(person: User) -> None:
    fakes.psql(f"UPDATE therapist_enrollments SET bio = '{BIO}' WHERE user_id = {person.pk}")


WRITERS: list[Callable[[User], None]] = [save, update, bulk_update, raw_sql, psql]


class TestEveryWriter:
    @pytest.mark.parametrize("write", WRITERS)
    def test_p4_reaches_every_copy_in_the_same_snapshot(self, cast: Cast, write: Callable[[User], None]) -> None:
        write(cast.ada)
        assert fakes.silently_behind() == {(cast.ben.pk, "therapist_profiles")}
        assert Profile.objects.get(user=cast.ada).bio == BIO

    @pytest.mark.parametrize("write", WRITERS)
    def test_p4_leaves_debt_where_copying_is_off(
        self, cast: Cast, write: Callable[[User], None], copying_off: None
    ) -> None:
        write(cast.ada)
        assert Profile.objects.get(user=cast.ada).bio != BIO
        debt = Debt.objects.get(person_id=cast.ada.pk)
        assert (debt.targets, debt.code) == (["therapist_profiles"], "uncopied")
        fakes.settled()
        assert Profile.objects.get(user=cast.ada).bio == BIO


class TestEveryFact:
    @pytest.mark.parametrize(
        ("written", "copied"),
        [
            ("UPDATE users SET full_name = 'Ada Q.' WHERE id = %s", "e.full_name = 'Ada Q.'"),
            ("UPDATE therapist_enrollments SET bio = NULL WHERE user_id = %s", "p.bio IS NULL"),
            ("UPDATE therapist_enrollments SET experience_years = 0 WHERE user_id = %s", "p.experience_years = 0"),
            ("UPDATE therapist_enrollments SET phone = '' WHERE user_id = %s", "p.phone = ''"),
            (
                "UPDATE therapist_enrollments SET status = 'rejected' WHERE user_id = %s",
                "p.verification_status = 'rejected' AND NOT u.is_verified",
            ),
            (
                "UPDATE users SET avatar_url = '/u' WHERE id = %s",
                "e.profile_image_url = '/u' AND p.profile_image_url = '/u'",
            ),
            (
                "UPDATE therapist_enrollments SET profile_image_url = '/e' WHERE user_id = %s",
                "u.avatar_url = '/e' AND p.profile_image_url = '/e'",
            ),
            (
                "UPDATE therapist_profiles SET profile_image_url = NULL WHERE user_id = %s",
                "u.avatar_url IS NULL AND e.profile_image_url IS NULL",
            ),
        ],
    )
    def test_p4_reaches_its_copies_at_the_commit(self, cast: Cast, written: str, copied: str) -> None:
        fakes.sql(written, cast.ada.pk)
        found = fakes.sql(
            f"SELECT {copied} FROM users u JOIN therapist_enrollments e ON e.user_id = u.id"
            " JOIN therapist_profiles p ON p.user_id = u.id WHERE u.id = %s",
            cast.ada.pk,
        )
        assert found == [(True,)]
        assert not Debt.objects.filter(person_id=cast.ada.pk).exists()

    def test_p4_is_still_old_inside_the_writing_transaction(self, cast: Cast) -> None:
        with transaction.atomic():
            update(cast.ada)
            assert Profile.objects.get(user=cast.ada).bio != BIO
        assert Profile.objects.get(user=cast.ada).bio == BIO

    def test_p4_an_unrelated_column_owes_nothing(self, cast: Cast) -> None:
        before = Debt.objects.count()
        Profile.objects.filter(user=cast.ada).update(views=7)
        Enrollment.objects.filter(user=cast.ada).update(status_reason="as agreed")
        assert Debt.objects.count() == before


class TestRowsThatComeAndGo:
    def test_p4_a_new_row_is_owed_everywhere(self, transactional_db: None) -> None:
        person = therapist("Dora Lind")
        assert {d.code for d in Debt.objects.filter(person_id=person.pk)} == {"insert"}
        fakes.settled()
        assert set(fakes.states(person.pk).values()) == {"in_sync"}

    def test_p4_a_deleted_profile_of_an_approved_therapist_is_not_forgotten(self, cast: Cast) -> None:
        fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", cast.ada.pk)
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "due"
        fakes.settled()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "blocked"
        Profile.objects.create(user=cast.ada)
        fakes.settled()
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "in_sync"
        assert Profile.objects.get(user=cast.ada).bio == cast.ada.enrollment.bio

    def test_p4_a_deleted_person_leaves_neither_debt_nor_ledger_behind(self, cast: Cast) -> None:
        person = cast.cleo.pk
        cast.cleo.delete()
        fakes.settled()
        assert fakes.sql("SELECT FROM sync_debt WHERE person_id = %s", person) == []
        assert fakes.sql("SELECT FROM sync_ledger WHERE person_id = %s", person) == []

    def test_p4_rows_that_change_hands_are_owed_to_both(self, cast: Cast) -> None:
        Profile.objects.filter(user=cast.ben).delete()
        fakes.settled()
        fakes.sql("UPDATE therapist_profiles SET user_id = %s WHERE user_id = %s", cast.ben.pk, cast.ada.pk)
        fakes.settled()
        assert Profile.objects.get(user=cast.ben).bio == Enrollment.objects.get(user=cast.ben).bio
        assert fakes.states(cast.ada.pk)["therapist_profiles"] == "blocked"

    def test_p4_an_applicant_is_linked_when_the_address_appears(self, transactional_db: None) -> None:
        EnrollmentFactory.create(
            user=None, email=" Erin@Example.org ", full_name="Erin", profile_image_url=None, status=Status.PENDING,
            approved_at=None,
        )  # fmt: skip
        fakes.settled()
        person = UserFactory.create(email="erin@example.org", full_name="Erin Hale")
        fakes.settled()
        enrollment = Enrollment.objects.get()
        assert (enrollment.user_id, enrollment.full_name) == (person.pk, "Erin Hale")

    def test_p4_a_row_beyond_the_two_hundredth_is_owed(self, transactional_db: None) -> None:
        people = therapists(230)
        Enrollment.objects.filter(user__in=people).update(bio=BIO)
        assert Profile.objects.filter(bio=BIO).count() == 200
        assert Debt.objects.count() == 30
        assert fakes.silently_behind() == set()
        fakes.settled()
        assert Profile.objects.filter(bio=BIO).count() == 230


@pytest.fixture
def _foreign_trigger(transactional_db: None) -> Iterator[None]:
    """A program of somebody else: whoever signs in gets a bio."""
    fakes.sql(
        "CREATE FUNCTION foreign_program() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" UPDATE therapist_enrollments SET bio = '{BIO}' WHERE user_id = NEW.id; RETURN NULL; END $$;"
        " CREATE TRIGGER foreign_program AFTER UPDATE OF last_login ON users FOR EACH ROW"
        " EXECUTE FUNCTION foreign_program()"
    )
    yield
    fakes.sql("DROP TRIGGER foreign_program ON users; DROP FUNCTION foreign_program()")


@pytest.mark.usefixtures("_foreign_trigger")
def test_p4_a_write_inside_somebody_elses_trigger_counts(cast: Cast) -> None:
    User.objects.filter(pk=cast.ada.pk).update(last_login=timezone.now())
    assert Profile.objects.get(user=cast.ada).bio == BIO


class TestDrift:
    def test_p4_a_direct_edit_is_restored_and_the_lost_value_kept(self, cast: Cast) -> None:
        Profile.objects.filter(user=cast.ada).update(bio="Edited in the wrong place.", phone="1")
        assert fakes.silently_behind() == {(cast.ben.pk, "therapist_profiles")}
        assert [d.code for d in Debt.objects.filter(person_id=cast.ada.pk)] == ["drift"]
        fakes.settled()
        assert Profile.objects.get(user=cast.ada).bio == cast.ada.enrollment.bio
        lost = LostValue.objects.get()
        assert (lost.person_id, lost.target) == (cast.ada.pk, "therapist_profiles")
        assert lost.values == {"bio": "Edited in the wrong place.", "phone": "1"}

    def test_p10_a_copy_of_authority_written_directly_is_restored(self, cast: Cast) -> None:
        Enrollment.objects.filter(user=cast.ada).update(status=Status.REJECTED)
        User.objects.filter(pk=cast.ada.pk).update(is_verified=True)
        fakes.settled()
        assert not User.objects.get(pk=cast.ada.pk).is_verified

    def test_p4_a_direct_edit_that_agrees_with_the_source_owes_nothing(self, cast: Cast) -> None:
        Profile.objects.filter(user=cast.ben).update(bio=cast.ben.enrollment.bio)
        assert not Debt.objects.filter(person_id=cast.ben.pk).exists()
        assert not LostValue.objects.exists()


def test_p1_what_the_net_missed_is_found_by_the_audit(cast: Cast) -> None:
    assert repair.audit(owe=True)["therapist_profiles"] == 2  # Ben's drift, and Cleo's debt
    fakes.settled()
    assert fakes.behind() == set()


def test_p2_the_newest_of_three_writers_of_the_avatar_wins(cast: Cast) -> None:
    with transaction.atomic():
        Profile.objects.filter(user=cast.ada).update(profile_image_url="/first")
        User.objects.filter(pk=cast.ada.pk).update(avatar_url="/second")
        Enrollment.objects.filter(user=cast.ada).update(profile_image_url="/third")
    row = Profile.objects.select_related("user__enrollment").get(user=cast.ada)
    assert row.user is not None
    assert {row.profile_image_url, row.user.avatar_url, row.user.enrollment.profile_image_url} == {"/third"}


def test_p2_profiles_made_later_take_what_the_source_says(transactional_db: None) -> None:
    person = therapist("Femi Cole")
    Profile.objects.filter(user=person).delete()
    fakes.settled()
    ProfileFactory.create(user=person, bio="Not what the source says", profile_image_url=None)
    fakes.settled()
    assert Profile.objects.get(user=person).bio == person.enrollment.bio
    assert Profile.objects.get(user=person).profile_image_url == person.avatar_url
