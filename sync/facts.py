"""What the sources say about one person now, for a service that is told of it."""

from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from sync.mirrors import Declaration, Service, declaration


@dataclass(frozen=True)
class Facts:
    """
    A person's facts at one moment. `is_known`: the service should know them; without it there are no values.

    `is_unsettled`: their rows are gone, and whether that was meant has not been decided.
    """

    is_known: bool
    is_unsettled: bool = False
    values: dict[str, Any] = field(default_factory=dict, repr=False)


def read(person_id: int, service: Service) -> Facts:
    """Read in one statement what a service takes of a person. Raises DatabaseError."""
    declared = declaration()
    names = [*service.facts, *service.besides]
    with connection.cursor() as cursor:
        cursor.execute(_statement(declared, service, names), {"person": person_id})
        is_there, is_wanted, is_deleted, is_open, *values = cursor.fetchone()
    if is_wanted:
        return Facts(is_known=True, values=dict(zip(names, values, strict=True)))
    # Rows that are gone without a deletion that took effect: held ones, or a TRUNCATE, which leaves no trace.
    return Facts(is_known=False, is_unsettled=is_open or not (is_there or is_deleted))


def _statement(declared: Declaration, service: Service, names: list[str]) -> str:
    persons, only = declared.persons, service.only
    table = declared.table(only.place.table) if only else persons
    wanted = f"{table.name}.{table.key} IS NOT NULL" + (f" AND {only.place} = '{only.value}'" if only else "")
    joined = "".join(f" LEFT JOIN {other.name} ON {other.name}.{other.key} = asked.person" for other in declared.tables)
    gone = f"SELECT FROM sync_tombstone AS t WHERE t.person_id = asked.person AND t.target IN ('{table.name}', '{persons.name}')"
    values = "".join(f", {_value(declared, name)}" for name in names)
    return (
        f"SELECT {table.name}.{table.key} IS NOT NULL, coalesce({wanted}, false),"
        f" EXISTS ({gone} AND (t.kind = 'unlinked' OR t.applied_at IS NOT NULL)),"
        f" {table.name}.{table.key} IS NULL AND EXISTS ({gone} AND t.kind = 'deleted' AND t.applied_at IS NULL){values}"
        f" FROM (SELECT %(person)s::bigint AS person) AS asked{joined}"
    )


def _value(declared: Declaration, fact: str) -> str:
    """Give the SQL of a fact at its source; of one that may be written anywhere, the newest; of ties the first declared."""
    places = declared.sources(fact)
    if len(places) == 1:
        return str(places[0])
    rows = ", ".join(
        f"({place}, {place.table}.avatar_revision, {number}, {place.table}.{declared.table(place.table).key})"
        for number, place in enumerate(places)
    )
    return (
        f"(SELECT v.value FROM (VALUES {rows}) AS v (value, revision, number, row)"
        " WHERE v.row IS NOT NULL ORDER BY v.revision DESC, v.number LIMIT 1)"
    )
