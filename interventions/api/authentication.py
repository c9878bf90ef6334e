"""Who calls: the session, with CSRF enforced, and a 401 for whoever has none."""

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions
from rest_framework.request import Request


class SessionAuthentication(authentication.SessionAuthentication):
    """The session cookie. Anonymous callers get 401 with WWW-Authenticate where the framework's own says 403."""

    def authenticate_header(self, request: Request) -> str:
        """Name what is missing; no browser opens a dialog for it."""
        return 'Session realm="Keepwell"'

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a write whose CSRF token is missing or wrong."""
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            raise exceptions.PermissionDenied(
                "The CSRF token is missing or wrong. Send the value of the csrftoken cookie as X-CSRFToken.",
                code="csrf_failed",
            ) from error


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names it."""

    target_class = "interventions.api.authentication.SessionAuthentication"
    match_subclasses = True
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """The cookie."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
