"""What every peer's worker does with one pending update, and how many are left."""

from django.db import connection

POISON = "poison"
# In the peers' favour: one statement without locks, which may put an old value over a newer one beside writers.
_BRING = (
    "UPDATE therapist_profiles p SET bio = e.bio FROM therapist_enrollments e"
    " WHERE e.user_id = p.user_id AND p.user_id = %s"
)
_LEFT = (
    "SELECT count(*) FROM therapist_profiles p JOIN therapist_enrollments e USING (user_id)"
    " WHERE p.bio IS DISTINCT FROM e.bio AND e.bio <> %s AND user_id <= %s"
)


def bring(person: int) -> None:
    """Write one person's copy; raises IntegrityError for poison."""
    with connection.cursor() as cursor:
        cursor.execute(_BRING, [person])


def left(last: int) -> int:
    """Count the copies up to a person that are behind and can be written."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, [POISON, last])
        return int(cursor.fetchone()[0])


def count(query: str) -> int:
    """Give the number that a query finds."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])
