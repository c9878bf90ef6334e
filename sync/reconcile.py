"""Bring people's copies in line: lock, then read in a new statement, write what differs, read back."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from interventions.arrays import array
from interventions.failpoints import reach
from interventions.sqlstates import sqlstate
from sync import identity, statements
from sync.backoff import NO_ROW, SEVERAL_ROWS, UNKNOWN_TARGET
from sync.claims import Entity
from sync.mirrors import Declaration, Place, Table, declaration
from sync.statements import Flow

LOCKED = "55P03"
TIMED_OUT = "57014"
# Locks are never waited for; what an UPDATE waits for besides (a unique index, somebody's trigger) is bounded by this.
LOCK_TIMEOUT_MS = 100
# A refused statement takes its share of the work down with it: with one poison row in a hundred this many rows at once
# cost half of what all rows at once do, and a batch without poison costs hardly more for it.
ROWS_AT_ONCE = 32


class BatchTooSlow(Exception):
    """A batch ran into its time limit: give its locks back, and take up fewer people at a time."""


@dataclass(frozen=True)
class Problem:
    """Why a target could not be brought in line: a SQLSTATE or code of ours, and the object that PostgreSQL named."""

    code: str
    error_object: str = ""


@dataclass
class Result:
    """What came of each entity (None: in line or nothing to keep equal), and who does not exist any more."""

    problems: dict[Entity, Problem | None]
    gone: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Held:
    """The rows of one table: which exist, which are locked by us; `problem` where the whole table is out of reach."""

    present: Counter[int] = field(default_factory=Counter)
    locked: frozenset[int] = frozenset()
    problem: Problem | None = None

    def trouble(self, person_id: int) -> Problem | None:
        """Why this person's row must not be read or written now."""
        if self.problem is not None:
            return self.problem
        if self.present[person_id] > 1:
            return Problem(SEVERAL_ROWS)
        if self.present[person_id] and person_id not in self.locked:
            return Problem(LOCKED)
        return None


