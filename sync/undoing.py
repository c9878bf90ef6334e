"""The strides of an undo: give every column that a repair changed its text from before, where nobody wrote it since."""

import time
import uuid
from functools import partial

from django.db import connection
from django.utils import timezone

from interventions.failpoints import reach
from sync import differences, runs, steps
from sync.mirrors import Table, declaration
from sync.models import Run, RunChange, RunState
from sync.reconcile import LOCKED
from sync.statements import COPY, SEQUENCE
from sync.steps import Grip, Pace

PEOPLE_A_STRIDE, ROUNDS, BREATH_SECONDS = 5_000, 5, 0.3
CHANGED_SINCE, OWED = "changed", "owed"


def advance(run_id: uuid.UUID) -> bool:
    """
    Take the undo some people further; gives whether there is more to do.

    A row that carries anything else than what the repair left there is not touched, and reported as kept. Whoever is
    killed leaves the rest to the next: a change is marked undone in the transaction that takes it back.
    """
    run = Run.objects.get(pk=run_id)
    if run.state != RunState.RUNNING:
        return False
    left = RunChange.objects.filter(run=run.undoes_id, outcome="written").exclude(before=None)
    ahead = left if run.after_person is None else left.filter(person_id__gt=run.after_person)
    people = list(ahead.order_by("person_id").values_list("person_id", flat=True).distinct()[:PEOPLE_A_STRIDE])
    if people:
        reach("sync.undo.after_read", people)
        return _undo_all(run, people)
    if run.rounds < ROUNDS and left.exists():
        # Somebody had these in hand: walk through what is left once more.
        time.sleep(BREATH_SECONDS)
        Run.objects.filter(pk=run_id).update(rounds=run.rounds + 1, after_person=None)
        return True
    left.update(outcome="kept", code=LOCKED)
    runs.finish(run_id=run_id, at=timezone.now())
    return False


def statement(of: uuid.UUID, table: Table) -> str:
    """Give the statement that takes back the run's changes of `$1` (people) in one table, and marks them undone."""
    columns = steps.written_columns(declaration(), table)
    types = steps.column_types(table)
    given = ", ".join(
        f"{c} = CASE WHEN change.before ? '{c}' THEN (change.before ->> '{c}')::{types[c]} ELSE {COPY}.{c} END"
        for c in columns
    )
    return (
        f"WITH restored AS (UPDATE {table.name} AS {COPY} SET {given}, net_revision = nextval('{SEQUENCE}')"
        f" FROM sync_run_change AS change WHERE change.run_id = '{of}'::uuid AND change.target = '{table.name}'"
        f" AND change.outcome = 'written' AND change.person_id = ANY($1) AND {COPY}.{table.key} = change.person_id"
        # Both sides by key: a table of changes that is new has no statistics yet.
        f" AND {COPY}.{table.key} = ANY($1)"
        f" AND {steps.as_texts(columns)} @> change.after RETURNING change.id)"
        " UPDATE sync_run_change SET outcome = 'undone', code = NULL FROM restored"
        " WHERE sync_run_change.id = restored.id"
    )


def _undo_all(run: Run, people: list[int]) -> bool:
    of = run.undoes_id or run.pk
    written = {table.name: statement(of, table) for table in _targets()}
    steps.rehearse(written.values())
    pace = Pace(least=1) if run.rounds else Pace()
    return steps.walk(run, people, pace=pace, take=partial(_undo, written), leave=_pass_over)


def _undo(written: dict[str, str], run: Run, people: list[int]) -> None:
    grip = steps.lock(_targets(), people)
    owed, _ = differences.held_apart(people)
    for table in _targets():
        in_hand = set(grip.locked[table.name])
        ready = {p for p in in_hand if (p, table.name) not in owed}
        refused = steps.attempt(grip, written[table.name], ready)
        for code in set(refused.values()):
            _keep(run, table, [p for p, c in refused.items() if c == code], code)
        _keep(run, table, ready - set(refused), CHANGED_SINCE)
        _keep(run, table, in_hand - ready, OWED)
        _keep(run, table, _gone(grip, table, people), CHANGED_SINCE)
    run.after_person = people[-1]


def _pass_over(run: Run, people: list[int]) -> None:
    """Go on: the next walk through what is left meets them again."""
    run.after_person = people[-1]


def _targets() -> list[Table]:
    declared = declaration()
    return [declared.table(name) for name in declared.targets]


def _gone(grip: Grip, table: Table, people: list[int]) -> list[int]:
    """Find who has no row any more; a row that is there and not in hand is somebody's, for now."""
    absent = [p for p in people if p not in grip.locked[table.name]]
    if not absent:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {table.key} FROM {table.name} WHERE {table.key} = ANY(%s)", [absent])
        return sorted(set(absent) - {row[0] for row in cursor.fetchall()})


def _keep(run: Run, table: Table, people: "set[int] | list[int]", code: str) -> None:
    """What is still on record as written after its statement was not taken back."""
    if people:
        RunChange.objects.filter(run=run.undoes_id, target=table.name, person_id__in=people, outcome="written").update(
            outcome="kept", code=code
        )
