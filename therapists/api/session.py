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
from therapists.accounts import factors, sessions
from therapists.api.serializers import Credentials, SessionSerializer
from therapists.models import User


class SessionView(ApiView):
    """
    The caller's session.

    Signing in needs no CSRF token, for whoever is not signed in has none: it takes JSON only, which a page of another
    origin cannot send without asking first, and we never allow it.
    """

    key: ClassVar[Key] = Key.IGNORED
    lets_half_sessions_end = True
    problems: ClassVar[dict[str, str]] = {"401": "invalid_credentials, not_authenticated, session_expired: sign in."}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Ask nobody who they are when they are about to say so."""
        return [] if self._is_sign_in() else super().get_authenticators()

    def get_permissions(self) -> Any:
        """Let everybody try to sign in, and tell them that there is no other method without a session."""
        return super().get_permissions() if self.request.method == "DELETE" else [AllowAny()]

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
        if user.is_unproven:
            raise Problem(
                403, "address_unverified", "Prove your address first: sign in where you signed up, by a code."
            )
        proof = self._proof(request, user, asked.validated_data.get("code"))
        # Whoever is signed in already begins anew too.
        plain.session.flush()
        login(plain, user)
        if proof is not None:
            factors.note(plain, proof)
        # Saved here, so that a database that fails now is answered here.
        plain.session.save()
        person = {name: getattr(user, name) for name in ("id", "full_name", "email", "user_type", "is_staff")}
        return Response({"success": True, "message": "Signed in.", "csrf_token": get_token(plain), "person": person})

    def _proof(self, request: Request, user: User, code: str | None) -> Any:
        if not factors.is_enrolled(user.pk):
            return None
        if not code:
            raise Problem(403, "second_factor_required", "Send a code of your second factor in `code`.", field="code")
        try:
            return factors.checked(request._request, user, code)
        except factors.WrongCode as error:
            raise Problem(403, "wrong_code", str(error), field="code") from error

    @extend_schema(operation_id="session_destroy", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Sign out; the session is gone from the server."""
        logout(request._request)
        return Response(status=204)


class SessionsView(ApiView):
    """All of the caller's sessions, on whatever machine."""

    key: ClassVar[Key] = Key.IGNORED
    lets_half_sessions_end = True

    @extend_schema(operation_id="sessions_destroy", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """End every session of the caller, this one too."""
        sessions.end_all(person_id=int(request.user.pk or 0))
        logout(request._request)
        return Response(status=204)
