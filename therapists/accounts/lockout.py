"""Who has been wrong too often waits: counted in PostgreSQL, for an account and where it was tried from together."""

import datetime as dt
import unicodedata
from collections.abc import Mapping
from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone

from interventions.origins import origin_of

LONGEST_NAME = 255


class Lockout(AxesStandaloneBackend):
    """Stands before whatever knows passwords: a password that is tried too late is not even looked at."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **named: Any
    ) -> None:
        """Let nobody through who is locked out. Whoever asks without a request asks from nowhere."""
        if request is not None:
            super().authenticate(request, username, password, **named)


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


def seconds_left(request: HttpRequest, credentials: Mapping[str, Any] | None) -> int:
    """Tell how long the account stays locked for where this request comes from; at least one second."""
    tried = AccessAttempt.objects.filter(username=account_of(request, credentials), ip_address=origin_of(request))
    last: dt.datetime | None = tried.aggregate(last=Max("attempt_time"))["last"]
    until = (last or timezone.now()) + settings.AXES_COOLOFF_TIME
    return max(1, round((until - timezone.now()).total_seconds()))
