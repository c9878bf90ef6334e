"""What every page of a person's own shares: who may come, that nobody keeps it, and what is said where PostgreSQL is away."""

import base64
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods

from interventions.api.problems import RETRY_SECONDS, is_away
from therapists import zones
from therapists.accounts import factors
from therapists.models import Enrollment, User

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponse]
ROOT = "/me/"
# A page that says "somebody changed this meanwhile", or that a form was refused.
CONFLICT, REFUSED = 409, 400
SEE_OTHER = 303
# Never shown again, not even to whoever typed it.
SECRET = frozenset({"password", "new_password", "code", "csrfmiddlewaretoken"})


def kept_private(*methods: str) -> Callable[[View], View]:
    """Let a page be asked for by these methods, be kept by nobody, and say what to do where PostgreSQL is away."""

    def dressed(view: View) -> View:
        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                response = view(request, *args, **kwargs)
            except (DatabaseError, InterfaceError) as error:
                if not is_away(error):
                    raise
                response = _away(request, error)
            response["Cache-Control"] = "private, no-store"
            return response

        return cast("View", require_http_methods([*methods, *(["HEAD"] if "GET" in methods else [])])(answered))

    return dressed


def own(*methods: str) -> Callable[[View], View]:
    """
    Let a page be asked for by whoever is wholly signed in, who reads times in the zone they chose, or in the site's.

    Others are led to where they sign in, and back.
    """

    def dressed(view: View) -> View:
        @kept_private(*methods)
        @wraps(view)
        def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _led("own:sign_in", request)
            if factors.is_owed(request.user, request.session):
                return _led("own:code", request)
            with timezone.override(zones.named(user_of(request).time_zone)):
                return view(request, *args, **kwargs)

        return asked

    return dressed


def shown(request: HttpRequest, template: str, here: str, *, status: int = 200, **words: object) -> HttpResponse:
    """Give a page of somebody who is signed in; `here` names its place in the navigation."""
    if "is_therapist" not in words:
        words["is_therapist"] = Enrollment.objects.filter(user_id=person_of(request)).exists()
    told = {"here": here, "seal": seal_of(person_of(request))}
    return render(request, f"therapists/{template}.html", words | told, status=status)


def seal_of(person_id: int) -> str:
    """
    Give the key under which a browser seals what somebody pressed until it is sent: theirs alone, and always the same.

    Only their own pages hold it, and no browser keeps those: after signing out, nothing there can be read.
    """
    digest = salted_hmac("keepwell.waits-in-the-browser", str(person_id), algorithm="sha256").digest()
    return base64.b64encode(digest).decode()


def done(request: HttpRequest, said: str, to: str, *, is_well: bool = True) -> HttpResponse:
    """Say on the next page what was done, and lead there: whoever loads it again repeats nothing."""
    (messages.success if is_well else messages.warning)(request, said)
    return see(reverse(to))


def see(address: str) -> HttpResponse:
    """Lead to a page, which is then asked for by GET."""
    answer = HttpResponseRedirect(address)
    answer.status_code = SEE_OTHER
    return answer


def person_of(request: HttpRequest) -> int:
    """Give the id of whoever is signed in."""
    return cast("int", request.user.pk)


def user_of(request: HttpRequest) -> User:
    """Give whoever is signed in."""
    return cast("User", request.user)


def actor(request: HttpRequest) -> str:
    """Give whoever is signed in as history names them."""
    return f"user:{request.user.pk}"


def way_back(request: HttpRequest) -> str:
    """Give where somebody wanted to go before they were asked to sign in, if that is one of these pages."""
    given = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(given, allowed_hosts={request.get_host()}) and given.startswith(ROOT)
    return given if is_ours else reverse("landing")


def _led(name: str, request: HttpRequest) -> HttpResponse:
    back = request.get_full_path() if request.method == "GET" else ROOT
    return see(f"{reverse(name)}?{urlencode({'next': back})}")


def _away(request: HttpRequest, error: BaseException) -> HttpResponse:
    """Say that PostgreSQL is away; what was typed can be sent again from there, for it is nowhere else."""
    logger.warning("pages.database.unavailable", extra={"reason": type(error).__name__})
    typed = [(name, value) for name, value in request.POST.items() if name not in SECRET]
    is_whole = not (set(request.POST) & (SECRET - {"csrfmiddlewaretoken"}) or request.FILES)
    words = {"typed": typed, "may_resend": request.method == "POST" and is_whole, "was_sent": request.method == "POST"}
    answer = render(request, "therapists/away.html", words, status=503)
    answer["Retry-After"] = str(RETRY_SECONDS)
    return answer
