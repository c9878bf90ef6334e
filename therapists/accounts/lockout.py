"""Who has been wrong too often waits: counted in PostgreSQL, for an account and where it was tried from together."""

import datetime as dt
import unicodedata
from collections.abc import Mapping
from typing import Any, cast

from axes.backends import AxesStandaloneBackend
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.db import connection
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone

from interventions.origins import origin_of

LONGEST_NAME = 255
# In one statement what the framework asks for in two, and composes anew each time: staff's every request asks it.
_GRANTED = """
SELECT kind.app_label || '.' || permission.codename
FROM auth_permission AS permission JOIN django_content_type AS kind ON kind.id = permission.content_type_id
WHERE permission.id IN (
    SELECT own.permission_id FROM users_user_permissions AS own WHERE own.user_id = %(person_id)s
    UNION ALL SELECT granted.permission_id
    FROM users_groups AS member JOIN auth_group_permissions AS granted USING (group_id)
    WHERE member.user_id = %(person_id)s
)
"""


class Lockout(AxesStandaloneBackend):
    """Stands before whatever knows passwords: a password that is tried too late is not even looked at."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **named: Any
    ) -> None:
        """Let nobody through who is locked out. Whoever asks without a request asks from nowhere."""
        if request is not None:
            super().authenticate(request, username, password, **named)


class Passwords(ModelBackend):
    """
    Whoever knows the password, as the source has it now.

    Whoever signed up with somebody's address has not become that colleague by being given their role: without a proof
    of the address nobody is let in as staff, at whatever door.
    """

    def user_can_authenticate(self, user: Any) -> bool:
        """Tell whether somebody may be let in at all, now and at each request."""
        return super().user_can_authenticate(user) and not (user.is_staff and user.is_unproven)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Give all that somebody may do, as it is now when they are first asked about in a request."""
        if user_obj.is_active and user_obj.pk and obj is None and not user_obj.is_superuser:
            if not hasattr(user_obj, "_perm_cache"):
                with connection.cursor() as cursor:
                    cursor.execute(_GRANTED, {"person_id": user_obj.pk})
                    user_obj._perm_cache = {name for (name,) in cursor.fetchall()}
            return cast("set[str]", user_obj._perm_cache)
        return super().get_all_permissions(user_obj, obj)


def account_of(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str | None:
    """Give the account that is tried. Another spelling of an address is no other account."""
    named = credentials or {}
    address = str(named.get("email") or named.get("username") or "").replace("\0", "")
    return unicodedata.normalize("NFC", address.strip()).lower()[:LONGEST_NAME] or None


def is_locked(request: HttpRequest, address: str) -> bool:
    """Tell whether somebody may not even try now; the request is answered accordingly."""
    credentials = {"username": address}
    if AxesProxyHandler.is_allowed(request, credentials):
        return False
    request.axes_locked_out, request.axes_credentials = True, credentials  # type: ignore[attr-defined]
    return True


def forget(request: HttpRequest, address: str) -> None:
    """Forget the wrong tries of an account from where this request comes; for whoever is in with all that they must show."""
    _tries(request, {"username": address}).delete()


def forget_old(*, at: dt.datetime) -> int:
    """Delete tries that count no longer, with addresses and IP addresses; give how many."""
    gone, _ = AccessAttempt.objects.filter(attempt_time__lte=at - settings.AXES_COOLOFF_TIME).delete()
    return int(gone)


def seconds_left(request: HttpRequest, credentials: Mapping[str, Any] | None) -> int:
    """Tell how long the account stays locked for where this request comes from; at least one second."""
    last: dt.datetime | None = _tries(request, credentials).aggregate(last=Max("attempt_time"))["last"]
    until = (last or timezone.now()) + settings.AXES_COOLOFF_TIME
    return max(1, round((until - timezone.now()).total_seconds()))


def _tries(request: HttpRequest, credentials: Mapping[str, Any] | None) -> Any:
    return AccessAttempt.objects.filter(username=account_of(request, credentials), ip_address=origin_of(request))
