"""Bulk retries: a few first, the rest at a bounded rate, every item answered once, and the numbers add up."""

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from interventions import failpoints, operations, retry_runs
from interventions.models import History, Intervention, RetryOutcome, RetryRun, RetryRunItem, RetryState
from tests import factories, fakes
from tests.factories import Trouble
from therapists.models import Enrollment, User

TARGET = "therapist_profiles"
PEOPLE = 40


@pytest.fixture
def trouble(transactional_db: None) -> Iterator[Trouble]:
    with factories.trouble(PEOPLE) as made:
        yield made


@pytest.fixture
def broken(trouble: Trouble) -> list[User]:
    """The people, while the trouble lasts."""
    return trouble.people


@pytest.fixture
def mended(trouble: Trouble) -> list[User]:
    """The people after the table takes what it refused; nobody has tried again yet."""
    trouble.lift()
    return trouble.people


def planned() -> RetryRun:
    return retry_runs.plan(items=Intervention.objects.all(), title="all", by="user:1", at=timezone.now())


def started() -> RetryRun:
    return retry_runs.switch(run_id=planned().pk, action="start", by="user:1", at=timezone.now())


def step(run: RetryRun, *, seconds: float = 1) -> RetryRun:
    """Let so much time pass, take the run a step further, and let the workers do what was asked for."""
    RetryRun.objects.filter(pk=run.pk).update(moved_at=timezone.now() - dt.timedelta(seconds=seconds))
    retry_runs.advance_all(at=timezone.now())
    fakes.settled()
    run.refresh_from_db()
    return run


def to_the_end(run: RetryRun) -> RetryRun:
    for _ in range(20):
        if step(run).state in retry_runs.ENDED:
            return run
    raise AssertionError(f"The run never ends: {run.state} {retry_runs.report(run)}")


def counts(run: RetryRun) -> dict[str, int]:
    return {name: number for name, number in retry_runs.report(run).items() if number}


class TestAPlan:
    def test_holds_what_needs_a_person_now_and_nothing_that_comes_later(self, broken: list[User]) -> None:
        run = planned()
        late = factories.therapists(1)[0]
        Enrollment.objects.filter(user=late).update(bio="Edited, later.")
        fakes.settled()
        assert Intervention.objects.filter(person_id=late.pk, resolved=False).exists()
        assert counts(run) == {RetryOutcome.WAITING: PEOPLE}

    def test_tries_nothing(self, broken: list[User]) -> None:
        run = step(planned())
        assert run.state == RetryState.PLANNED
        assert not Intervention.objects.filter(state="retrying").exists()

    def test_is_refused_where_nothing_needs_a_person(self, db: None) -> None:
        with pytest.raises(retry_runs.NothingToRetry):
            planned()
        assert not RetryRun.objects.exists()


