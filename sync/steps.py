"""A step of a run: some people's rows held for a moment in one transaction, never waited for, given back when it takes too long."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import OperationalError, connection, transaction
from django.utils import timezone

from interventions.arrays import array
from interventions.failpoints import reach
from interventions.sqlstates import sqlstate
from sync import reconcile, runs, statements
from sync.backoff import SEVERAL_ROWS
from sync.differences import Comparison
from sync.mirrors import Declaration, Table
from sync.models import Run
from sync.reconcile import LOCKED, TIMED_OUT

# Nobody's write waits longer than 100 ms for a step's locks: after the first half no statement is begun, and none may
# take as long as the second. A machine so busy that the smallest step needs more gets on all the same, by a longer limit.
STATEMENT_MS, BEGIN_MS, AIM_MS = 40, 50, 45
SMALLEST_MS = 1_000
FIRST_SIZE, LEAST_SIZE, LARGEST_SIZE = 50, 20, 2_000
# Why a row was not written: it is another than the one that was read.
CHANGED = "changed"
# Whom a rehearsal is about.
NOBODY = -1

Thing = TypeVar("Thing")


class TooSlow(Exception):
    """The step would hold its locks for too long: nothing was written. Take fewer people at a time."""


@dataclass
class Pace:
    """How many people are taken at a time, by how long the last ones took."""

    least: int = LEAST_SIZE
    size: int = FIRST_SIZE

    def note(self, seconds: float) -> None:
        """Take as many the next time as fit into the time that is aimed at, within the double and the half."""
        fit = self.size * AIM_MS / max(1.0, seconds * 1000)
        self.size = round(min(max(fit, self.size / 2, self.least), self.size * 2, LARGEST_SIZE))

    def slow_down(self) -> None:
        """Take far fewer."""
        self.size = max(self.least, self.size // 4)


@dataclass
class Grip:
    """The rows of some people, locked by this transaction: table to person to the versions of their rows; since when."""

    locked: dict[str, dict[int, list[str]]]
    limit_ms: int = BEGIN_MS
    since: float = field(default_factory=time.monotonic)

    def has(self, person_id: int, present: Collection[str]) -> bool:
        """Whether every row that this person has is locked by us."""
        return all(person_id in self.locked[name] for name in present)

    def version(self, person_id: int) -> str | None:
        """Name the versions of a person's rows as a comparison does; None unless there is one of us in every table."""
        rows = [self.locked[name].get(person_id, []) for name in self.locked]
        return " ".join(row[0] for row in rows) if all(len(row) == 1 for row in rows) else None

    def go_on(self) -> None:
        """Begin another statement. Raises TooSlow when the time for that is over."""
        if (time.monotonic() - self.since) * 1000 > self.limit_ms:
            raise TooSlow


def walk(
    run: Run,
    ahead: list[Thing],
    *,
    pace: Pace,
    take: Callable[[Run, list[Thing]], None],
    leave: Callable[[Run, list[Thing]], None],
) -> bool:
    """
    Take what lies ahead step by step, as many things at a time as fit into a step; False when the run was stopped.

    `take` and `leave` are given the run, locked, and change it: it is saved in the transaction of the step, which is
    whole or not at all. What cannot be taken in the smallest step is left: it was too slow, or somebody holds a table.
    """
    while ahead:
        some, started = ahead[: pace.size], time.monotonic()
        try:
            is_running = _step(run, some, take)
        except (TooSlow, OperationalError) as error:
            if isinstance(error, OperationalError) and not is_in_the_way(error):
                raise
            is_smallest = len(some) <= pace.least
            pace.slow_down()
            if not is_smallest:
                continue
            is_running = _step(run, some, leave)
        else:
            pace.note(time.monotonic() - started)
        if not is_running:
            return False
        ahead = ahead[len(some) :]
    return True


def _step(run: Run, some: list[Thing], work: Callable[[Run, list[Thing]], None]) -> bool:
    with transaction.atomic():
        locked = runs.locked_while_running(run.pk)
        if locked is None:
            return False
        work(locked, some)
        locked.moved_at = timezone.now()
        locked.save(update_fields=["after_person", "moved_at", "tally"])
        reach("sync.step.before_commit")
    reach("sync.step.after_commit")
    return True


