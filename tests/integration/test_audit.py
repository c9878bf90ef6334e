"""The audit of what was written since the last one: nearly free, and nothing slips between two of them."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from interventions.models import Intervention
from interventions.operations import mark_resolved
from sync import marks, repair, surveys, tasks, triggers
from sync.models import Attempt, Audit, Debt, Gap
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.django_db(transaction=True)
PROFILES = "therapist_profiles"


@pytest.fixture
def people() -> list[User]:
    found = therapists(3)
    repair.audit(owe=True)
    return found


def let_drift(person: User, run: Callable[..., object] = fakes.sql) -> None:
    """Make drift that bears a number, as a bug of ours would."""
    run(
        "UPDATE therapist_profiles SET bio = 'Other.', net_revision = nextval('sync_revision') WHERE user_id = %s",
        person.pk,
    )


def incremental() -> int | None:
    return repair.audit(owe=True, is_full=False)[PROFILES]


class TestIncremental:
    def test_p4_finds_what_was_written_since(self, people: list[User]) -> None:
        assert incremental() == 0
        let_drift(people[1])
        assert incremental() == 1
        assert list(Debt.objects.values_list("person_id", "targets")) == [(people[1].pk, [PROFILES])]
        assert not Audit.objects.order_by("-id")[0].is_full

    def test_looks_at_nobody_twice(self, people: list[User]) -> None:
        let_drift(people[1])
        incremental()
        Debt.objects.all().delete()
        assert incremental() == 0

    def test_p4_what_was_found_and_not_owed_is_found_again(self, people: list[User]) -> None:
        let_drift(people[1])
        assert repair.audit(owe=False, is_full=False)[PROFILES] == 1
        assert incremental() == 1

    def test_p4_a_low_number_that_commits_late_is_not_skipped(
        self, people: list[User], second_connection: Callable[..., fakes.Connection]
    ) -> None:
        slow = second_connection()
        slow.execute("BEGIN")
        slow.execute(
            "UPDATE therapist_profiles SET bio = 'Late.', net_revision = nextval('sync_revision') WHERE user_id = %s",
            [people[1].pk],
        )
        let_drift(people[2])
        assert incremental() == 1, "of the two only the one that has ended is to be seen"
        slow.execute("COMMIT")
        assert incremental() == 2

    def test_p4_an_insert_has_its_transaction_id_before_its_number(
        self, people: list[User], second_connection: Callable[..., fakes.Connection]
    ) -> None:
        # Somebody's trigger, after ours, holds the INSERT between its number and its row.
        fakes.sql(
            "CREATE FUNCTION hold_on_purpose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM set_config('held.by', pg_current_xact_id_if_assigned()::text, false); RETURN NEW; END $$;"
            "CREATE TRIGGER zzz_hold BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION hold_on_purpose()"
        )
        try:
            other = second_connection()
            other.execute("INSERT INTO users (email, password, is_superuser) VALUES ('late@example.org', '', false)")
            row = other.execute("SELECT current_setting('held.by')").fetchone()
            assert row is not None
            assert row[0]
        finally:
            fakes.sql("DROP TRIGGER zzz_hold ON users; DROP FUNCTION hold_on_purpose()")

    def test_is_full_after_a_gap(self, people: list[User]) -> None:
        with fakes.asleep():
            fakes.sql("UPDATE therapist_profiles SET bio = 'Unseen.' WHERE user_id = %s", people[0].pk)
        assert incremental() == 0, "a write past the triggers bears no number"
        Gap.objects.create(closed_at=timezone.now())
        assert incremental() == 1
        assert triggers.status().is_verified

    def test_is_full_the_first_time(self) -> None:
        therapists(1)
        assert marks.seen_up_to() is None
        incremental()
        assert Audit.objects.get().is_full

    def test_is_full_when_nearly_everybody_was_written(
        self, people: list[User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(marks, "MOST_WRITTEN", 1)
        for person in people:
            let_drift(person)
        assert incremental() == 3
        assert Audit.objects.order_by("-id")[0].is_full

    def test_p9_uses_the_small_index(self, people: list[User]) -> None:
        if fakes.sql("SHOW server_version_num")[0][0] < "160000":
            pytest.skip("before PostgreSQL 16 the index would cost writes too much")
        fakes.sql("SET enable_seqscan = off")
        plan = fakes.sql("EXPLAIN SELECT 1 FROM users WHERE revision > 5 OR net_revision > 5")
        fakes.sql("RESET enable_seqscan")
        assert any("users_numbered" in line for (line,) in plan)

    def test_p8_an_accepted_difference_is_no_drift(self, people: list[User]) -> None:
        accept_a_bio(people[1])
        assert incremental() == 0


class TestBlocked:
    """What waits for a person already."""

    def test_is_not_tried_again_because_somebody_looked(self, people: list[User]) -> None:
        with fakes.refusing(PROFILES, "bio <> 'No'"):
            Enrollment.objects.filter(user=people[0]).update(bio="No")
            fakes.settled()
            tried = Attempt.objects.count()
            assert incremental() == 1
            assert not Debt.objects.exists()
            fakes.settled()
            assert Attempt.objects.count() == tried

    def test_has_a_chance_with_every_full_audit(self, people: list[User]) -> None:
        with fakes.obstructed(PROFILES, "bio <> 'No'") as lift:
            Enrollment.objects.filter(user=people[0]).update(bio="No")
            fakes.settled()
            lift()
            assert repair.audit(owe=True)[PROFILES] == 1
            fakes.settled()
            assert not Intervention.objects.filter(resolved=False).exists()


class TestAccepted:
    @pytest.mark.parametrize("is_full", [True, False], ids=["full", "recent"])
    def test_p8_spares_the_accepted_place_and_no_other(self, people: list[User], is_full: bool) -> None:
        accept_a_bio(people[1])
        fakes.sql(
            "UPDATE therapist_profiles SET phone = '7', net_revision = nextval('sync_revision') WHERE user_id = %s",
            people[1].pk,
        )
        assert repair.audit(owe=True, is_full=is_full)[PROFILES] == 1
        fakes.settled()
        profile = Profile.objects.get(user=people[1])
        assert (profile.phone, profile.bio) == ("+44 20 7946 0000", "Twelve years with couples.")
        assert repair.audit(owe=True)[PROFILES] == 0
        assert fakes.states(people[1].pk)[PROFILES] == "excluded", "what was accepted stays accepted"

    def test_p8_finds_it_again_when_a_side_changes_unseen(self, people: list[User]) -> None:
        accept_a_bio(people[1])
        with fakes.asleep():
            fakes.sql("UPDATE therapist_profiles SET bio = 'Neither.' WHERE user_id = %s", people[1].pk)
        assert repair.audit(owe=True)[PROFILES] == 1

    def test_p8_a_row_whose_absence_was_accepted_is_not_missed(self, people: list[User]) -> None:
        fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", people[1].pk)
        fakes.settled()
        accept(people[1])
        assert repair.audit(owe=True)[PROFILES] == 0
        assert surveys.everybody().accepted[PROFILES] == 1


def accept_a_bio(person: User) -> None:
    """Let somebody accept that a profile keeps its old bio, which nothing else keeps there."""
    with fakes.refusing(PROFILES, "bio <> 'No'"):
        Enrollment.objects.filter(user=person).update(bio="No")
        fakes.settled()
        accept(person)


def accept(person: User) -> None:
    items = Intervention.objects.filter(person_id=person.pk, resolved=False)
    report = mark_resolved(items=items, by="user:1", note="Agreed.", may_accept=True, at=timezone.now())
    assert report.accepted == 1


class TestTheCommand:
    def test_looks_at_what_was_written_or_at_everybody(self, people: list[User]) -> None:
        with fakes.asleep():
            fakes.sql("UPDATE therapist_profiles SET bio = 'Unseen.' WHERE user_id = %s", people[0].pk)
        assert self.said("--recent")["total"] == 0
        assert self.said("--full")["total"] == 1
        assert self.said()["total"] == 1, "whoever asks by hand means everybody"

    def said(self, *words: str) -> dict[str, int]:
        out = StringIO()
        call_command("audit_drift", *words, "--json", stdout=out)
        found: dict[str, int] = json.loads(out.getvalue())
        return found


def test_the_task_finds_and_owes(people: list[User]) -> None:
    let_drift(people[1])
    tasks.audit_recent()
    assert Debt.objects.filter(person_id=people[1].pk).exists()
