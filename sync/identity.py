"""Whose row is whose: rows without a person are given to the person whose address they carry."""

import datetime as dt
from collections.abc import Collection

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from interventions.arrays import array
from interventions.failpoints import reach
from sync import statements
from sync.mirrors import declaration

MOST_LINKED = 10_000
# What waits to be appended may say that the row is a deleted person's, or whose the address was.
_NOTHING_WAITS = "NOT EXISTS (SELECT FROM sync_belated WHERE target <> 'sync_lost_value')"


def link(people: Collection[int]) -> None:
    """
    Give rows without a person to those of the people whose address they carry, now or earlier.

    Of several rows the declared order takes one; the others stay without a person. The net then owes what follows.
    Never waits for a lock, never raises: what is out of reach now is found by the next look for unlinked rows.
    """
    declared = declaration()
    for table in declared.tables:
        if table.link is None:
            continue
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE ONLY {table.name} IN ROW EXCLUSIVE MODE NOWAIT")
                reach("sync.link.before_write", people)
                cursor.execute(
                    f"UPDATE {table.name} AS unlinked SET {table.key} = found.person_id FROM ("
                    f" SELECT DISTINCT ON (person_id) person_id, id"
                    f" FROM ({statements.addresses(declared, table.link)}) AS known"
                    f" JOIN {table.name} ON {table.link} = address AND {statements.linkable(declared, table)}"
                    f" WHERE person_id = ANY(%s::bigint[]) AND {_NOTHING_WAITS}"
                    f" AND NOT EXISTS (SELECT FROM {table.name} o WHERE o.{table.key} = person_id)"
                    f" ORDER BY person_id, {table.link_order}) AS found"
                    f" WHERE unlinked.{table.key} IS NULL AND unlinked.id IN (SELECT id FROM {table.name}"
                    f" WHERE id = found.id FOR NO KEY UPDATE SKIP LOCKED)",
                    [array(people)],
                )
                reach("sync.link.after_write", people)
        except DatabaseError:
            continue


def unlinked() -> list[int]:
    """Find persons, at most MOST_LINKED, for whom an unlinked row carries their address."""
    declared = declaration()
    found: list[int] = []
    for table in declared.tables:
        if table.link is not None:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT DISTINCT person_id FROM ({statements.addresses(declared, table.link)}) AS known"
                    f" JOIN {table.name} ON {table.link} = address AND {statements.linkable(declared, table)}"
                    f" WHERE NOT EXISTS (SELECT FROM {table.name} o WHERE o.{table.key} = person_id) AND {_NOTHING_WAITS}"
                    f" LIMIT {MOST_LINKED}"
                )
                found += [row[0] for row in cursor.fetchall()]
    return found


def find_by_address(address: str) -> int | None:
    """Give the person whose address this is, or was and is nobody else's now; spelled as the database compares it."""
    declared = declaration()
    for name in dict.fromkeys(table.link for table in declared.tables if table.link is not None):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT person_id FROM ({statements.addresses(declared, name)}) AS known"
                " WHERE address = lower(normalize(btrim(%s)))",
                [address],
            )
            if row := cursor.fetchone():
                return int(row[0])
    return None


def find_by_earlier_address(words: str, *, among: Collection[int] | None = None, limit: int | None = None) -> list[int]:
    """Give which persons, of all or of these, had an address that contains the words."""
    aliases = declaration().aliases
    if aliases is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT person_id FROM {aliases.table} WHERE strpos(lower({aliases.spelling}), lower(%s)) > 0"
            f"{'' if among is None else ' AND person_id = ANY(%s::bigint[])'} ORDER BY person_id LIMIT %s",
            [words, *([] if among is None else [array(among)]), limit],
        )
        return [row[0] for row in cursor.fetchall()]


def prune(*, at: dt.datetime) -> None:
    """Forget addresses that nobody has used for longer than the settings say."""
    aliases = declaration().aliases
    if aliases is not None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"DELETE FROM {aliases.table} WHERE valid_to < %s",
                [at - dt.timedelta(days=settings.SYNC_ALIASES_KEPT_DAYS)],
            )
