"""Looking through everybody, or some: what differs by target and fact, what is owed, accepted, missing or stray."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import DatabaseError, connection

from interventions.failpoints import reach
from interventions.sqlstates import sqlstate
from sync import differences
from sync.accepted import accepted_places
from sync.differences import DIFFERS, MISSING, UNREADABLE, Comparison, Entity, Found
from sync.mirrors import Declaration, Place, Table, declaration

PEOPLE_A_LOOK = 5_000
DUPLICATE, UNLINKED, ORPHAN = "duplicate", "unlinked", "orphan"


@dataclass
class Survey:
    """
    What was found, in persons.

    `drift` counts what differs though nothing is owed; `people` everybody of whose target something differs that nobody
    accepted, drift or owed. What could not be read stands in `unread` with its SQLSTATE and is not equal.
    """

    drift: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    owed: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    strays: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: dict[str, str] = field(default_factory=dict)
    # By fact, whoever has it otherwise in any place: drifted, owed, accepted, or without the row that repeats it.
    unequal: Counter[str] = field(default_factory=Counter)

    @property
    def drifted(self) -> int:
        """How many (person, target, fact) have drifted or lack their row."""
        return sum(self.drift.values())

    def as_json(self) -> dict[str, Any]:
        """Give the counts by target and kind, as a plan is kept and printed."""
        targets: dict[str, Any] = {}
        for name in declaration().targets:
            facts, unread = (
                {f: n for (t, f, k), n in sorted(self.drift.items()) if t == name and k == kind}
                for kind in (DIFFERS, UNREADABLE)
            )
            targets[name] = {
                "differs": facts, "unreadable": unread, "missing": self.drift[name, "", MISSING], "owed": self.owed[name],
                "accepted": self.accepted[name], "out_of_reach": self.unread.get(name),
            }  # fmt: skip
        strays: dict[str, dict[str, int]] = {}
        for (table, kind), number in sorted(self.strays.items()):
            strays.setdefault(table, {})[kind] = number
        return {"targets": targets, "strays": strays, "unequal": dict(sorted(self.unequal.items()))}

    def add(self, found: Collection[Found], owed: set[Entity], spared: Mapping[Entity, frozenset[Place]]) -> None:
        """Count a range in; `spared` places are as somebody accepted them."""
        for one in found:
            left = one.sparing(spared)
            self.accepted.update({probe.target for probe in set(one.probes) - set(left.probes)})
            self.owed.update(target for target in one.targets if (one.person_id, target) in owed)
            self.people.update(left.targets)
            self.unequal.update(
                {fact for probe in one.probes for fact in ([probe.fact] if probe.fact else _facts(probe.target))}
            )
            self.drift.update((p.target, p.fact, p.kind) for p in left.probes if (one.person_id, p.target) not in owed)


Seen = Callable[[Mapping[str, list[int]]], None]


def everybody(*, seen: Seen = lambda people: None) -> Survey:
    """
    Compare every copy of every person; `seen` hears range by range of whose target something has drifted.

    What is owed is in the workers' hands, or waits for a person: being looked at is no reason to try it again.

    A target that cannot be read is left out and named; the others are compared all the same.
    """
    declared, survey = declaration(), Survey()
    comparison, survey.unread = differences.readable(declared)
    try:
        for low, high in differences.ranges(declared):
            found, comparison = _read(comparison, survey, low, high)
            _count(survey, found, seen)
        survey.strays = _strays(declared)
    except DatabaseError as error:
        survey.unread |= dict.fromkeys(declared.targets, sqlstate(error))
    return survey


def some(people: Collection[int], *, seen: Seen = lambda people: None) -> Survey:
    """Compare every copy of some persons."""
    survey = Survey()
    comparison, survey.unread = differences.readable(declaration())
    ordered = sorted(people)
    for first in range(0, len(ordered), PEOPLE_A_LOOK):
        _count(survey, comparison.found_among(ordered[first : first + PEOPLE_A_LOOK]), seen)
    return survey


def compared_people() -> dict[str, int]:
    """
    Count by fact the persons of whom it is compared: its source and a copy are there, or a copy must be.

    By the ids of rows that are there: a person without a value, and two rows that both say nothing, count like any other.
    """
    declared = declaration()
    persons, asked = declared.persons, dict[str, str]()
    for mirror in declared.mirrors:
        pairs = [pair for pair in declared.pairs if pair.mirror == mirror]
        ways = {
            f"({_key(declared, p.source.table)} IS NOT NULL AND {_key(declared, p.copy.table)} IS NOT NULL)"
            for p in pairs
        }
        for name in {pair.copy.table for pair in pairs}:
            expected = declared.table(name).expected
            if expected is not None:
                ways.add(f"({expected.place} IS NOT DISTINCT FROM '{expected.value}')")
        asked[mirror.fact] = f"count(*) FILTER (WHERE {' OR '.join(sorted(ways))})"
    joins = "".join(
        f" LEFT JOIN {table.name} ON {_key(declared, table.name)} = {persons.name}.{persons.key}"
        for table in declared.tables[1:]
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(asked.values())} FROM {persons.name}{joins}")
        return dict(zip(asked, cursor.fetchone(), strict=True))


def _key(declared: Declaration, table: str) -> str:
    return f"{table}.{declared.table(table).key}"


@cache
def _facts(target: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p.mirror.fact for p in declaration().pairs if p.copy.table == target))


def _read(comparison: Comparison, survey: Survey, low: int, high: int) -> tuple[list[Found], Comparison]:
    """Read a range; a target that cannot be read any more is left out from here on."""
    try:
        return comparison.found_between(low, high), comparison
    except DatabaseError:
        again, unread = differences.readable(declaration())
        survey.unread |= unread
        kept = Comparison(declaration(), [target for target in again.targets if target not in survey.unread])
        return kept.found_between(low, high), kept


def _count(survey: Survey, found: list[Found], seen: Seen) -> None:
    if not found:
        return
    reach("sync.audit.after_read", (one.person_id for one in found))
    owed, excluded = differences.held_apart([one.person_id for one in found])
    spared = accepted_places(excluded)
    survey.add(found, owed, spared)
    people: dict[str, list[int]] = {}
    for one in found:
        for target in one.sparing(spared).targets:
            if (one.person_id, target) not in owed:
                people.setdefault(target, []).append(one.person_id)
    seen(people)


def _strays(declared: Declaration) -> Counter[tuple[str, str]]:
    """Count rows that belong to nobody, or to somebody who has another."""
    strays: Counter[tuple[str, str]] = Counter()
    for table in declared.tables[1:]:
        for kind, statement in _stray_rows(declared, table):
            with connection.cursor() as cursor:
                cursor.execute(statement)
                strays[table.name, kind] += cursor.fetchone()[0]
    return strays


def _stray_rows(declared: Declaration, table: Table) -> Iterator[tuple[str, str]]:
    persons, name, key = declared.persons, table.name, table.key
    yield UNLINKED if table.link else ORPHAN, f"SELECT count(*) FROM {name} WHERE {key} IS NULL"
    if table.link:
        yield (
            DUPLICATE,
            (
                # Two joins and no OR: over an OR everybody's address would be read first.
                f"SELECT count(*) FROM (SELECT u.ctid FROM {name} u JOIN {name} o ON o.{table.link} = u.{table.link}"
                f" WHERE u.{key} IS NULL AND o.{key} IS NULL AND o.ctid <> u.ctid"
                f" UNION SELECT u.ctid FROM {name} u JOIN {persons.name} p ON p.{table.link} = u.{table.link}"
                f" JOIN {name} o ON o.{key} = p.{persons.key} WHERE u.{key} IS NULL) AS doubles"
            ),
        )
    is_unique, is_bound = _guards(declared, table)
    if not is_unique:
        yield (
            DUPLICATE,
            (
                f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {name} WHERE {key} IS NOT NULL"
                f" GROUP BY {key} HAVING count(*) > 1) AS several"
            ),
        )
    if not is_bound:
        yield (
            ORPHAN,
            (
                f"SELECT count(*) FROM {name} u WHERE u.{key} IS NOT NULL"
                f" AND NOT EXISTS (SELECT FROM {persons.name} p WHERE p.{persons.key} = u.{key})"
            ),
        )


def _guards(declared: Declaration, table: Table) -> tuple[bool, bool]:
    """Tell whether the database itself keeps a second row, and a row of nobody, from being there."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = attrelid AND indisunique AND indisvalid"
            " AND indpred IS NULL AND indnkeyatts = 1 AND indkey[0] = attnum),"
            " EXISTS (SELECT FROM pg_constraint WHERE conrelid = attrelid AND contype = 'f' AND convalidated"
            " AND confrelid = %s::regclass AND conkey = ARRAY[attnum])"
            " FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
            [declared.persons.name, table.name, table.key],
        )
        is_unique, is_bound = cursor.fetchone()
    return is_unique, is_bound
