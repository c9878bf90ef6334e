"""Which facts of a person changed last, where, when and by whom; never what they say. The safety net writes it down."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection

from interventions.correlation import actor, request_id
from sync import statements
from sync.mirrors import Place, declaration

# What a transaction says of itself; the net reads it as it writes. Of whoever says nothing it knows the database role.
ACTOR, REQUEST = "keepwell.actor", "keepwell.request"
SHOWN = 30
_WORD = re.compile(r"[A-Za-z0-9_.:@-]{0,80}")


@dataclass(frozen=True)
class Change:
    """
    The last write of one fact in one place. `is_replaced`: it was written into a copy, and the source's value put back.

    `actor` is `user:ID` or `sql:ROLE`.
    """

    at: dt.datetime
    fact: str
    place: str
    actor: str
    request_id: str = ""
    is_replaced: bool = False


def signature(by: str = "") -> str:
    """
    Give the SQL by which a transaction says in whose name it writes: the one named, or whose request this is.

    It follows another statement and costs no round trip. Raises ValueError for a name that is none, as it is no parameter.
    """
    by, request = by or actor.get()(), request_id.get()
    if not (_WORD.fullmatch(by) and _WORD.fullmatch(request)):
        raise ValueError("A transaction cannot be signed so.")
    return f"; SET LOCAL {ACTOR} = '{by}'; SET LOCAL {REQUEST} = '{request}'" if by else ""


def sign(by: str = "") -> None:
    """Say in whose name this transaction writes from now on."""
    if signed := signature(by):
        with connection.cursor() as cursor:
            cursor.execute(signed.removeprefix("; "))


def newest(person_id: int) -> list[Change]:
    """List the last change of each fact in each place of a person, newest first. Raises DatabaseError."""
    found = [*_written(person_id), *_replaced(person_id)]
    return sorted(found, key=lambda change: change.at, reverse=True)[:SHOWN]


def columns_changed(person_id: int, seen: Mapping[str, int]) -> set[tuple[str, str]]:
    """
    Give which columns of a person's rows somebody changed since, by their own place: `seen` names each table's revision.

    Certain only while the rows are locked. Of a change that bears no number, the row's last one counts. Raises
    DatabaseError.
    """
    rows = " UNION ALL ".join(
        f"SELECT '{name}' AS place, key FROM {name}, jsonb_each({statements.CHANGES})"
        f" WHERE {declaration().table(name).key} = %(person)s AND coalesce((value ->> 3)::bigint, revision) > %({name})s"
        for name in seen
    )
    with connection.cursor() as cursor:
        cursor.execute(rows, {"person": person_id, **seen})
        changed = set(cursor.fetchall())
    places = {(pair.source.table, pair.mirror.fact): pair.source.column for pair in declaration().pairs}
    return {(table, places[table, fact]) for table, fact in changed if (table, fact) in places}


def _written(person_id: int) -> list[Change]:
    declared = declaration()
    rows = " UNION ALL ".join(
        f"SELECT '{table.name}' AS place, {statements.CHANGES} FROM {table.name} WHERE {table.key} = %(person)s"
        for table in declared.tables
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT place, key, (value ->> 0)::timestamptz, value ->> 1, value ->> 2"
            f" FROM ({rows}) AS rows, jsonb_each({statements.CHANGES})",
            {"person": person_id},
        )
        return [Change(at, fact, place, by, request) for place, fact, at, by, request in cursor.fetchall()]


def _replaced(person_id: int) -> list[Change]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT target, jsonb_object_keys(values), at, written_by FROM sync_lost_value WHERE person_id = %s"
            " ORDER BY id DESC LIMIT %s",
            [person_id, SHOWN],
        )
        return [
            Change(
                at,
                statements.fact_of(declaration(), Place(table, column)) or column,
                table,
                f"sql:{by}",
                is_replaced=True,
            )
            for table, column, at, by in cursor.fetchall()
        ]
