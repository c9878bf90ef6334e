"""Old and new code beside each other: a release is no instant, and a net that is rolled back works with new workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as project

from sync import net, triggers
from sync.mirrors import declaration
from sync.models import Debt
from tests import fakes
from tests.factories import Cast, therapist, therapists
from therapists.models import Enrollment, Profile, User

FROZEN = Path(project.BASE_DIR) / "therapists" / "migrations" / "sql"
# How workers of the release before wrote a profile: with a revision of the net's, and without any list.
OLD_WORKER = """
UPDATE therapist_profiles AS copy SET bio = therapist_enrollments.bio,
    experience_years = therapist_enrollments.experience_years, phone = therapist_enrollments.phone,
    net_revision = nextval('sync_revision')
FROM therapist_enrollments WHERE copy.user_id = therapist_enrollments.user_id AND copy.user_id = ANY(%s)
"""
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("database_alone")]


def first_release() -> str:
    """What the first release's migration froze, without its view: a view that has more columns now takes none back."""
    return (FROZEN / "0002_safety_net.sql").read_text().split("CREATE OR REPLACE VIEW")[0]


@pytest.fixture
def old_net() -> Iterator[None]:
    """The triggers and functions of the first release, as its migration froze them; ours come back afterwards."""
    fakes.sql(net.uninstall(declaration()))
    fakes.sql(first_release())
    yield
    fakes.sql(net.uninstall(declaration()))
    triggers.install()
    triggers.enable()


def facts(person: User) -> tuple[str | None, list[str] | None]:
    row = Profile.objects.get(user=person)
    return row.bio, row.specialization


@pytest.mark.usefixtures("old_net")
class TestTheOldNetWithNewWorkers:
    def test_p4_copies_what_it_knew_and_new_workers_catch_up_with_the_rest(self, cast: Cast) -> None:
        fakes.sql(
            "UPDATE therapist_enrollments SET bio = 'new', specialization = 'A; B' WHERE user_id = %s", cast.ada.pk
        )
        assert Profile.objects.get(user=cast.ada).bio == "new"
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY['therapist_profiles'], 0)",
            cast.ada.pk,
        )
        fakes.settled()
        assert facts(cast.ada) == ("new", ["A", "B"])

    def test_p1_its_debt_is_settled_by_new_workers(self, cast: Cast) -> None:
        with fakes.locked_row("therapist_profiles", cast.ada.pk):
            fakes.sql("UPDATE therapist_enrollments SET bio = 'locked out' WHERE user_id = %s", cast.ada.pk)
        assert Debt.objects.filter(person_id=cast.ada.pk, code="55P03").exists()
        fakes.settled()
        assert facts(cast.ada)[0] == "locked out"
        assert set(fakes.states(cast.ada.pk).values()) == {"in_sync"}

    def test_p4_it_takes_what_new_workers_write_for_no_persons_write(self, cast: Cast) -> None:
        with fakes.locked_row("therapist_profiles", cast.ada.pk):
            fakes.sql(
                "UPDATE therapist_enrollments SET specialization = 'A', bio = 'b' WHERE user_id = %s", cast.ada.pk
            )
        fakes.settled()
        assert facts(cast.ada) == ("b", ["A"])
        assert fakes.sql("SELECT FROM sync_lost_value") == []

    def test_is_called_another_net_than_the_declared_one(self, transactional_db: None) -> None:
        status = triggers.status()
        assert (status.debt, status.copying) == ("off", "off")
        triggers.install()
        assert (triggers.status().debt, triggers.status().copying) == ("on", "on")


class TestTheNewNetWithOldWorkers:
    def test_p4_what_old_workers_write_is_no_persons_write_and_owes_nothing(self, cast: Cast) -> None:
        triggers.disable()
        try:
            fakes.sql(
                "UPDATE therapist_enrollments SET bio = 'new', specialization = 'A; B' WHERE user_id = %s", cast.ada.pk
            )
            before = Debt.objects.count()
            fakes.sql(OLD_WORKER, [cast.ada.pk])
            assert (Debt.objects.count(), fakes.sql("SELECT FROM sync_lost_value")) == (before, [])
        finally:
            triggers.enable()
        fakes.settled()
        assert facts(cast.ada) == ("new", ["A", "B"])

    def test_p4_old_code_that_writes_every_column_of_a_row_loses_no_copy(self, transactional_db: None) -> None:
        person = therapist("Ada Quist", specialization="A")
        fakes.settled()
        stale = Enrollment.objects.get(user=person)
        fakes.sql("UPDATE therapist_enrollments SET specialization = 'A; B' WHERE user_id = %s", person.pk)
        stale.bio = "full row"
        stale.save()
        assert facts(person) == ("full row", ["A"])
        assert fakes.behind() == set()

    def test_p4_the_sql_of_the_release_before_and_then_ours_may_be_run_over_each_other(
        self, transactional_db: None
    ) -> None:
        people = therapists(3)
        for script in (first_release(), max(FROZEN.glob("*.sql")).read_text()):
            fakes.sql(script)
        assert {(part.name, part.state) for part in triggers.status().parts if part.state != "installed"} == set()
        Enrollment.objects.filter(user__in=people).update(specialization="A")
        assert fakes.behind() == set()
