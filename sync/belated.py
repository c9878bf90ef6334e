"""What a trigger could not append because its table was out of reach: appended by workers as soon as it is not."""

import logging

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from interventions.failpoints import reach
from interventions.sqlstates import sqlstate
from sync import reconcile
from sync.mirrors import declaration

logger = logging.getLogger(__name__)

STRIDE = 1_000
# Deleting is claiming, as with debt: a transaction that fails gives the rows back.
_APPEND = """
WITH taken AS (
    DELETE FROM sync_belated WHERE id IN (
        SELECT id FROM sync_belated WHERE target = '{table}' ORDER BY id LIMIT {stride} FOR UPDATE SKIP LOCKED)
    RETURNING id, values)
INSERT INTO {table} ({columns})
SELECT {columns} FROM (
    SELECT taken.id AS place, appended.* FROM taken, jsonb_populate_record(NULL::{table}, taken.values) AS appended
) AS found ORDER BY place
RETURNING person_id
"""


def take_in() -> None:
    """Append what waits, in the order in which it was set down. Waits for no lock: what is out of reach stays for later."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT target FROM sync_belated")
        waiting = {target for (target,) in cursor.fetchall()}
    for table, columns in _columns().items():
        while table in waiting and _stride(table, columns) == STRIDE:
            pass


def _columns() -> dict[str, str]:
    """Give the tables whose rows may come late, and the columns that are filled."""
    aliases = declaration().aliases
    found = {
        "sync_tombstone": "person_id, target, row_id, kind, at",
        "sync_lost_value": "person_id, target, values, written_by, at",
    }
    return (
        found
        if aliases is None
        else found | {aliases.table: f"person_id, {aliases.spelling}, {aliases.link}, valid_to"}
    )


def _stride(table: str, columns: str) -> int:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
            cursor.execute(f"LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE NOWAIT")
            cursor.execute(_APPEND.format(table=table, columns=columns, stride=STRIDE))
            people = [person_id for (person_id,) in cursor.fetchall()]
            reach("sync.belated.before_commit", people)
    except DatabaseError as error:
        logger.info("sync.belated.open", extra={"target": table, "code": sqlstate(error)})
        return 0
    return len(people)