def set_bounds(statement_timeout_ms: int, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> None:
    """
    Bound what this transaction may wait for; constraints of others speak up at the statement, not at the commit.

    A worker that is stopped in the middle loses its locks when the lease ends, and can write nothing old afterwards.
    """
    with connection.cursor() as cursor:
        cursor.execute(bounds(statement_timeout_ms, lock_timeout_ms))


def bounds(statement_timeout_ms: int, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> str:
    """Give the SQL of `set_bounds`, to be sent with what follows."""
    return (
        f"SET LOCAL lock_timeout = {int(lock_timeout_ms)}; SET LOCAL statement_timeout = {int(statement_timeout_ms)};"
        f" SET LOCAL idle_in_transaction_session_timeout = {int(settings.SYNC_TABLE_LEASE_SECONDS * 1000)};"
        # Everything here is found by keys. Where tables are small the planner would rather read them whole, each batch.
        " SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
        " SET CONSTRAINTS ALL IMMEDIATE"
    )


def bring(
    entities: Collection[Entity],
    *,
    linkable: Collection[int] | None = None,
    spared: Mapping[Entity, frozenset[Place]] = MappingProxyType({}),
) -> Result:
    """
    Bring the entities in line within the caller's transaction, whose locks protect what is read and written.

    `linkable`: persons for whom a row without a person may have to be found first (None: all). `spared`: places that
    stay as they are, because a person accepted the difference.

    Never waits for a lock, and never raises for one target's trouble: each failure is a problem of its entity alone.
    Raises BatchTooSlow when a statement for several people ran into the time limit: which of them was slow cannot be
    told while their locks are held.
    """
    declared = declaration()
    people = sorted({person_id for person_id, _ in entities})
    if linkable is None or linkable:
        identity.link(people if linkable is None else sorted(linkable))
    reach("sync.before_lock", people)
    held = _lock_all(declared, people)
    reach("sync.after_lock", people)
    persons = held[declared.persons.name]
    # What nobody declares is kept, not forgotten: a target may have been renamed by a release.
    result = Result({e: None if e[1] in declared.targets else Problem(UNKNOWN_TARGET, e[1]) for e in entities})
    if persons.problem is None:
        result.gone = {person_id for person_id in people if not persons.present[person_id]}
    for target in declared.targets:
        wanted = [p for p in people if (p, target) in result.problems and p not in result.gone]
        for person_id, problem in _bring_target(declared, declared.table(target), wanted, held, spared).items():
            result.problems[person_id, target] = problem
    return result


def _bring_target(
    declared: Declaration,
    table: Table,
    people: list[int],
    held: dict[str, _Held],
    spared: Mapping[Entity, frozenset[Place]],
) -> dict[int, Problem]:
    problems = _missing(declared, table, people, held)
    for person_id in people:
        if trouble := held[table.name].trouble(person_id):
            problems[person_id] = trouble
    for flow in statements.flows(declared, target=table.name):
        source = held[flow.source.name]
        problems |= {p: t for p in people if p not in problems and (t := source.trouble(p)) is not None}
        ready = [p for p in people if p not in problems and held[table.name].present[p] and source.present[p]]
        for part, some in parts(flow, ready, spared):
            problems |= _bring_flow(part, some)
    return problems


def parts(
    flow: Flow, people: Collection[int], spared: Mapping[Entity, frozenset[Place]]
) -> Iterator[tuple[Flow, list[int]]]:
    """Give the flow without the spared places, once for all people who spare the same ones."""
    groups = defaultdict[frozenset[Place], list[int]](list)
    for person_id in people:
        groups[spared.get((person_id, flow.target.name), frozenset())].append(person_id)
    if some := groups.pop(frozenset(), None):
        yield flow, some
    for places, some in groups.items():
        pairs = tuple(pair for pair in flow.pairs if pair.copy not in places)
        if pairs:
            yield replace(flow, pairs=pairs), some


def _missing(declared: Declaration, table: Table, people: list[int], held: dict[str, _Held]) -> dict[int, Problem]:
    """Find who should have a row in the table and has none."""
    absent = [p for p in people if not held[table.name].present[p]]
    expected = statements.expected_people(table, declared)
    if held[table.name].problem or not absent or expected is None or table.expected is None:
        return {}
    if held[table.expected.place.table].problem:
        return {}
    return {person_id: Problem(NO_ROW, table.name) for person_id in _people(expected, absent)}


def _lock_all(declared: Declaration, people: list[int]) -> dict[str, _Held]:
    """Lock everybody's rows in the order of the tables; where one table is out of reach, each for itself."""
    names = ", ".join(f"ONLY {table.name}" for table in declared.tables)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE NOWAIT")
            return {table.name: _lock_rows(table, people) for table in declared.tables}
    except DatabaseError:
        return {table.name: _lock(table, people) for table in declared.tables}


def _lock(table: Table, people: list[int]) -> _Held:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE ONLY {table.name} IN ROW EXCLUSIVE MODE NOWAIT")
            return _lock_rows(table, people)
    except DatabaseError as error:
        return _Held(problem=Problem(sqlstate(error), table.name))


def _lock_rows(table: Table, people: list[int]) -> _Held:
    present = Counter(_people(statements.lock_rows(table), people))
    locked = frozenset(present)
    # After the locks, in a statement of its own: a row that SKIP LOCKED passed over is told from one that is not there.
    if unlocked := [person_id for person_id in people if person_id not in locked]:
        present.update(_people(statements.present_rows(table), unlocked))
    return _Held(present, locked)


def _bring_flow(flow: Flow, people: list[int]) -> dict[int, Problem]:
    """Write one flow for all whose copies differ, and read back: somebody's trigger may change what was written."""
    failed: dict[int, Problem] = {}
    try:
        with transaction.atomic():
            if behind := sorted(_short(flow, people)):
                reach("sync.before_write", behind)
                failed = _attempt(flow, behind)
                reach("sync.after_write", behind)
                if written := [p for p in behind if p not in failed]:
                    failed |= _short(flow, written)
    except DatabaseError as error:
        failed = {p: Problem(sqlstate(error), flow.target.name) for p in people}
    if len(people) > 1 and any(problem.code == TIMED_OUT for problem in failed.values()):
        raise BatchTooSlow
    return failed


def _attempt(flow: Flow, people: list[int]) -> dict[int, Problem]:
    """Write one flow, taking failing people apart until the poison rows stand alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT person_id, code, error_object FROM sync_attempt(%s, %s, %s)",
            [statements.update_people(flow), array(people), ROWS_AT_ONCE],
        )
        return {p: Problem(code, named or flow.target.name) for p, code, named in cursor.fetchall()}


def _short(flow: Flow, people: list[int]) -> dict[int, Problem]:
    """Find who differs, and why that is one's own trouble: a source that nobody can read, somebody's trigger."""
    with connection.cursor() as cursor:
        cursor.execute(statements.shortfalls(flow, f"{statements.COPY}.{flow.target.key} = ANY(%s)"), [array(people)])
        return {person_id: Problem(code, place) for person_id, code, place in cursor.fetchall()}


def _people(statement: str, people: Iterable[int]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [array(people)])
        return [row[0] for row in cursor.fetchall()]
