"""Signing in on a page, by the same rules as at every other door: lockout, second factor, an address that is proven."""

from typing import Any, cast
from urllib.parse import urlencode

from allauth.account.internal.flows.email_verification_by_code import EmailVerificationProcess
from allauth.core.internal.cryptokit import compare_user_code
from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from therapists.accounts import factors
from therapists.accounts.lockout import Passwords
from therapists.models import Enrollment, User
from therapists.pages.frame import REFUSED, ROOT, done, kept_private, see, way_back

WRONG = "The address or the password is wrong."
WRONG_CODE = "The code is wrong, or was used already. Wait for the next one, then try again."
WRONG_PROOF = "This is not the code that we mailed you. Look for the newest letter."
MAILED = "We mailed you a code a moment ago. If it does not arrive, sign in again in three minutes."


@kept_private("GET")
def landing(request: HttpRequest) -> HttpResponse:
    """Lead everybody to where they belong: therapists and clients to their pages, staff to the desk."""
    person = request.user
    if not person.is_authenticated:
        return see(reverse("own:sign_in"))
    if Enrollment.objects.filter(user_id=person.pk).exists():
        return see(reverse("own:profile"))
    return see(reverse("admin:index" if person.is_staff else "own:bookings"))


@kept_private("GET", "POST")
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for address and password."""
    if request.user.is_authenticated and request.method == "GET":
        return see(way_back(request))
    if request.method == "GET":
        return _asked(request, "sign_in")
    address = request.POST.get("email", "")
    user = authenticate(request, username=address, password=request.POST.get("password", ""))
    if not isinstance(user, User):
        return _asked(request, "sign_in", status=REFUSED, error=WRONG, email=address)
    # Whoever is signed in already begins anew.
    request.session.flush()
    if user.is_unproven:
        EmailVerificationProcess.initiate(request=request, user=user, email=user.email)
        return _next(request, "own:address")
    login(request, user)
    request.session.save()
    return _next(request, "own:code") if factors.is_owed(user, request.session) else see(way_back(request))


@kept_private("GET", "POST")
def code(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor; whoever must have one and has none is led to where it is set up."""
    person: Any = request.user
    if not person.is_authenticated:
        return _next(request, "own:sign_in")
    if not factors.is_owed(person, request.session):
        return see(way_back(request))
    if not factors.is_enrolled(person.pk):
        return see(reverse("own_factor"))
    if request.method == "GET":
        return _asked(request, "code")
    try:
        proof = factors.checked(request, person, request.POST.get("code", ""))
    except factors.WrongCode:
        return _asked(request, "code", status=REFUSED, error=WRONG_CODE)
    factors.note(request, proof)
    return see(way_back(request))


@kept_private("GET", "POST")
def address(request: HttpRequest) -> HttpResponse:
    """Ask for the code that was mailed to an address that nobody has proven yet; then its owner is signed in."""
    waiting = EmailVerificationProcess.resume(request)
    if waiting is None or request.user.is_authenticated:
        return _next(request, "own:sign_in")
    if request.method == "GET":
        return _asked(request, "address", email=waiting.email)
    if not compare_user_code(actual=request.POST.get("code", ""), expected=waiting.code):
        waiting.record_invalid_attempt()
        return _asked(request, "address", status=REFUSED, error=WRONG_PROOF, email=waiting.email)
    user = cast("User | None", waiting.user)
    if user is None or user.email != waiting.email or waiting.finish() is None:
        return _next(request, "own:sign_in")
    if not Passwords().user_can_authenticate(User.objects.get(pk=user.pk)):
        return _next(request, "own:sign_in")
    login(request, user, backend=settings.SIGN_IN_BACKEND)
    request.session.save()
    return _next(request, "own:code") if factors.is_owed(user, request.session) else see(way_back(request))


@kept_private("POST")
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return done(request, "You are signed out.", "own:sign_in")


def _asked(request: HttpRequest, what: str, *, status: int = 200, **words: object) -> HttpResponse:
    return render(request, f"therapists/{what}.html", words, status=status)


def _next(request: HttpRequest, name: str) -> HttpResponse:
    """Lead to the next step, and remember where somebody wanted to go."""
    back = way_back(request)
    return see(reverse(name) + (f"?{urlencode({'next': back})}" if back.startswith(ROOT) else ""))
