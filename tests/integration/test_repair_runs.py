"""A repair: planned without a write, exact, resumable after kill -9, undone byte for byte, beside live writers."""

import json
import re
import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from interventions.models import History, Intervention
from interventions.operations import mark_resolved
from sync import mending, repair, runs, surveys, tasks
from sync.differences import Comparison
from sync.mirrors import declaration
from sync.models import Debt, Run, RunChange, RunState
from tests import fakes
from tests.factories import therapists
from therapists import erasure
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.django_db(transaction=True)
PROFILES = "therapist_profiles"
ROWS = {
    "users": "SELECT to_jsonb(t) - 'net_revision' FROM users t ORDER BY id",
    "therapist_enrollments": "SELECT to_jsonb(t) - 'net_revision' FROM therapist_enrollments t ORDER BY id",
    PROFILES: "SELECT to_jsonb(t) - 'net_revision' FROM therapist_profiles t ORDER BY id",
}


def drifted(count: int) -> list[User]:
    """Make so many therapists; of each a copy differs, in turn in another fact, unseen by the net."""
    people = therapists(count)
    with fakes.asleep():
        for number, person in enumerate(people):
            kind = number % 5
            if kind == 0:
                fakes.sql(
                    "UPDATE therapist_profiles SET bio = E'{\"x\": \\\\ \\n}, \u00e9' WHERE user_id = %s", person.pk
                )
            elif kind == 1:
                fakes.sql(
                    "UPDATE therapist_profiles SET experience_years = NULL, phone = '' WHERE user_id = %s", person.pk
                )
            elif kind == 2:
                fakes.sql("UPDATE users SET is_verified = false WHERE id = %s", person.pk)
            elif kind == 3:
                fakes.sql("UPDATE therapist_enrollments SET full_name = 'NULL' WHERE user_id = %s", person.pk)
            else:
                fakes.sql(
                    "UPDATE therapist_profiles SET profile_image_url = '/new', avatar_revision = nextval('sync_revision')"
                    " WHERE user_id = %s",
                    person.pk,
                )
    return people


def rows() -> dict[str, list[tuple[Any, ...]]]:
    return {table: fakes.sql(query) for table, query in ROWS.items()}


def repaired(**words: Any) -> Run:
    said = StringIO()
    call_command("repair_drift", stdout=said, **words)
    found = re.search(r"Run (\S+)", said.getvalue())
    assert found
    return Run.objects.get(pk=found[1])


class TestThePlan:
    def test_counts_by_kind_and_writes_nothing(self) -> None:
        drifted(10)
        before, said = rows(), StringIO()
        call_command("repair_drift", stdout=said)
        assert rows() == before
        assert not Run.objects.exists()
        assert "therapist_profiles: bio differs: 2" in said.getvalue()
        assert "users: verification differs: 2" in said.getvalue()
        # The newest of three avatars is behind in two places.
        assert "therapist_enrollments: avatar differs: 2" in said.getvalue()

    def test_tells_drift_from_owed_accepted_missing_and_strays(self) -> None:
        people = drifted(10)
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY[%s], 0)", people[0].pk, PROFILES
        )
        with fakes.asleep():
            fakes.sql("DELETE FROM therapist_profiles WHERE user_id = %s", people[2].pk)
            fakes.sql("UPDATE therapist_profiles SET user_id = NULL WHERE user_id = %s", people[3].pk)
            fakes.sql(
                "INSERT INTO therapist_enrollments (email, updated_at) VALUES (%s, now())", people[4].email.upper()
            )
        plan = surveys.everybody().as_json()
        assert plan["targets"][PROFILES]["owed"] == 1
        assert plan["targets"][PROFILES]["differs"]["bio"] == 1
        assert plan["targets"][PROFILES]["missing"] == 2
        assert plan["strays"] == {
            "therapist_enrollments": {"duplicate": 1, "unlinked": 1}, PROFILES: {"orphan": 1}
        }  # fmt: skip

    def test_says_what_cannot_be_read_and_counts_the_rest(self) -> None:
        drifted(5)
        with fakes.renamed(PROFILES, "phone"):
            plan = surveys.everybody().as_json()
        assert plan["targets"][PROFILES]["out_of_reach"] == "42703"
        assert plan["targets"]["users"]["differs"]["verification"] == 1


