"""P1, P7: an audit, a repair, its undo or an adoption that is killed at any of its points loses nothing and is taken up again."""

from typing import Any

import pytest
from django.utils import timezone

from interventions.models import History
from interventions.operations import adopt_value
from interventions.points import POINTS
from sync import repair, runs
from sync.models import Debt, LostValue, Run, RunChange, RunState
from tests import fakes
from tests.concurrency.test_failpoints import OF_RUNS
from tests.factories import therapists
from tests.victims import Victims
from therapists.models import Enrollment, Profile, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
TABLES = ("users", "therapist_enrollments", "therapist_profiles")
STEPS = sorted(point for point in POINTS if point.startswith("sync.step."))
PLANS = ["sync.run.after_plan", "sync.run.before_plan"]
REPAIRS = sorted({p for p in POINTS if p.startswith("sync.run.")} - set(PLANS)) + STEPS
UNDOS = (
    sorted(p for p in POINTS if p.startswith("sync.undo."))
    + STEPS
    + ["sync.run.after_finish", "sync.run.before_finish"]
)
AUDITS = sorted(p for p in POINTS if p.startswith("sync.audit."))
ADOPTIONS = sorted(p for p in POINTS if ".adopt." in p)
# More than the first step takes, so that there is a second one.
PEOPLE = 60


def rows() -> dict[str, list[tuple[Any, ...]]]:
    return {t: fakes.sql(f"SELECT to_jsonb(t) - 'net_revision' FROM {t} AS t ORDER BY id") for t in TABLES}


def written() -> set[tuple[int, str]]:
    return set(RunChange.objects.filter(outcome="written").values_list("person_id", "target"))


def kill(victims: Victims, point: str, work: str, **words: Any) -> None:
    code = victims.run(work, orders={point: "kill"}, **words)
    assert code == -9, f"{work} does not come to {point}: it ended with {code}"
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")


def finish(run: Run) -> Run:
    while repair.advance(run.pk):
        pass
    run.refresh_from_db()
    assert run.state == RunState.DONE
    return run


@pytest.fixture
def drifted(transactional_db: None) -> set[tuple[int, str]]:
    """Everybody's copies differ in one or two places, unseen by the net."""
    for number, person in enumerate(therapists(PEOPLE)):
        with fakes.asleep():
            if number % 2:
                User.objects.filter(pk=person.pk).update(is_verified=False)
            Profile.objects.filter(user=person).update(bio=f"Other {number}.")
    return fakes.behind()


def test_there_is_a_test_here_of_every_point() -> None:
    assert {p for p in POINTS if p.startswith(OF_RUNS)} == {*REPAIRS, *PLANS, *UNDOS, *AUDITS, *ADOPTIONS}


@pytest.mark.parametrize("point", REPAIRS)
def test_p1_a_repair_killed_at_any_point_goes_on_and_can_be_undone(
    point: str, drifted: set[tuple[int, str]], victims: Victims
) -> None:
    before = rows()

    kill(victims, point, "mend_all")

    assert fakes.behind() == drifted - written(), "every copy that was written has its value from before on record"
    run = finish(Run.objects.get())
    assert fakes.behind() == set()
    assert runs.report(run) == {"written": len(drifted)}
    finish(runs.ask_for_undo(of=run.pk, by="system"))
    assert rows() == before


@pytest.mark.parametrize("point", UNDOS)
def test_p1_an_undo_killed_at_any_point_goes_on_and_gives_everything_back(
    point: str, drifted: set[tuple[int, str]], victims: Victims
) -> None:
    before = rows()
    run = finish(runs.ask_for_repair(by="system", state=RunState.RUNNING))

    kill(victims, point, "undo", run=str(run.pk))

    assert fakes.behind() == drifted - written(), "what is given back is marked so, and nothing else"
    undo = Run.objects.get(undoes=run)
    assert runs.report(finish(undo)) == {"undone": len(drifted)}
    assert rows() == before


def test_p1_a_repair_killed_between_two_steps_does_the_second_alone(
    drifted: set[tuple[int, str]], victims: Victims
) -> None:
    victims.killed_between("sync.step.before_commit", "sync.step.after_commit", "mend_all")
    first = written()
    assert 0 < len(first) < len(drifted)
    run = Run.objects.get()
    victims.killed_between("sync.step.before_write", "sync.run.after_range", "advance", run=str(run.pk))
    assert written() == drifted, "every step was done"
    assert victims.fired()["sync.step.before_write"] == 2, "one statement for each of two tables: one step was left"
    assert finish(run).rounds == 0


@pytest.mark.parametrize("point", PLANS)
def test_p7_a_plan_killed_at_any_point_is_made_by_the_next_worker(
    point: str, drifted: set[tuple[int, str]], victims: Victims
) -> None:
    kill(victims, point, "plan")
    repair.advance_for_workers()
    run = Run.objects.get()
    assert (run.state, run.plan["targets"]["users"]["differs"]) == (RunState.PLANNED, {"verification": PEOPLE // 2})
    assert fakes.behind() == drifted
    runs.switch(run_id=run.pk, action="start", by="user:1", at=timezone.now(), for_workers=True)
    repair.advance_for_workers()
    assert fakes.behind() == set()


@pytest.mark.parametrize("work", ["audit", "audit_recent"])
@pytest.mark.parametrize("point", AUDITS)
def test_p1_what_a_killed_audit_had_found_is_found_by_the_next_recent_one(
    point: str, work: str, transactional_db: None, victims: Victims
) -> None:
    people = therapists(3)
    repair.audit(owe=True)
    for table, change in (("users", "is_verified = false"), ("therapist_profiles", "bio = 'Other.'")):
        key = "id" if table == "users" else "user_id"
        fakes.sql(
            f"UPDATE {table} SET {change}, net_revision = nextval('sync_revision') WHERE {key} = %s", people[0].pk
        )
    assert len(fakes.silently_behind()) == 2

    kill(victims, point, work)
    repair.audit(owe=True, is_full=False)

    assert fakes.silently_behind() == set()
    fakes.settled()
    assert fakes.behind() == set()


@pytest.mark.parametrize("point", ADOPTIONS)
def test_p7_an_adoption_killed_at_any_point_is_whole_or_never_was(
    point: str, transactional_db: None, victims: Victims
) -> None:
    person = therapists(1)[0]
    fakes.sql("UPDATE therapist_profiles SET bio = 'Theirs.' WHERE user_id = %s", person.pk)
    fakes.settled()

    kill(victims, point, "adopt")

    is_adopted = Enrollment.objects.get(user=person).bio == "Theirs."
    assert is_adopted == (point == "interventions.adopt.after_commit")
    assert History.objects.filter(action="adopted:bio").exists() == is_adopted
    assert LostValue.objects.exists() != is_adopted, "forgotten exactly when it is adopted"
    assert fakes.silently_behind() == set()
    if not is_adopted:
        adopt_value(value_id=LostValue.objects.get().pk, fact="bio", by="user:1")
    fakes.settled()
    assert Profile.objects.get(user=person).bio == "Theirs."
    assert not Debt.objects.exists()
