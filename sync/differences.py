"""Which copies differ, and which rows are missing: one statement for each range of keys, over every flow at once."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper

from interventions.arrays import array
from interventions.sqlstates import sqlstate
from sync import statements
from sync.mirrors import Declaration, Place, Table
from sync.statements import COPY

# Measured at a million persons: as fast as one join over everybody, and what differs of a range fits into memory.
KEYS_A_RANGE = 50_000
LOCK_MS = 2_000
DIFFERS, MISSING, UNREADABLE = "differs", "missing", "unreadable"
_HELD_APART = """
SELECT person_id, target, excluded_reason IS NOT NULL FROM sync_ledger
WHERE person_id = ANY(%s::bigint[]) AND owed_since IS NOT NULL
UNION ALL SELECT person_id, unnest(targets), false FROM sync_debt WHERE person_id = ANY(%s::bigint[])
"""
Entity = tuple[int, str]  # person id, target


@dataclass(frozen=True)
class Probe:
    """One way in which a person's target may not be as declared. `fact` is empty where the whole row is missing."""

    target: str
    fact: str
    kind: str
    condition: str
    # What holds whenever the condition does, and is asked of everybody: cheaper, and shared by several probes.
    gate: str
    # The copies that are not as they should be: all of the target where its row is missing.
    copies: frozenset[Place]


@dataclass(frozen=True)
class Found:
    """A person with something that differs. `version` names the rows as they were read, whoever writes them next."""

    person_id: int
    probes: tuple[Probe, ...]
    version: str

    @property
    def targets(self) -> frozenset[str]:
        """The targets concerned."""
        return frozenset(probe.target for probe in self.probes)

    def sparing(self, spared: Mapping[Entity, frozenset[Place]]) -> "Found":
        """Leave out what is the matter with spared places alone."""
        if not any((self.person_id, target) in spared for target in self.targets):
            return self
        left = (p for p in self.probes if not p.copies <= spared.get((self.person_id, p.target), frozenset()))
        return replace(self, probes=tuple(left))


class Comparison:
    """The comparison of some targets of a declaration: rendered once, asked range by range."""

    def __init__(self, declared: Declaration, targets: Collection[str]) -> None:
        self.persons = declared.persons
        self.targets = [name for name in declared.targets if name in targets]
        self.probes = [probe for name in self.targets for probe in _probes(declared, name)]
        self.gates = list(dict.fromkeys((probe.target, probe.gate) for probe in self.probes))
        self.tables = _tables(declared, self.targets)

    @property
    def version(self) -> str:
        """Give the expression that names the versions of a person's rows: any write makes another, seen or unseen."""
        names = ", ".join(f"{table.name}.ctid, {table.name}.xmin" for table in self.tables)
        return f"concat_ws(' ', {names})"

    def query(self, where: str) -> str:
        """
        Give the SELECT of (person, bits of the probes that hold, version), in the order of the persons.

        `where` narrows by `{key}`, which stands for every table's key in turn: the planner does not carry an inequality
        through a join by itself.
        """
        key = f"{self.persons.name}.{self.persons.key}"
        bits = " | ".join(f"(p{place}::int << {place})" for place in range(len(self.probes)))
        holds = " OR ".join(f"g{place}" for place in range(len(self.gates)))
        return (
            f"SELECT {key}, {bits}, {self.version} FROM {self.persons.name}{self._joins(where)}{self._copies()}"
            f" WHERE {where.format(key=key)} AND ({holds}) ORDER BY {key}"
        )

    def found(self, where: str, words: Mapping[str, str]) -> list[Found]:
        """Ask for the persons for whom `where` holds. Raises DatabaseError: a table cannot be read."""
        with transaction.atomic(), connection.cursor() as cursor:
            # Compiling a range's statement takes longer than running it; and a range is joined in memory, not on disk.
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL jit = off; SET LOCAL work_mem = '32MB'")
            return self._found(cursor, where, words)

    def found_between(self, low: int, high: int) -> list[Found]:
        """Ask for a range of persons."""
        return self.found(f"{{key}} BETWEEN {int(low)} AND {int(high)}", {})

    def found_among(self, people: Collection[int]) -> list[Found]:
        """Ask for some persons."""
        return self.found("{key} = ANY(%(people)s::bigint[])", {"people": array(people)})

    def versions(self, people: Collection[int]) -> list[tuple[int, str, list[str]]]:
        """Give of each of these persons the version of their rows and the tables in which they have one."""
        key = f"{self.persons.name}.{self.persons.key}"
        present = ", ".join(f"CASE WHEN {t.name}.{t.key} IS NOT NULL THEN '{t.name}' END" for t in self.tables)
        among = "{key} = ANY(%(people)s::bigint[])"
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {key}, {self.version}, array_remove(ARRAY[{present}], NULL)"
                f" FROM {self.persons.name}{self._joins(among)} WHERE {among.format(key=key)}",
                {"people": array(people)},
            )
            return list(cursor.fetchall())

    def still_found(self, people: Collection[int]) -> list[Found]:
        """Read back within the caller's transaction and its bounds."""
        with connection.cursor() as cursor:
            return self._found(cursor, "{key} = ANY(%(people)s::bigint[])", {"people": array(people)})

    def _found(self, cursor: CursorWrapper, where: str, words: Mapping[str, str]) -> list[Found]:
        cursor.execute(self.query(where), words)
        return [
            Found(person, tuple(p for place, p in enumerate(self.probes) if bits >> place & 1), version)
            for person, bits, version in cursor.fetchall()
        ]

    def _joins(self, where: str) -> str:
        persons = self.persons
        return "".join(
            f" LEFT JOIN {table.name} ON {table.name}.{table.key} = {persons.name}.{persons.key}"
            f" AND {where.format(key=f'{table.name}.{table.key}')}"
            for table in self.tables
            if table != persons
        )

    def _copies(self) -> str:
        """Call each target in turn `copy`, as the expressions of statements do; the planner sees through it."""
        asked = ""
        for name in self.targets:
            own = [f"{p.condition} AS p{i}" for i, p in enumerate(self.probes) if p.target == name]
            own += [f"{gate} AS g{i}" for i, (target, gate) in enumerate(self.gates) if target == name]
            conditions = ", ".join(own)
            asked += f" CROSS JOIN LATERAL (SELECT {conditions} FROM (SELECT {name}.*) AS {COPY}) AS of_{name}"
        return asked