class TestARun:
    def test_brings_everything_in_line_and_owes_nothing(self) -> None:
        drifted(25)
        run = repaired(apply=True)
        assert fakes.behind() == set()
        assert not Debt.objects.exists(), "a repair's write is the net's own"
        assert run.state == RunState.DONE
        # 5 of each kind; an avatar is written in two places.
        assert runs.report(run) == {"written": 30}
        assert run.plan["targets"]["users"]["differs"] == {"avatar": 5, "verification": 5}

    def test_leaves_a_line_of_history_without_a_value(self) -> None:
        drifted(5)
        run = repaired(apply=True)
        lines = History.objects.filter(run_id=run.pk).order_by("id")
        assert [line.action for line in lines] == ["repair_asked", "run_start", "run_done"]

    def test_is_undone_byte_for_byte(self) -> None:
        drifted(25)
        before = rows()
        run = repaired(apply=True)
        assert rows() != before
        undo = repaired(undo=run.pk)
        assert rows() == before
        assert runs.report(undo) == {"undone": 30}
        assert not Debt.objects.exists()
        assert runs.report(run) == {"written": 30}, "what was undone had been written"

    def test_p2_the_undo_leaves_what_changed_since(self) -> None:
        people = drifted(10)
        before = rows()[PROFILES]
        run = repaired(apply=True)
        Enrollment.objects.filter(user=people[0]).update(bio="Newer than the repair.")
        fakes.settled()
        undo = repaired(undo=run.pk)
        assert Profile.objects.get(user=people[0]).bio == "Newer than the repair."
        after = rows()[PROFILES]
        (others,) = [json.loads(new[0]) for new, old in zip(after, before, strict=True) if new != old]
        assert others["user_id"] == people[0].pk
        assert runs.report(undo) == {"undone": 11, "kept: changed": 1}

    def test_is_not_undone_while_it_runs_nor_undone_again(self) -> None:
        drifted(5)
        run = repaired(apply=True)
        undo = repaired(undo=run.pk)
        with pytest.raises(runs.WrongState):
            runs.ask_for_undo(of=undo.pk, by="system")
        again = repaired(undo=run.pk)
        assert runs.report(again)["undone"] == 6, "the report is of the run that was undone"

    def test_p2_what_changed_between_reading_and_writing_is_not_written_unseen(self) -> None:
        person = drifted(1)[0]
        comparison = Comparison(declaration(), declaration().targets)
        found = comparison.found_among([person.pk])
        with fakes.asleep():
            Profile.objects.filter(user=person).update(bio="Written while the repair looked elsewhere.")
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        assert mending.write_all(run, comparison, found)
        assert Profile.objects.get(user=person).bio == "Written while the repair looked elsewhere."
        assert RunChange.objects.get(run=run).outcome == "waiting"
        while repair.advance(run.pk):
            pass
        assert RunChange.objects.get(run=run).before == {"bio": "Written while the repair looked elsewhere."}
        assert fakes.behind() == set()

    def test_p1_what_is_owed_is_left_to_the_workers(self) -> None:
        people = drifted(2)
        fakes.sql(
            "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY[%s], 0)", people[0].pk, PROFILES
        )
        run = repaired(apply=True)
        assert runs.report(run) == {"owed": 1, "written": 1}
        assert fakes.behind() == {(people[0].pk, PROFILES)}

    def test_p8_spares_the_accepted_place_and_no_other(self) -> None:
        person = therapists(2)[0]
        with fakes.refusing(PROFILES, "bio <> 'No'"):
            Enrollment.objects.filter(user=person).update(bio="No")
            fakes.settled()
            items = Intervention.objects.filter(person_id=person.pk)
            mark_resolved(items=items, by="user:1", note="Agreed.", may_accept=True, at=timezone.now())
        with fakes.asleep():
            Profile.objects.filter(user=person).update(phone="7")
        run = repaired(apply=True)
        profile = Profile.objects.get(user=person)
        assert (profile.phone, profile.bio) == ("+44 20 7946 0000", "Twelve years with couples.")
        assert runs.report(run) == {"written": 1}
        assert runs.report(repaired(apply=True)) == {"accepted": 1}
        assert not Debt.objects.exists()

    def test_p3_a_row_in_somebodys_hands_is_not_waited_for(self) -> None:
        people = drifted(6)
        with fakes.locked_row(PROFILES, people[0].pk):
            took = fakes.milliseconds(lambda: repaired(apply=True))
        run = Run.objects.get()
        assert runs.report(run) == {"written": 6, "left: 55P03": 1}
        assert fakes.behind() == {(people[0].pk, PROFILES)}
        assert took < 10_000

    def test_p7_a_refused_row_stops_nobody_and_reaches_a_person(self) -> None:
        people = drifted(6)
        with fakes.refusing(PROFILES, f"user_id <> {people[0].pk} OR bio LIKE '{{%'"):
            run = repaired(apply=True)
            assert runs.report(run) == {"written": 6, "left: 23514": 1}
            fakes.settled()
            assert [item.person_id for item in Intervention.objects.filter(resolved=False)] == [people[0].pk]

    def test_p9_a_paused_run_stops_and_is_taken_up_again(self) -> None:
        drifted(10)
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        runs.switch(run_id=run.pk, action="pause", by="user:1", at=timezone.now())
        assert not repair.advance(run.pk)
        assert fakes.behind()
        assert repaired(run=run.pk).state == RunState.DONE
        assert fakes.behind() == set()

    def test_a_cancelled_run_is_not_taken_up(self) -> None:
        run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
        runs.switch(run_id=run.pk, action="cancel", by="user:1", at=timezone.now())
        with pytest.raises(CommandError, match="not in a state"):
            call_command("repair_drift", run=run.pk)
        with pytest.raises(CommandError, match="no such run"):
            call_command("repair_drift", run=uuid.uuid4())

    def test_p9_replaced_values_go_after_their_time(self, settings: Any) -> None:
        drifted(2)
        run = repaired(apply=True)
        tasks.prune()
        assert RunChange.objects.exclude(before=None).count() == 2
        settings.SYNC_LOST_VALUES_KEPT_DAYS = 0
        tasks.prune()
        assert not RunChange.objects.exclude(before=None).exists()
        assert runs.report(run)["written"] == 2

    def test_p9_a_persons_replaced_values_can_be_erased(self) -> None:
        people = drifted(2)
        run = repaired(apply=True)
        erasure.erase(subject=erasure.find(person_id=people[0].pk), by="system", at=timezone.now())
        assert not RunChange.objects.filter(person_id=people[0].pk).exists()
        undo = repaired(undo=run.pk)
        assert runs.report(undo)["undone"] == 1
