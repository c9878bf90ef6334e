"""The strides of a repair: read a range of people without locks, then write what differs in short batches."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from django.db import OperationalError, connection, transaction
from django.utils import timezone

from sync import batches, differences, ledger, runs, statements
from sync.backoff import NO_ROW, NOT_EQUAL, UNREADABLE
from sync.batches import CHANGED, Pace, TooSlow
from sync.differences import DIFFERS, MISSING, Comparison, Entity, Found
from sync.mirrors import Declaration, declaration
from sync.models import Run, RunChange, RunState
from sync.reconcile import LOCKED, TIMED_OUT
from sync.statements import COPY, Flow

# What is in somebody's hands is tried again so often, so many people at a time, with a breath between.
ROUNDS, PEOPLE_A_ROUND, BREATH_SECONDS = 5, 1_000, 0.3
# What no statement mends: the codes under which workers put it in front of a person.
_CODES = {MISSING: NO_ROW, differences.UNREADABLE: UNREADABLE}
_RECORD = """
INSERT INTO sync_run_change AS c (run_id, person_id, target, outcome, code)
SELECT %s, person_id, target, %s, %s FROM unnest(%s::bigint[], %s::text[]) AS e (person_id, target)
ON CONFLICT (run_id, person_id, target) DO UPDATE SET outcome = excluded.outcome, code = excluded.code
WHERE c.outcome = 'waiting'
"""


def advance(run_id: uuid.UUID) -> bool:
    """
    Take the repair one range of people further; gives whether there is more to do.

    Each batch is one transaction that writes copies, their values from before, and how far the run is: whoever is
    killed at any point leaves the rest to the next who advances it, and nothing is done twice. Raises DatabaseError
    when nothing can be read.
    """
    run = Run.objects.get(pk=run_id)
    if run.state != RunState.RUNNING:
        return False
    declared = declaration()
    comparison, unread = differences.readable(declared)
    span = next(differences.ranges(declared, after=run.after_person), None)
    if span is None or span[0] > run.until_person:
        return _try_again(run, comparison)
    high = min(span[1], run.until_person)
    if unread:
        _note(run_id, Counter({f"unread: {target}": 1 for target in unread}).__or__)
    is_running = _write_all(run_id, comparison, comparison.found_between(span[0], high))
    if is_running:
        Run.objects.filter(pk=run_id, state=RunState.RUNNING).exclude(after_person__gte=high).update(
            after_person=high, moved_at=timezone.now()
        )
    return is_running


def statement(run_id: uuid.UUID, declared: Declaration, flow: Flow) -> str:
    """
    Give the statement that writes one flow over `$1` (people) and keeps the columns as they were and became.

    One statement: there is no moment at which a copy is written and its value from before is not on record.
    """
    row = batches.as_texts(batches.written_columns(declared, flow.target))
    mine = f"{COPY}.{flow.target.key} = ANY($1)"
    change = (
        "(SELECT jsonb_object_agg(key, {one}.columns -> key) FROM jsonb_each(was.columns)"
        " WHERE value IS DISTINCT FROM became.columns -> key)"
    )
    return (
        f"WITH was AS (SELECT {COPY}.{flow.target.key} AS person_id, {row} AS columns"
        f" FROM {flow.target.name} AS {COPY} WHERE {mine}),"
        f" became AS ({statements.update(flow, mine)} RETURNING {COPY}.{flow.target.key} AS person_id, {row} AS columns)"
        " INSERT INTO sync_run_change AS c (run_id, person_id, target, outcome, before, after)"
        f" SELECT '{run_id}'::uuid, person_id, '{flow.target.name}', 'written',"
        f" {change.format(one='was')}, {change.format(one='became')} FROM was JOIN became USING (person_id)"
        " ON CONFLICT (run_id, person_id, target) DO UPDATE SET outcome = 'written', code = NULL,"
        " before = coalesce(excluded.before, '{}') || coalesce(c.before, '{}'),"
        " after = coalesce(c.after, '{}') || coalesce(excluded.after, '{}')"
    )


def _write_all(
    run_id: uuid.UUID, comparison: Comparison, found: list[Found], only: Collection[Entity] | None = None
) -> bool:
    """Write what was found, batch by batch; `only` some of it. Gives False when somebody paused or cancelled the run."""
    # Whoever is slow alone is told from the neighbours when they are tried again.
    pace = Pace() if only is None else Pace(least=1)
    while found:
        batch, started = found[: pace.size], time.monotonic()
        try:
            with transaction.atomic():
                run = runs.locked_while_running(run_id)
                if run is None:
                    return False
                _write(run, comparison, batch, only)
        except (TooSlow, OperationalError) as error:
            if isinstance(error, OperationalError) and not batches.is_in_the_way(error):
                raise
            if len(batch) <= pace.least:
                _pass_over(run_id, batch, only)
                found = found[len(batch) :]
            pace.slow_down()
            continue
        found = found[len(batch) :]
        pace.note(time.monotonic() - started)
    return True


def _write(run: Run, comparison: Comparison, batch: list[Found], only: Collection[Entity] | None) -> None:
    """Write one batch under its locks, where both sides are still what was read and nothing is owed."""
    if only is None:
        last = batch[-1].person_id
        # Somebody else who advances the same run may have been here.
        batch = [one for one in batch if run.after_person is None or one.person_id > run.after_person]
        run.after_person = max(last, run.after_person or last)
    if batch:
        run.tally = dict(Counter(run.tally) + _write_batch(run.pk, comparison, batch, only))
    run.moved_at = timezone.now()
    run.save(update_fields=["after_person", "moved_at", "tally"])


def _write_batch(
    run_id: uuid.UUID, comparison: Comparison, batch: list[Found], only: Collection[Entity] | None
) -> Counter[str]:
    hold = batches.lock(comparison.tables, [one.person_id for one in batch])
    same, troubled = batches.unchanged(comparison, hold, {one.person_id: one.version for one in batch})
    owed, accepted = differences.held_apart([one.person_id for one in batch])
    # A target that has something to write is written, whatever else of it only a person can mend.
    kinds = {(one.person_id, p.target): p.kind for one in batch for p in one.probes if p.kind != DIFFERS}
    kinds |= {(one.person_id, p.target): p.kind for one in batch for p in one.probes if p.kind == DIFFERS}
    entities = {e: kind for e, kind in kinds.items() if only is None or e in only}
    # What is owed is the workers', and what somebody accepted stays.
    apart = [e for e in entities if e in owed or e in accepted]
    for code in set(troubled.values()):
        outcome = "waiting" if code in {CHANGED, LOCKED} else "left"
        record(run_id, [e for e in entities if e not in apart and troubled.get(e[0]) == code], outcome, code)
    ready = {e: kind for e, kind in entities.items() if e not in apart and e[0] in same}
    refused = {e: _CODES[kind] for e, kind in ready.items() if kind != DIFFERS}
    mend = {e for e, kind in ready.items() if kind == DIFFERS}
    facts = {(one.person_id, p.target, p.fact) for one in batch for p in one.probes}
    for flow in statements.flows(declaration()):
        name, carried = flow.target.name, {pair.mirror.fact for pair in flow.pairs}
        people = {p for p, t, fact in facts if t == name and fact in carried and (p, t) in mend - set(refused)}
        failed = batches.attempt(hold, statement(run_id, declaration(), flow), people)
        refused |= {(person, name): code for person, code in failed.items()}
    if mend:
        # Somebody's trigger may have changed what was written, or dropped the write without a word.
        hold.go_on()
        back = comparison.still_found({person_id for person_id, _ in mend})
        still = mend & {(one.person_id, target) for one in back for target in one.targets}
        refused |= dict.fromkeys(still - set(refused), NOT_EQUAL)
    for code in set(refused.values()):
        record(run_id, [e for e, c in refused.items() if c == code], "left", code)
    _hand_over(refused)
    if only is not None:
        _forget(run_id, apart)
    return Counter("owed" if entity in owed else "accepted" for entity in apart)


def _try_again(run: Run, comparison: Comparison) -> bool:
    """Take up again what was in somebody's hands; when nothing is, or after ROUNDS, the run is done."""
    waiting = RunChange.objects.filter(run=run, outcome="waiting")
    people = sorted(set(waiting.values_list("person_id", flat=True)))
    if not people or run.rounds >= ROUNDS:
        runs.finish(run_id=run.pk, at=timezone.now())
        return False
    if run.rounds:
        time.sleep(BREATH_SECONDS)
    for first in range(0, len(people), PEOPLE_A_ROUND):
        part = people[first : first + PEOPLE_A_ROUND]
        only = set(waiting.filter(person_id__in=part).values_list("person_id", "target"))
        found = comparison.found_among(part)
        mended = only - {(one.person_id, target) for one in found for target in one.targets}
        if mended:
            _forget(run.pk, mended)
            _note(run.pk, Counter({"equal meanwhile": len(mended)}).__add__)
        if not _write_all(run.pk, comparison, found, only):
            return False
    Run.objects.filter(pk=run.pk).update(rounds=run.rounds + 1)
    return True


