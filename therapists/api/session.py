"""Sign in and out with a session cookie."""

from typing import Any, ClassVar

from django.contrib.auth import authenticate, login, logout
from django.middleware.csrf import get_token
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, Key
from interventions.api.problems import Problem
from therapists.api.serializers import Credentials, SessionSerializer
from therapists.models import User


class SessionView(ApiView):
    """
    The caller's session.

    Signing in needs no CSRF token, for whoever is not signed in has none: it takes JSON only, which a page of another
    origin cannot send without asking first, and we never allow it.
    """

    key: ClassVar[Key] = Key.IGNORED

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Ask nobody who they are when they are about to say so."""
        return [] if self._is_sign_in() else super().get_authenticators()

    def get_permissions(self) -> Any:
        """Let everybody try to sign in."""
        return [AllowAny()] if self._is_sign_in() else super().get_permissions()

    def _is_sign_in(self) -> bool:
        request: Any = getattr(self, "request", None)
        return bool(request is not None and request.method == "POST")

    @extend_schema(operation_id="session_create", request=Credentials, responses={200: SessionSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        """Sign in; sets the session cookie and gives the token that writes need."""
        asked = Credentials(data=request.data)
        asked.is_valid(raise_exception=True)
        plain = request._request
        user = authenticate(plain, username=asked.validated_data["email"], password=asked.validated_data["password"])
        if not isinstance(user, User):
            raise Problem(
                401, "invalid_credentials", "The address or the password is wrong.",
                headers={"WWW-Authenticate": 'Session realm="Keepwell"'},
            )  # fmt: skip
        login(plain, user)
        # Saved here, so that a database that fails now is answered here.
        plain.session.save()
        person = {name: getattr(user, name) for name in ("id", "full_name", "email", "user_type", "is_staff")}
        return Response({"success": True, "message": "Signed in.", "csrf_token": get_token(plain), "person": person})

    @extend_schema(operation_id="session_destroy", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Sign out; the session is gone from the server."""
        logout(request._request)
        return Response(status=204)
