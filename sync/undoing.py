"""The strides of an undo: give every column that a repair changed its text from before, where nobody wrote it since."""

import time
import uuid

from django.db import OperationalError, connection, transaction
from django.utils import timezone

from sync import batches, differences, runs
from sync.batches import Hold, Pace, TooSlow
from sync.mirrors import Table, declaration
from sync.models import Run, RunChange, RunState
from sync.reconcile import LOCKED
from sync.statements import COPY, SEQUENCE

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
    columns = batches.written_columns(declaration(), table)
    types = batches.column_types(table)
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
        f" AND {batches.as_texts(columns)} @> change.after RETURNING change.id)"
        " UPDATE sync_run_change SET outcome = 'undone', code = NULL FROM restored"
        " WHERE sync_run_change.id = restored.id"
    )


def _undo_all(run: Run, people: list[int]) -> bool:
    pace = Pace(least=1) if run.rounds else Pace()
    while people:
        batch, started = people[: pace.size], time.monotonic()
        try:
            with transaction.atomic():
                locked = runs.locked_while_running(run.pk)
                if locked is None:
                    return False
                _undo(locked, batch)
                locked.after_person, locked.moved_at = batch[-1], timezone.now()
                locked.save(update_fields=["after_person", "moved_at"])
        except (TooSlow, OperationalError) as error:
            if isinstance(error, OperationalError) and not batches.is_in_the_way(error):
                raise
            if len(batch) <= pace.least:
                # The next walk through what is left meets them again.
                Run.objects.filter(pk=run.pk).update(after_person=batch[-1])
                people = people[len(batch) :]
            pace.slow_down()
            continue
        people = people[len(batch) :]
        pace.note(time.monotonic() - started)
    return True


def _undo(run: Run, people: list[int]) -> None:
    declared = declaration()
    tables = [declared.table(name) for name in declared.targets]
    hold = batches.lock(tables, people)
    owed, _ = differences.held_apart(people)
    for table in tables:
        in_hand = hold.locked.get(table.name, set())
        hold.go_on()
        ready = {p for p in in_hand if (p, table.name) not in owed}
        refused = batches.attempt(hold, statement(run.undoes_id or run.pk, table), ready)
        for code in set(refused.values()):
            _keep(run, table, [p for p, c in refused.items() if c == code], code)
        _keep(run, table, ready - set(refused), CHANGED_SINCE)
        _keep(run, table, in_hand - ready, OWED)
        _keep(run, table, _gone(hold, table, people), CHANGED_SINCE)


def _gone(hold: Hold, table: Table, people: list[int]) -> list[int]:
    """Find who has no row any more; a row that is there and not in hand is somebody's, for now."""
    absent = [p for p in people if p not in hold.locked[table.name]]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {table.key} FROM {table.name} WHERE {table.key} = ANY(%s)", [absent])
        return sorted(set(absent) - {row[0] for row in cursor.fetchall()})


def _keep(run: Run, table: Table, people: "set[int] | list[int]", code: str) -> None:
    """What is still on record as written after its statement was not taken back."""
    RunChange.objects.filter(run=run.undoes_id, target=table.name, person_id__in=people, outcome="written").update(
        outcome="kept", code=code
    )
