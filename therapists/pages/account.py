"""Somebody's account: their password, their sessions, their data as a file, and leaving for good."""

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows import password_change
from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth import authenticate, logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from therapists import erasure, zones
from therapists.accounts import factors, sessions
from therapists.models import OpenSession, User
from therapists.pages.entrance import WRONG_CODE
from therapists.pages.frame import CONFLICT, REFUSED, actor, done, own, person_of, shown, user_of

WRONG_PASSWORD = "This is not your password. Nothing was changed."  # noqa: S105 - a sentence
TOO_OFTEN = "Too many tries. Wait a few minutes, then try again."
CHANGED = "Your new password holds. Your other sessions have ended."
STAFF_LEAVE_FIRST = "You work at the desk. Have your role withdrawn first, then come back here."
NO_ZONE = "There is no zone of this name; nothing was changed."
GONE = "You are deleted here. What backups keep goes with them."


@own("GET")
def page(request: HttpRequest) -> HttpResponse:
    """Show what can be done about the account."""
    return _shown(request)


@own("POST")
def change_password(request: HttpRequest) -> HttpResponse:
    """Give the account another password; every other session ends."""
    person = user_of(request)
    if not ratelimit.consume(request, action="change_password", user=person):
        return _shown(request, status=429, new_error=TOO_OFTEN)
    if authenticate(request, username=person.email, password=request.POST.get("password", "")) is None:
        return _shown(request, status=REFUSED, password_error=WRONG_PASSWORD)
    try:
        chosen = get_adapter().clean_password(request.POST.get("new_password", ""), user=person)
    except ValidationError as error:
        return _shown(request, status=REFUSED, new_error=" ".join(error.messages))
    password_change.change_password(person, chosen)
    password_change.finalize_password_change(request, person)
    return done(request, CHANGED, "own:account")


@own("POST")
def choose_zone(request: HttpRequest) -> HttpResponse:
    """Take the zone in which the person reads times; none: the site's."""
    name = request.POST.get("zone", "")
    if name and name not in zones.names():
        return done(request, NO_ZONE, "own:account", is_well=False)
    User.objects.filter(pk=person_of(request)).update(time_zone=name)
    return done(request, f"You are told times in {name or settings.TIME_ZONE} from now on.", "own:account")


@own("POST")
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End every session of the person; with `others`, all but this one."""
    if "others" in request.POST:
        sessions.end_all(person_id=person_of(request), but=request.session.session_key)
        return done(request, "You are signed out everywhere else.", "own:account")
    sessions.end_all(person_id=person_of(request))
    logout(request)
    return done(request, "You are signed out everywhere.", "own:sign_in")


@own("GET", "POST")
def leave(request: HttpRequest) -> HttpResponse:
    """Ask whether somebody means it; a POST with their password erases them, which cannot be undone."""
    person = user_of(request)
    needs_code = not factors.is_fresh(person, request.session)
    if person.is_staff:
        return shown(request, "leave", "account", refused=STAFF_LEAVE_FIRST, status=CONFLICT if request.POST else 200)
    if request.method == "GET":
        return shown(request, "leave", "account", needs_code=needs_code)
    if authenticate(request, username=person.email, password=request.POST.get("password", "")) is None:
        return shown(request, "leave", "account", status=REFUSED, needs_code=needs_code, error=WRONG_PASSWORD)
    if needs_code:
        try:
            factors.checked(request, person, request.POST.get("code", ""))
        except factors.WrongCode:
            return shown(request, "leave", "account", status=REFUSED, needs_code=True, code_error=WRONG_CODE)
    erasure.erase(subject=erasure.find(person_id=person.pk), by=actor(request), at=timezone.now())
    logout(request)
    return done(request, GONE, "own:sign_in")


def _shown(request: HttpRequest, *, status: int = 200, **words: object) -> HttpResponse:
    open_now = OpenSession.objects.filter(person_id=person_of(request), expire_date__gt=timezone.now()).count()
    return shown(
        request, "account", "account", status=status, others=max(0, open_now - 1),
        has_factor=factors.is_enrolled(person_of(request)), zones=zones.names(), site_zone=settings.TIME_ZONE,
        **words,
    )  # fmt: skip