def record(run_id: uuid.UUID, entities: Collection[Entity], outcome: str, code: str) -> None:
    """Put on record what was not written, and why."""
    if entities:
        ordered = sorted(entities)
        with connection.cursor() as cursor:
            cursor.execute(_RECORD, [run_id, outcome, code, [p for p, _ in ordered], [t for _, t in ordered]])


def _pass_over(run_id: uuid.UUID, batch: list[Found], only: Collection[Entity] | None) -> None:
    """Leave for later some people whose rows would be held for too long, or whose table somebody holds."""
    with transaction.atomic():
        run = runs.locked_while_running(run_id)
        if run is not None:
            entities = {(one.person_id, target) for one in batch for target in one.targets}
            record(run_id, [e for e in entities if only is None or e in only], "waiting", TIMED_OUT)
            if only is None:
                Run.objects.filter(pk=run_id).update(after_person=max(batch[-1].person_id, run.after_person or 0))


def _hand_over(entities: Iterable[Entity]) -> None:
    """Owe what no statement mends: a worker meets the same, and opens an item for a person."""
    targets: dict[str, list[int]] = {}
    for person_id, target in entities:
        targets.setdefault(target, []).append(person_id)
    for target, people in targets.items():
        ledger.owe(people=people, targets=[target], reason="repair")


def _forget(run_id: uuid.UUID, entities: Collection[Entity]) -> None:
    """Strike from those that are tried again."""
    for person_id, target in entities:
        RunChange.objects.filter(run=run_id, person_id=person_id, target=target, outcome="waiting").delete()


def _note(run_id: uuid.UUID, change: Callable[[Counter[str]], Counter[str]]) -> None:
    with transaction.atomic():
        run = runs.locked_while_running(run_id)
        if run is not None:
            run.tally = dict(change(Counter(run.tally)))
            run.save(update_fields=["tally"])
