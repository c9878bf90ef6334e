"""Who calls: by session cookie or by an application's token; whoever owes their second factor is let in nowhere."""

from typing import Any

from allauth.headless.contrib.rest_framework.authentication import XSessionTokenAuthentication
from django.contrib.sessions.backends.base import SessionBase
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from interventions.api.authentication import SessionAuthentication
from therapists.accounts import factors


class WholeSession(SessionAuthentication):
    """The session cookie."""

    def authenticate(self, request: Request) -> Any:
        """Give the caller; None: nobody. Raises PermissionDenied where the second factor is owed."""
        found = super().authenticate(request)
        if found is not None:
            _refuse_half(request, found[0], request._request.session)
        return found


class SessionToken(BaseAuthentication):
    """The token that an application got when somebody signed in there."""

    def authenticate(self, request: Request) -> Any:
        """Give the caller and their session; None: nobody. Raises PermissionDenied where the second factor is owed."""
        found = XSessionTokenAuthentication().authenticate(request._request)
        if found is not None:
            _refuse_half(request, *found)
        return found

    def authenticate_header(self, request: Request) -> str:
        """Name what is missing."""
        return 'Session realm="Keepwell"'


def session_of(request: Request) -> SessionBase:
    """Give the session by which the caller was known."""
    return request.auth if isinstance(request.auth, SessionBase) else request._request.session


def _refuse_half(request: Request, person: Any, session: SessionBase) -> None:
    is_leaving = getattr((request.parser_context or {}).get("view"), "lets_half_sessions_end", False)
    if not is_leaving and factors.is_owed(person, session):
        raise PermissionDenied(factors.NEEDED, code="second_factor_required")


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names it."""

    target_class = "therapists.api.authentication.SessionToken"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """The header."""
        return {"type": "apiKey", "in": "header", "name": "X-Session-Token"}