class TestARun:
    def test_p7_mends_everybody_and_adds_up(self, mended: list[User]) -> None:
        run = to_the_end(started())
        assert (run.state, counts(run)) == (RetryState.DONE, {RetryOutcome.FIXED: PEOPLE})
        assert not Intervention.objects.filter(resolved=False).exists()
        assert History.objects.filter(action="retry", run_id=run.pk).count() == PEOPLE, "each was tried once"
        lines = [line.action for line in History.objects.of("retry_run", str(run.pk))]
        assert lines == ["retry_planned", "run_start", "run_done"]

    def test_tries_five_first_and_waits_for_their_answers(self, mended: list[User]) -> None:
        run = started()
        for _ in range(3):
            retry_runs.advance_all(at=timezone.now())
        assert counts(run) == {RetryOutcome.ASKED: retry_runs.CANARIES, RetryOutcome.WAITING: PEOPLE - 5}

    def test_stops_when_one_of_the_first_fails_again(self, broken: list[User]) -> None:
        run = step(step(started()))
        assert run.state == RetryState.STOPPED
        assert counts(run) == {RetryOutcome.FAILED: 5, RetryOutcome.WAITING: PEOPLE - 5}
        assert step(run).state == RetryState.STOPPED, "a person decides"

    def test_that_is_no_larger_than_its_first_ones_has_nothing_to_stop(self, broken: list[User]) -> None:
        few = Intervention.objects.filter(pk__in=Intervention.objects.values_list("pk", flat=True)[:3])
        run = retry_runs.plan(items=few, title="three", by="user:1", at=timezone.now())
        run = to_the_end(retry_runs.switch(run_id=run.pk, action="start", by="user:1", at=timezone.now()))
        assert (run.state, counts(run)) == (RetryState.DONE, {RetryOutcome.FAILED: 3})

    def test_goes_on_after_a_stop_when_a_person_says_so(self, trouble: Trouble) -> None:
        run = step(step(started()))
        trouble.lift()
        retry_runs.switch(run_id=run.pk, action="resume", by="user:2", at=timezone.now())
        run = to_the_end(run)
        assert counts(run) == {RetryOutcome.FAILED: 5, RetryOutcome.FIXED: PEOPLE - 5}

    def test_asks_for_no_more_than_its_rate(self, mended: list[User], settings: object) -> None:
        settings.RETRY_RUN_PER_SECOND = 3  # type: ignore[attr-defined]
        run = step(step(started()), seconds=2)
        assert run.state == RetryState.RUNNING
        assert counts(run)[RetryOutcome.WAITING] == PEOPLE - 5 - 6

    def test_leaves_to_others_what_they_try_and_counts_what_was_mended_meanwhile(self, mended: list[User]) -> None:
        run = started()
        items = list(Intervention.objects.order_by("timestamp", "pk"))
        Enrollment.objects.filter(user_id=str(items[-1].person_id)).update(bio="A later edit.")
        fakes.settled()
        run = step(run)
        other = Intervention.objects.filter(pk=items[-2].pk)
        assert operations.retry_items(items=other, by="user:2", at=timezone.now()).done == 1
        RetryRun.objects.filter(pk=run.pk).update(moved_at=timezone.now() - dt.timedelta(seconds=9))
        retry_runs.advance_all(at=timezone.now())
        run = to_the_end(run)
        assert counts(run) == {RetryOutcome.FIXED: PEOPLE - 2, RetryOutcome.SKIPPED: 1, RetryOutcome.ALREADY: 1}

    def test_p9_waits_for_nobody_who_holds_an_item_nor_for_a_run_that_fails(
        self, mended: list[User], second_connection: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        never, poison, run = planned(), started(), started()
        advance = retry_runs.advance

        def fails(*, run_id: uuid.UUID, at: dt.datetime) -> int:
            if run_id == poison.pk:
                raise OperationalError("It cannot be taken further.")
            return advance(run_id=run_id, at=at)

        monkeypatch.setattr(retry_runs, "advance", fails)
        first, holder = Intervention.objects.order_by("timestamp", "pk")[0], second_connection()
        holder.execute("BEGIN")
        holder.execute("SELECT FROM manual_intervention_log WHERE id = %s FOR UPDATE", [first.pk])
        fakes.sql("SET lock_timeout = 500")
        run = step(run)
        assert counts(run) == {RetryOutcome.ASKED: 4, RetryOutcome.WAITING: PEOPLE - 4}
        holder.execute("ROLLBACK")
        assert counts(to_the_end(run)) == {RetryOutcome.FIXED: PEOPLE}
        fakes.sql("RESET lock_timeout")
        # What is over, or was never begun, is forgotten once its time has come; what goes on is not.
        assert never.state == RetryState.PLANNED
        retry_runs.prune(at=timezone.now() + dt.timedelta(days=91))
        assert list(RetryRun.objects.all()) == [poison]
        assert RetryRunItem.objects.count() == PEOPLE

    def test_can_be_paused_and_taken_up_again(self, mended: list[User]) -> None:
        run = step(started())
        retry_runs.switch(run_id=run.pk, action="pause", by="user:2", at=timezone.now())
        assert counts(step(run)) == {RetryOutcome.FIXED: 5, RetryOutcome.WAITING: PEOPLE - 5}
        retry_runs.switch(run_id=run.pk, action="resume", by="user:2", at=timezone.now())
        assert counts(to_the_end(run)) == {RetryOutcome.FIXED: PEOPLE}

    def test_answers_what_was_asked_for_after_it_was_cancelled(self, mended: list[User]) -> None:
        run = started()
        retry_runs.advance_all(at=timezone.now())
        retry_runs.switch(run_id=run.pk, action="cancel", by="user:2", at=timezone.now())
        run = step(step(run))
        assert counts(run) == {RetryOutcome.FIXED: 5, RetryOutcome.LEFT: PEOPLE - 5}
        assert run.state == RetryState.CANCELLED

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_refuses_what_its_state_does_not_allow(self, broken: list[User], action: str) -> None:
        run = planned()
        with pytest.raises(retry_runs.WrongState):
            retry_runs.switch(run_id=run.pk, action=action, by="user:1", at=timezone.now())

    def test_p1_does_nothing_twice_when_its_worker_dies_in_a_step(
        self, mended: list[User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = started()

        def dies(point: str, people: object = ()) -> None:
            if point == "interventions.run.step.before_commit":
                raise failpoints.FailpointReached(point)

        with monkeypatch.context() as patch:
            patch.setattr(retry_runs, "reach", dies)
            with pytest.raises(failpoints.FailpointReached):
                retry_runs.advance_all(at=timezone.now())
        assert counts(run) == {RetryOutcome.WAITING: PEOPLE}
        assert counts(to_the_end(run)) == {RetryOutcome.FIXED: PEOPLE}
        assert History.objects.filter(action="retry", run_id=run.pk).count() == PEOPLE


def test_the_report_is_a_table_that_no_spreadsheet_runs(mended: list[User]) -> None:
    run = planned()
    run.retryrunitem_set.filter(person_id=mended[0].pk).update(target="=cmd|' /C calc'!A0")
    lines = "".join(retry_runs.as_csv(run)).splitlines()
    assert lines[0] == "intervention,person,target,outcome,at (UTC),page"
    item = run.retryrunitem_set.order_by("pk")[0].item_id
    assert lines[1].endswith(f",http://127.0.0.1:8000/admin/interventions/intervention/{item}/change/")
    assert len(lines) == PEOPLE + 1
    assert [line for line in lines if ",=" in line or line.startswith("=")] == []
    assert sum(",'=cmd" in line for line in lines) == 1
