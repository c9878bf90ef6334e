"""
Everything that is stored of a person, for that person.

Read by the declaration of erasure, every column of every table that may hold something of theirs: what is new is told
as soon as it is declared there, which a test demands.
"""

import datetime as dt
import json
from typing import Any

from django.db import connection, transaction

from therapists import erasure
from therapists.operations import PRIMARY_LOCK_MS, PRIMARY_STATEMENT_MS, set_bounds

# What would let whoever reads the file act in their name.
WITHHELD: dict[str, frozenset[str]] = {
    "users": frozenset({"password"}),
    "user_sessions": frozenset({"session_key", "session_data"}),
    "mfa_authenticator": frozenset({"data"}),
}
# Where what is told is not what goes: a booking is of two people, and an answer that staff were given is of others.
TOLD = {
    "keyed_request": "person_id = ANY(%(people)s) AND route ~ '^/api/v1/(therapists/me|bookings)/'",
    "bookings": "client_id = ANY(%(people)s) OR therapist_id = ANY(%(people)s)",
    "credit_entries": "person_id = ANY(%(people)s)",
    "intervention_history": "(object_type, object_id) IN (SELECT 'user', unnest(%(people)s::text[])"
    " UNION SELECT 'enrollment', unnest(%(enrollments)s::text[]))",
}
# Tables in which others wrote about several people at once, or about their own work.
UNTOLD = frozenset({"intervention_cause", "django_admin_log"})
MOST_ROWS = 10_000


def export(*, person_id: int, at: dt.datetime) -> dict[str, Any]:
    """
    Give all rows of a person by table, as one snapshot; of more than MOST_ROWS in a table the rest is named as left out.

    Raises erasure.NobodyThere.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        set_bounds(PRIMARY_LOCK_MS, PRIMARY_STATEMENT_MS)
        subject = erasure.find(person_id=person_id)
        tables = {table: _rows(table, where, subject) for table, where in conditions().items()}
    return {
        "person_id": person_id,
        "exported_at": at,
        "tables": {table: rows[:MOST_ROWS] for table, rows in tables.items() if rows},
        "files": [f"/media/{name}" for name in subject.files],
        "left_out": sorted(table for table, rows in tables.items() if len(rows) > MOST_ROWS),
    }


def conditions() -> dict[str, str]:
    """Give for each table that is told the SQL condition of a person's rows."""
    mentioned = {table: erasure.THEIRS for table in erasure.SCRUBBED if table not in UNTOLD | set(erasure.ROWS)}
    return {**erasure.ROWS, **mentioned, **TOLD}


def _rows(table: str, where: str, subject: erasure.Subject) -> list[dict[str, Any]]:
    words = erasure.parameters(subject) | {"withheld": sorted(WITHHELD.get(table, ())), "most": MOST_ROWS + 1}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT to_jsonb({table}) - %(withheld)s::text[] FROM {table} WHERE {where} LIMIT %(most)s", words
        )
        # The framework has the driver leave JSON as it came.
        return [json.loads(row[0]) for row in cursor.fetchall()]