def readable(declared: Declaration) -> tuple[Comparison, dict[str, str]]:
    """Give the comparison of all targets that can be read now, and why each of the others cannot."""
    whole = Comparison(declared, declared.targets)
    if _trouble(whole) is None:
        return whole, {}
    unread = {t: code for t in declared.targets if (code := _trouble(Comparison(declared, [t]))) is not None}
    return Comparison(declared, [t for t in declared.targets if t not in unread]), unread


def held_apart(people: Collection[int]) -> tuple[set[Entity], set[Entity]]:
    """Give of these persons what is owed, which workers bring in line, and where somebody accepted a difference."""
    with connection.cursor() as cursor:
        cursor.execute(_HELD_APART, [array(people)] * 2)
        rows = cursor.fetchall()
    owed = {(person, target) for person, target, is_accepted in rows if not is_accepted}
    return owed, {(person, target) for person, target, _ in rows} - owed


def _trouble(comparison: Comparison) -> str | None:
    """Give the SQLSTATE with which reading fails before the first row."""
    try:
        comparison.found("false", {})
    except DatabaseError as error:
        return sqlstate(error)
    return None


def ranges(declared: Declaration, *, after: int | None = None, size: int = KEYS_A_RANGE) -> Iterator[tuple[int, int]]:
    """Walk the persons' keys so many rows at a time, after a key if one is given: ids may have gaps of any width."""
    name, key = declared.persons.name, declared.persons.key
    with connection.cursor() as cursor:
        while True:
            narrowed = "" if after is None else f" WHERE {key} > {int(after)}"
            cursor.execute(
                f"SELECT min({key}), max({key}) FROM (SELECT {key} FROM {name}{narrowed} ORDER BY {key} LIMIT {size}) q"
            )
            low, high = cursor.fetchone()
            if low is None:
                return
            yield low, high
            after = high


def _probes(declared: Declaration, target: str) -> Iterator[Probe]:
    table = declared.table(target)
    is_there = f"{COPY}.{table.key} IS NOT NULL"
    gates: dict[str, list[str]] = {}
    conditions: dict[tuple[str, str], list[str]] = {}
    copies: dict[str, set[Place]] = {}
    for flow in statements.flows(declared, target=target):
        for pair in flow.pairs:
            fact, differs = pair.mirror.fact, statements.pair_differs(pair)
            gate = f"{flow.source.name}.{flow.source.key} IS NOT NULL AND {differs}"
            gates.setdefault(fact, []).append(f"({gate})")
            copies.setdefault(fact, set()).add(pair.copy)
            readable = pair.conversion.reads(str(pair.source))
            if readable:
                conditions.setdefault((fact, UNREADABLE), []).append(f"({gate} AND NOT {readable})")
            conditions.setdefault((fact, DIFFERS), []).append(f"({gate}{f' AND {readable}' if readable else ''})")
    for (fact, kind), alternatives in conditions.items():
        gate = f"({is_there} AND ({' OR '.join(gates[fact])}))"
        condition = f"({is_there} AND ({' OR '.join(alternatives)}))"
        yield Probe(target, fact, kind, condition, gate, frozenset(copies[fact]))
    if table.expected is not None:
        place = table.expected.place
        missing = f"({COPY}.{table.key} IS NULL AND {place} IS NOT DISTINCT FROM '{table.expected.value}')"
        yield Probe(target, "", MISSING, missing, missing, frozenset().union(*copies.values()))


def _tables(declared: Declaration, targets: Collection[str]) -> list[Table]:
    """List the tables to read, in the order in which they are locked."""
    names = {declared.persons.name, *targets}
    for target in targets:
        names |= {flow.source.name for flow in statements.flows(declared, target=target)}
        expected = declared.table(target).expected
        names |= {expected.place.table} if expected is not None else set()
    return [table for table in declared.tables if table.name in names]
