"""One statement for everybody: the fastest that PostgreSQL can, unsafe beside writers, and one bad row fails all."""

from django.db import IntegrityError, connection

_ALL = (
    "UPDATE therapist_profiles p SET bio = e.bio FROM therapist_enrollments e"
    " WHERE e.user_id = p.user_id AND p.bio IS DISTINCT FROM e.bio"
)


def fill(people: list[int]) -> None:
    """Nothing is noted: the statement finds what differs."""


def drain() -> None:
    """Write all of them, or none."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ALL)
    except IntegrityError:
        return


def failures() -> str:
    """It keeps no record."""
    return "none recorded"
