"""A batch of a run: persons' rows locked for a moment, never waited for, and given back when it takes too long."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import OperationalError, connection

from sync import reconcile, statements
from sync.backoff import SEVERAL_ROWS
from sync.differences import Comparison
from sync.mirrors import Declaration, Table
from sync.reconcile import LOCKED, TIMED_OUT

# Nobody's write waits longer than 100 ms for a batch's locks: after the first half no statement is begun, and none may
# take longer than the second. A machine so busy that the smallest batch needs more gets on all the same, by a longer limit.
STATEMENT_MS, BEGIN_MS, AIM_MS = 50, 45, 35
SMALLEST_MS = 1_000
FIRST_SIZE, LEAST_SIZE, LARGEST_SIZE = 100, 25, 2_000
# Why a row was not written: it is another than the one that was read.
CHANGED = "changed"


class TooSlow(Exception):
    """The batch would hold its locks for too long: nothing was written. Take fewer people at a time."""


@dataclass
class Pace:
    """How many people are taken at a time, by how long the last ones took."""

    least: int = LEAST_SIZE
    size: int = FIRST_SIZE

    def note(self, seconds: float) -> None:
        """Take more, or fewer, the next time."""
        if seconds * 1000 > AIM_MS:
            self.size = max(self.least, self.size // 2)
        elif seconds * 1000 < AIM_MS / 2:
            self.size = min(LARGEST_SIZE, self.size * 2)

    def slow_down(self) -> None:
        """Take far fewer."""
        self.size = max(self.least, self.size // 4)


@dataclass
class Hold:
    """The rows of some people, locked by this transaction, and since when."""

    locked: dict[str, set[int]]
    limit_ms: int = BEGIN_MS
    since: float = field(default_factory=time.monotonic)

    def in_hand(self, person_id: int, present: Collection[str]) -> bool:
        """Whether every row that this person has is locked by us."""
        return all(person_id in self.locked[name] for name in present)

    def go_on(self) -> None:
        """Begin another statement. Raises TooSlow when the time for that is over."""
        if (time.monotonic() - self.since) * 1000 > self.limit_ms:
            raise TooSlow


def lock(tables: Collection[Table], people: Collection[int]) -> Hold:
    """
    Lock the people's rows in these tables without waiting for anybody, in the order of all workers.

    Raises OperationalError when somebody holds a whole table.
    """
    is_smallest = len(people) <= LEAST_SIZE
    statement_ms = SMALLEST_MS if is_smallest else STATEMENT_MS
    reconcile.set_bounds(statement_ms, lock_timeout_ms=STATEMENT_MS)
    names = ", ".join(f"ONLY {table.name}" for table in tables)
    rows = " UNION ALL ".join(
        f"SELECT '{table.name}', {table.key} FROM ({statements.lock_rows(table)}) AS of_{table.name}"
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {names} IN ROW EXCLUSIVE MODE NOWAIT")
        hold = Hold({table.name: set() for table in tables}, limit_ms=SMALLEST_MS if is_smallest else BEGIN_MS)
        cursor.execute(rows, [list(people)] * len(tables))
        for name, person_id in cursor.fetchall():
            hold.locked[name].add(person_id)
    return hold


def is_in_the_way(error: OperationalError) -> bool:
    """Whether the batch failed by time or somebody's lock, and may be tried again."""
    return reconcile.sqlstate(error) in {LOCKED, TIMED_OUT, "40P01"}


def unchanged(comparison: Comparison, hold: Hold, versions: dict[int, str]) -> tuple[set[int], dict[int, str]]:
    """
    Compare, under the locks, whether the people's rows are still those that were read; give who, and why not the rest.

    A row's version changes with every write, also with one that no trigger saw.
    """
    rows = comparison.versions(list(versions))
    times = Counter(person for person, _, _ in rows)
    same, troubled = set[int](), dict.fromkeys(versions, CHANGED)
    for person, version, present in rows:
        if times[person] > 1:
            troubled[person] = SEVERAL_ROWS
        elif not hold.in_hand(person, present):
            troubled[person] = LOCKED
        elif version == versions[person]:
            same.add(person)
            del troubled[person]
    return same, troubled


def attempt(hold: Hold, statement: str, people: Collection[int]) -> dict[int, str]:
    """
    Run a statement over `$1`, the people; give the SQLSTATE of each whose row was refused, alone.

    Raises TooSlow when it ran into the time that is left.
    """
    if not people:
        return {}
    hold.go_on()
    with connection.cursor() as cursor:
        cursor.execute("SELECT person_id, code FROM sync_attempt(%s, %s)", [statement, sorted(people)])
        failed = dict(cursor.fetchall())
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


def as_texts(columns: Collection[str]) -> str:
    """Give the jsonb of columns of `copy`, each as its text: what PostgreSQL prints it reads back as the same value."""
    return "jsonb_build_object(" + ", ".join(f"'{c}', {statements.COPY}.{c}::text" for c in columns) + ")"
