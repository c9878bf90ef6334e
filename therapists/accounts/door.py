"""What the sign-in library's own addresses do for a session whose second factor was not shown, or too long ago."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from allauth.account.internal.stagekit import unstash_login
from allauth.core.internal.sessionkit import get_session_user
from allauth.headless.contrib.rest_framework.authentication import XSessionTokenAuthentication
from allauth.headless.internal.sessionkit import lookup_session
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse

from interventions.api.problems import plain_problem
from therapists.accounts import factors, lockout
from therapists.accounts.answers import PREFIX

LIBRARY = (f"{PREFIX}app/", f"{PREFIX}browser/")
# Where a code is taken.
CODES = frozenset({"auth/2fa/authenticate", "auth/2fa/reauthenticate"})
# Where half a session ends, tells how it stands, or becomes a whole one.
HALF = CODES | {"config", "auth/session", "auth/reauthenticate"}
FACTOR, RECOVERY = "account/authenticators/totp", "account/authenticators/recovery-codes"


class Door:
    """
    Middleware: the library knows sessions that are signed in and others, but none that is half signed in.

    Without it a password alone would take the factor away, or show the recovery codes. And it asks the lockout before
    a code is looked at: a right guess that comes too late is none.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Answer in the library's stead where it would go too far."""
        if not request.path.startswith(LIBRARY) or request.resolver_match is None:
            return None
        asked = str(request.resolver_match.route).rpartition("/v1/")[2]
        session = _session(request)
        if session is None:
            return None
        person = _person(request, session)
        tried = person if person.is_authenticated else _half_way(session)
        if asked in CODES and tried is not None and lockout.is_locked(request, tried.email):
            # The lockout's middleware says for how long.
            return HttpResponse(status=429)
        if not person.is_authenticated or asked in HALF:
            return None
        needed = asked in {FACTOR, RECOVERY} and not factors.is_fresh(person, session)
        if not (needed or factors.is_owed(person, session)):
            return None
        if asked == FACTOR and not factors.is_enrolled(person.pk):
            return None
        return plain_problem(request, status=403, code="second_factor_required", detail=factors.NEEDED)


def _session(request: HttpRequest) -> SessionBase | None:
    """Give the session that the library will use: that of the cookie for browsers, that of the token for applications."""
    if not request.path.startswith(LIBRARY[0]):
        return request.session
    token = XSessionTokenAuthentication().get_session_token(request)
    return lookup_session(token) if token else None


def _person(request: HttpRequest, session: SessionBase) -> Any:
    return request.user if session is request.session else get_session_user(session) or AnonymousUser()


def _half_way(session: SessionBase) -> Any:
    """Give whoever has shown the password here and not the factor; the library calls nobody signed in until then."""
    login = unstash_login(SimpleNamespace(session=session), peek=True)
    return login.user if login else None
