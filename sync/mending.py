"""The strides of a repair: read a range of people without locks, then write what differs in short steps."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from django.db import connection, transaction
from django.utils import timezone

from interventions import events
from interventions.failpoints import reach
from sync import differences, ledger, reconcile, runs, statements, steps
from sync.accepted import accepted_places
from sync.backoff import NO_ROW, NOT_EQUAL, UNREADABLE
from sync.differences import DIFFERS, MISSING, Comparison, Entity, Found
from sync.mirrors import Declaration, Place, declaration
from sync.models import Run, RunChange, RunState
from sync.reconcile import LOCKED, TIMED_OUT
from sync.statements import COPY, Flow
from sync.steps import CHANGED, Grip, Pace

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

    Each step is one transaction that writes copies, their values from before, and how far the run is: whoever is
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
    reach("sync.run.before_read")
    is_running = write_all(run, comparison, comparison.found_between(span[0], high))
    if is_running:
        reach("sync.run.after_range")
        Run.objects.filter(pk=run_id, state=RunState.RUNNING).exclude(after_person__gte=high).update(
            after_person=high, moved_at=timezone.now()
        )
        events.announce("repair.updated", [run_id])
    return is_running


def statement(run_id: uuid.UUID, declared: Declaration, flow: Flow) -> str:
    """
    Give the statement that writes one flow over `$1` (people) and keeps the columns as they were and became.

    One statement: there is no moment at which a copy is written and its value from before is not on record.
    """
    columns, key = steps.written_columns(declared, flow.target), flow.target.key
    # The row as the statement found it, read beside the one it writes: RETURNING knows the old one since 18 only.
    mine = f"{COPY}.{key} = ANY($1) AND was.{key} = {COPY}.{key}"
    update = statements.update(flow, mine, beside=f"{flow.target.name} AS was")
    return (
        f"WITH written AS ({update} RETURNING {COPY}.{key} AS person_id, {steps.as_texts(columns, of='was')} AS was,"
        f" {steps.as_texts(columns)} AS became)"
        " INSERT INTO sync_run_change AS c (run_id, person_id, target, outcome, before, after)"
        f" SELECT '{run_id}'::uuid, person_id, '{flow.target.name}', 'written', change.before, change.after FROM written"
        " CROSS JOIN LATERAL (SELECT jsonb_object_agg(key, value) AS before, jsonb_object_agg(key, became -> key) AS after"
        " FROM jsonb_each(was) WHERE value IS DISTINCT FROM became -> key) AS change"
        " ON CONFLICT (run_id, person_id, target) DO UPDATE SET outcome = 'written', code = NULL,"
        " before = coalesce(excluded.before, '{}') || coalesce(c.before, '{}'),"
        " after = coalesce(c.after, '{}') || coalesce(excluded.after, '{}')"
    )


def write_all(run: Run, comparison: Comparison, found: list[Found], only: Collection[Entity] | None = None) -> bool:
    """Write what was found, step by step; `only` some of it. Gives False when somebody paused or cancelled the run."""
    if not found:
        return True
    reach("sync.run.after_read", (one.person_id for one in found))
    stride = _Stride(run.pk, comparison, only)
    # Read without locks, after what was found: where it does not hold any more, neither do the rows' versions.
    _, stride.excluded = differences.held_apart([one.person_id for one in found])
    stride.spared = accepted_places(stride.excluded)
    steps.rehearse(stride.written.values())
    # Whoever is slow alone is told from the neighbours when they are tried again.
    pace = Pace() if only is None else Pace(least=1)
    return steps.walk(run, found, pace=pace, take=stride.take, leave=stride.leave)


@dataclass
class _Stride:
    """What a range of people is written with: what may be written, and what somebody accepted."""

    run_id: uuid.UUID
    comparison: Comparison
    only: Collection[Entity] | None
    excluded: set[Entity] = field(default_factory=set)
    spared: dict[Entity, frozenset[Place]] = field(default_factory=dict)

    @cached_property
    def declared(self) -> Declaration:
        """What is a copy of what."""
        return declaration()

    @cached_property
    def written(self) -> dict[Flow, str]:
        """Give the statement of each flow, in the order of the tables."""
        return {flow: statement(self.run_id, self.declared, flow) for flow in statements.flows(self.declared)}

    def take(self, run: Run, some: list[Found]) -> None:
        """Write some people under their locks, where both sides are still what was read and nothing is owed."""
        if self.only is None:
            last = some[-1].person_id
            # Somebody else who advances the same run may have been here.
            some = [one for one in some if run.after_person is None or one.person_id > run.after_person]
            run.after_person = max(last, run.after_person or last)
        if some:
            run.tally = dict(Counter(run.tally) + self._write(some))

    def leave(self, run: Run, some: list[Found]) -> None:
        """Leave for later some people whose rows would be held for too long, or whose table somebody holds."""
        record(self.run_id, self._entities(some), "waiting", TIMED_OUT)
        if self.only is None:
            run.after_person = max(some[-1].person_id, run.after_person or 0)

    def _entities(self, some: list[Found]) -> dict[Entity, str]:
        """Give what is the matter with each entity: one that has something to write is written, whatever else it has."""
        kinds = {(one.person_id, p.target): p.kind for one in some for p in one.probes if p.kind != DIFFERS}
        kinds |= {(one.person_id, p.target): p.kind for one in some for p in one.probes if p.kind == DIFFERS}
        return kinds if self.only is None else {e: kind for e, kind in kinds.items() if e in self.only}

    def _write(self, some: list[Found]) -> Counter[str]:
        grip = steps.lock(self.comparison.tables, [one.person_id for one in some])
        same, troubled = steps.unchanged(self.comparison, grip, {one.person_id: one.version for one in some})
        owed, excluded = differences.held_apart([one.person_id for one in some])
        left = [one.sparing(self.spared) for one in some]
        entities = self._entities(left)
        # What is owed is the workers', and what somebody accepted stays.
        apart = {e for e in self._entities(some) if e in owed or e not in entities}
        ready = {e: kind for e, kind in entities.items() if e not in apart and e[0] in same}
        # Accepted since we read what was.
        late = {e for e in ready if e in excluded - self.excluded}
        record(self.run_id, late, "waiting", CHANGED)
        for code in set(troubled.values()):
            outcome = "waiting" if code in {CHANGED, LOCKED} else "left"
            record(self.run_id, [e for e in entities if e not in apart and troubled.get(e[0]) == code], outcome, code)
        refused = {e: _CODES[kind] for e, kind in ready.items() if e not in late and kind != DIFFERS}
        refused |= self._mend(grip, left, {e for e, kind in ready.items() if e not in late and kind == DIFFERS})
        for code in set(refused.values()):
            record(self.run_id, [e for e, c in refused.items() if c == code], "left", code)
        _hand_over(refused)
        if self.only is not None:
            _forget(self.run_id, apart)
        return Counter("owed" if entity in owed else "accepted" for entity in apart)

    def _mend(self, grip: Grip, left: list[Found], mend: set[Entity]) -> dict[Entity, str]:
        """Write what differs of these entities, and read back; give the code of each that was refused."""
        refused: dict[Entity, str] = {}
        facts = {(one.person_id, p.target, p.fact) for one in left for p in one.probes}
        for flow, whole in self.written.items():
            name, carried = flow.target.name, {pair.mirror.fact for pair in flow.pairs}
            wanted = {p for p, t, fact in facts if t == name and fact in carried and (p, t) in mend - set(refused)}
            for part, people in reconcile.parts(flow, wanted, self.spared):
                words = whole if part is flow else statement(self.run_id, self.declared, part)
                failed = steps.attempt(grip, words, people)
                refused |= {(person, name): code for person, code in failed.items()}
        if mend:
            # Somebody's trigger may have changed what was written, or dropped the write without a word.
            grip.go_on()
            back = [o.sparing(self.spared) for o in self.comparison.still_found({person_id for person_id, _ in mend})]
            still = mend & {(one.person_id, target) for one in back for target in one.targets}
            refused |= dict.fromkeys(still - set(refused), NOT_EQUAL)
        return refused


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
        if not write_all(run, comparison, found, only):
            return False
    Run.objects.filter(pk=run.pk).update(rounds=run.rounds + 1)
    return True


def record(run_id: uuid.UUID, entities: Collection[Entity], outcome: str, code: str) -> None:
    """Put on record what was not written, and why."""
    if entities:
        ordered = sorted(entities)
        with connection.cursor() as cursor:
            cursor.execute(_RECORD, [run_id, outcome, code, [p for p, _ in ordered], [t for _, t in ordered]])


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
