"""Sessions end when they must; staff read times in their own zone and come to the desk with a second factor."""

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from therapists import zones
from therapists.accounts import factors
from therapists.accounts.sessions import SessionStore

DESK = "/admin/"


class Sessions(SessionMiddleware):
    """
    Take the cookie of a session away with the answer that ends it, and with no other.

    The framework does so with each request whose session is gone already: such an answer can come after the one that
    signs somebody in, and would sign them out again.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Answer as the framework does, but for that."""
        answer = super().process_response(request, response)
        # Whoever ends a session has changed it.
        if request.session.is_empty() and not request.session.modified:
            answer.cookies.pop(settings.SESSION_COOKIE_NAME, None)
        return answer


class Looks:
    """Tell the session of a request that a page made by itself, and nobody's hand. Who says so falsely is signed out earlier."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request; before anybody has read its session."""
        cast("SessionStore", request.session).is_look = "X-Look" in request.headers
        return self.get_response(request)


class ReadersZone:
    """Answer the desk's requests in the zone of whoever is signed in; elsewhere, and without a choice, in the site's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request in that zone; pages are rendered before this ends."""
        zone = zones.named(getattr(request.user, "time_zone", "")) if request.path.startswith(DESK) else None
        with timezone.override(zone):
            return self.get_response(request)


class SecondFactor:
    """Lead whoever owes their second factor to the page that asks for it, from wherever on the desk they go."""

    open_pages = frozenset({"own_factor", "admin:login", "admin:logout"})

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Answer in the view's stead where the session is but half signed in."""
        if not request.path.startswith(DESK) or not request.user.is_authenticated:
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in self.open_pages or not factors.is_owed(request.user, request.session):
            return None
        back = request.get_full_path() if request.method == "GET" else DESK
        return HttpResponseRedirect(f"{reverse('own_factor')}?{urlencode({'next': back})}")