def lock(tables: Collection[Table], people: Collection[int]) -> Grip:
    """
    Lock the people's rows in these tables without waiting for anybody, in the order of all workers.

    Raises OperationalError when somebody holds a whole table.
    """
    is_smallest = len(people) <= LEAST_SIZE
    reach("sync.step.before_lock", people)
    bounds = reconcile.bounds(SMALLEST_MS if is_smallest else STATEMENT_MS, lock_timeout_ms=STATEMENT_MS)
    # Whoever waits for a row waits for no disk: what a crash of the server takes back, it takes back whole, the run's
    # own place with it, and the run goes on from there.
    bounds += "; SET LOCAL synchronous_commit = off"
    names = ", ".join(f"ONLY {table.name}" for table in tables)
    rows = " UNION ALL ".join(
        f"SELECT '{table.name}', {table.key}, version FROM ({statements.lock_rows(table, versions=True)}) AS of_{table.name}"
        for table in tables
    )
    grip = Grip({table.name: {} for table in tables}, limit_ms=SMALLEST_MS if is_smallest else BEGIN_MS)
    with connection.cursor() as cursor:
        locked = f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE NOWAIT; {rows}"
        # One message: the way there and back costs a small step as much as its work.
        cursor.execute(f"{bounds}; {locked}", [array(people)] * len(tables))
        while cursor.nextset():
            pass
        for name, person_id, version in cursor.fetchall():
            grip.locked[name].setdefault(person_id, []).append(version)
    reach("sync.step.after_lock", people)
    return grip


def is_in_the_way(error: OperationalError) -> bool:
    """Whether the step failed by time or somebody's lock, and may be tried again."""
    return sqlstate(error) in {LOCKED, TIMED_OUT, "40P01"}


def unchanged(comparison: Comparison, grip: Grip, versions: dict[int, str]) -> tuple[set[int], dict[int, str]]:
    """
    Compare, under the locks, whether the people's rows are still those that were read; give who, and why not the rest.

    A row's version changes with every write, also with one that no trigger saw.
    """
    same = {person for person, version in versions.items() if grip.version(person) == version}
    # Without a row in some table, or with one that is not in our hands: look what is there.
    rows = comparison.versions(doubtful) if (doubtful := [p for p in versions if p not in same]) else []
    times = Counter(person for person, _, _ in rows)
    troubled = dict.fromkeys(doubtful, CHANGED)
    for person, version, present in rows:
        if times[person] > 1:
            troubled[person] = SEVERAL_ROWS
        elif not grip.has(person, present):
            troubled[person] = LOCKED
        elif version == versions[person]:
            same.add(person)
            del troubled[person]
    return same, troubled


def rehearse(written: Iterable[str]) -> None:
    """Run statements over nobody, so that none is planned while rows are locked; plans last as long as the session."""
    with transaction.atomic(), connection.cursor() as cursor:
        reconcile.set_bounds(SMALLEST_MS)
        for statement in written:
            cursor.execute("SELECT FROM sync_attempt(%s, %s)", [statement, array([NOBODY])])


def attempt(grip: Grip, statement: str, people: Collection[int]) -> dict[int, str]:
    """
    Run a statement over `$1`, the people; give the SQLSTATE of each whose row was refused, alone.

    Raises TooSlow when it ran into the time that is left.
    """
    if not people:
        return {}
    grip.go_on()
    reach("sync.step.before_write", people)
    with connection.cursor() as cursor:
        cursor.execute("SELECT person_id, code FROM sync_attempt(%s, %s)", [statement, array(sorted(people))])
        failed = dict(cursor.fetchall())
    reach("sync.step.after_write", people)
    if TIMED_OUT in failed.values():
        raise TooSlow
    return failed


def column_types(table: Table) -> dict[str, str]:
    """Give each column's type as a cast names it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table.name],
        )
        return dict(cursor.fetchall())


def written_columns(declared: Declaration, table: Table) -> list[str]:
    """List the columns that bringing a target in line may write, the net's own number aside."""
    flows = statements.flows(declared, target=table.name)
    columns = [pair.copy.column for flow in flows for pair in flow.pairs]
    if any(pair.is_shared for flow in flows for pair in flow.pairs):
        columns.append("avatar_revision")
    return list(dict.fromkeys(columns))


def as_texts(columns: Collection[str], *, of: str = statements.COPY) -> str:
    """Give the jsonb of a row's columns, each as its text: what PostgreSQL prints it reads back as the same value."""
    return "jsonb_build_object(" + ", ".join(f"'{c}', {of}.{c}::text" for c in columns) + ")"
