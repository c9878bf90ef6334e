"""Runs as people see them: planned, started, paused, taken up again, cancelled, undone; each with its line of history."""

import datetime as dt
import uuid
from collections import Counter

from django.db import connection, transaction
from django.db.models import Count, Q

from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import History
from sync import surveys
from sync.mirrors import declaration
from sync.models import Run, RunChange, RunKind, RunState

LIVE = (RunState.PLANNING, RunState.PLANNED, RunState.RUNNING, RunState.PAUSED)
# From which states a press of the button leads to which.
_WAYS = {
    "start": ((RunState.PLANNED,), RunState.RUNNING),
    "pause": ((RunState.RUNNING,), RunState.PAUSED),
    "resume": ((RunState.PAUSED, RunState.RUNNING), RunState.RUNNING),
    "cancel": (LIVE, RunState.CANCELLED),
}


class WrongState(Exception):
    """The run is not in a state in which that can be done."""


def ask_for_repair(*, by: str, state: RunState = RunState.PLANNING, for_workers: bool = False) -> Run:
    """Put a repair of everybody who is there now on record."""
    with transaction.atomic():
        run = Run.objects.create(
            kind=RunKind.REPAIR, state=state, asked_by=by, until_person=_last_person(), is_for_workers=for_workers
        )
        History.objects.create(**_line(run, "repair_asked", by, None, state))
    reach("sync.run.after_ask")
    return run


def ask_for_undo(*, of: uuid.UUID, by: str, for_workers: bool = False) -> Run:
    """
    Put the undoing of a repair on record, ready to run; an undo that was begun before is given again.

    Raises Run.DoesNotExist; raises WrongState for a run that is no repair or still runs.
    """
    with transaction.atomic():
        undone = Run.objects.select_for_update().get(pk=of)
        if undone.kind != RunKind.REPAIR or undone.state in LIVE:
            raise WrongState
        begun = Run.objects.filter(undoes=undone, state__in=LIVE).first()
        if begun is not None:
            return begun
        run = Run.objects.create(
            kind=RunKind.UNDO, state=RunState.RUNNING, undoes=undone, asked_by=by, until_person=undone.until_person,
            is_for_workers=for_workers,
        )  # fmt: skip
        History.objects.create(**_line(run, "undo_asked", by, None, RunState.RUNNING))
    reach("sync.undo.after_ask")
    return run


def write_plan(*, run_id: uuid.UUID) -> Run:
    """Count what a repair would find, and keep it with the run. Nothing else is written, and nothing is locked."""
    plan = surveys.everybody().as_json()
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        run.plan = plan
        if run.state == RunState.PLANNING:
            run.state = RunState.PLANNED
        run.save(update_fields=["plan", "state"])
        reach("sync.run.before_plan")
    reach("sync.run.after_plan")
    return run


def switch(*, run_id: uuid.UUID, action: str, by: str, at: dt.datetime, for_workers: bool | None = None) -> Run:
    """
    Start, pause, resume or cancel. A step under way is finished first, which takes no longer than its locks may last.

    Raises WrongState where the run's state does not allow it, Run.DoesNotExist and KeyError.
    """
    allowed, wanted = _WAYS[action]
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.state not in allowed:
            raise WrongState
        if for_workers is not None:
            run.is_for_workers = for_workers
        before, run.state = run.state, wanted
        if wanted == RunState.RUNNING and run.started_at is None:
            run.started_at = at
        if wanted == RunState.CANCELLED:
            run.finished_at = at
        run.save(update_fields=["state", "started_at", "finished_at", "is_for_workers"])
        History.objects.create(**_line(run, f"run_{action}", by, before, wanted))
    return run


def locked_while_running(run_id: uuid.UUID) -> Run | None:
    """Lock the run for a step; None: somebody paused or cancelled it. Who advances the same run waits here."""
    return Run.objects.select_for_update().filter(pk=run_id, state=RunState.RUNNING).first()


def finish(*, run_id: uuid.UUID, at: dt.datetime) -> None:
    """Close a run that has nothing left to do; what was in somebody's hands until the end is left as it is."""
    with transaction.atomic():
        run = locked_while_running(run_id)
        if run is None:
            return
        RunChange.objects.filter(run=run, outcome="waiting").update(outcome="left")
        run.state, run.finished_at = RunState.DONE, at
        run.save(update_fields=["state", "finished_at"])
        History.objects.create(**_line(run, "run_done", run.asked_by, RunState.RUNNING, RunState.DONE))
        reach("sync.run.before_finish")
    reach("sync.run.after_finish")


def report(run: Run) -> Counter[str]:
    """Count what came of the run so far, by outcome; what was left is told by its code."""
    counts = Counter[str](run.tally)
    of = run.undoes_id if run.kind == RunKind.UNDO else run.pk
    wanted = Q(outcome__in=("undone", "kept")) if run.kind == RunKind.UNDO else ~Q(outcome__in=("undone", "kept"))
    if run.kind == RunKind.REPAIR:
        # What was undone or kept later had been written.
        counts += Counter(written=RunChange.objects.filter(run=of, outcome__in=("undone", "kept")).count())
    rows = RunChange.objects.filter(wanted, run=of).values_list("outcome", "code").annotate(Count("pk"))
    for outcome, code, number in rows:
        counts[f"{outcome}: {code}" if outcome in {"left", "kept"} and code else outcome] += number
    return counts


def progress(run: Run) -> float:
    """Give how far the run is, from 0 to 1, by the persons' keys."""
    if run.state == RunState.DONE:
        return 1.0
    if run.after_person is None or not run.until_person:
        return 0.0
    return min(1.0, max(0.0, run.after_person / run.until_person))


def _last_person() -> int:
    persons = declaration().persons
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max({persons.key}), 0) FROM {persons.name}")
        return int(cursor.fetchone()[0])


def _line(run: Run, action: str, by: str, before: str | None, after: str) -> dict[str, object]:
    return {
        "actor": by, "action": action, "object_type": "run", "object_id": str(run.pk), "from_state": before,
        "to_state": after, "run_id": run.pk, "request_id": request_id.get(),
    }  # fmt: skip
