"""Who many callers are, read at once: what a stream asks again and again of everybody who has one open."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from therapists.accounts import factors
from therapists.accounts.lockout import Passwords
from therapists.accounts.sessions import SessionStore
from therapists.models import OpenSession

_GRANTED = """
SELECT given.person_id, kind.app_label || '.' || permission.codename
FROM (SELECT own.user_id AS person_id, own.permission_id FROM users_user_permissions AS own
      UNION SELECT member.user_id, granted.permission_id
      FROM users_groups AS member JOIN auth_group_permissions AS granted USING (group_id)) AS given
JOIN auth_permission AS permission ON permission.id = given.permission_id
JOIN django_content_type AS kind ON kind.id = permission.content_type_id
WHERE given.person_id = ANY(%s) AND kind.app_label || '.' || permission.codename = ANY(%s)
"""
_PERSON = ("password", "is_active", "is_staff", "is_superuser", "unproven_address", "email_norm")
_passwords = Passwords()


@dataclass(frozen=True)
class Caller:
    """Whose session it is and which of the permissions asked about they have; `is_half`: their second factor is owed."""

    person_id: int
    permissions: frozenset[str]
    is_half: bool = False


def callers(keys: Collection[str], *, permissions: Collection[str]) -> dict[str, Caller]:
    """
    Tell for each key of a session, or token of an application, whose it is now; who is let in nowhere is left out.

    The same as requests are told, in two statements for any number, and no use of the sessions: whoever only has a page
    open is signed out all the same. Raises DatabaseError.
    """
    at = timezone.now()
    found = OpenSession.objects.filter(session_key__in=keys, expire_date__gt=at, person__isnull=False)
    found = found.select_related("person").only(
        "session_data", "began_at", "used_at", *(f"person__{n}" for n in _PERSON)
    )
    rows: dict[str, Any] = {row.session_key: row for row in found if _is_open(row, at)}
    staff = {row.person_id: row.person for row in rows.values() if row.person.is_staff}
    granted = _granted({pk for pk, person in staff.items() if not person.is_superuser}, permissions)
    granted |= {pk: frozenset(permissions) for pk, person in staff.items() if person.is_superuser}
    return {
        key: Caller(row.person_id, granted.get(row.person_id, frozenset()), _is_half(row)) for key, row in rows.items()
    }


def _is_open(row: Any, at: dt.datetime) -> bool:
    person, data = row.person, _decoded(row.session_data)
    if data.get(SESSION_KEY) != str(row.person_id) or not _passwords.user_can_authenticate(person):
        return False
    # Whoever has chosen another password has ended the sessions from before.
    if not constant_time_compare(data.get(HASH_SESSION_KEY, ""), person.get_session_auth_hash()):
        return False
    idle, day = dt.timedelta(minutes=settings.STAFF_IDLE_MINUTES), dt.timedelta(hours=settings.STAFF_SESSION_HOURS)
    return not person.is_staff or (at - row.used_at <= idle and at - row.began_at <= day)


def _is_half(row: Any) -> bool:
    return factors.is_owed(row.person, cast("SessionBase", _decoded(row.session_data)))


@lru_cache(maxsize=20_000)
def _decoded(data: str) -> Mapping[str, Any]:
    """Read what a session holds; it is signed, so that the same text always says the same."""
    return cast("Mapping[str, Any]", SessionStore().decode(data))


def _granted(people: Collection[int], permissions: Collection[str]) -> dict[int, frozenset[str]]:
    if not people:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_GRANTED, [sorted(people), sorted(permissions)])
        found = cursor.fetchall()
    return {person: frozenset(name for one, name in found if one == person) for person in people}
