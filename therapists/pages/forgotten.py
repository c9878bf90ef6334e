"""Another password for whoever lost theirs: a code by letter, as the sign-in library does it for applications."""

from allauth.account.internal.flows import password_reset
from allauth.account.internal.flows.password_reset_by_code import PasswordResetVerificationProcess
from allauth.core import ratelimit
from allauth.headless.account.inputs import RequestPasswordResetInput, ResetPasswordInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from therapists.pages.frame import REFUSED, done, kept_private, see

TOO_OFTEN = "Too many tries. Wait a few minutes, then try again."
NO_ADDRESS = "This is no e-mail address."
CHOSEN = "Your new password holds. Sign in with it; every session from before has ended."
TOO_LATE = "That code holds no longer. Ask for a new one."


@kept_private("GET", "POST")
def page(request: HttpRequest) -> HttpResponse:
    """Ask for the address; the answer is the same whether anybody has it."""
    if request.method == "GET":
        return render(request, "therapists/forgotten.html")
    asked = RequestPasswordResetInput(request.POST)
    email = request.POST.get("email", "")
    if not asked.is_valid():
        return render(request, "therapists/forgotten.html", {"error": NO_ADDRESS, "email": email}, status=REFUSED)
    if not ratelimit.consume(request, action="reset_password", key=asked.cleaned_data["email"].lower()):
        return render(request, "therapists/forgotten.html", {"error": TOO_OFTEN, "email": email}, status=429)
    asked.save(request)
    return see(reverse("own:new_password"))


@kept_private("GET", "POST")
def new_password(request: HttpRequest) -> HttpResponse:
    """Take the code and the new password; every session from before ends."""
    waiting = PasswordResetVerificationProcess.resume(request)
    if waiting is None:
        return done(request, TOO_LATE, "own:forgotten", is_well=False)
    if request.method == "GET":
        return render(request, "therapists/new_password.html")
    if not ratelimit.consume(request, action="reset_password_from_key"):
        return render(request, "therapists/new_password.html", {"refused": TOO_OFTEN}, status=429)
    typed = {"key": request.POST.get("code", ""), "password": request.POST.get("new_password", "")}
    asked = ResetPasswordInput(typed, code=waiting.code, user=waiting.user)
    if not asked.is_valid() or waiting.user is None:
        if "key" in asked.errors or waiting.user is None:
            waiting.record_invalid_attempt()
        faults = {"code_error": asked.errors.get("key"), "password_error": asked.errors.get("password")}
        return render(request, "therapists/new_password.html", faults, status=REFUSED)
    password_reset.reset_password(waiting.user, asked.cleaned_data["password"])
    waiting.confirm_code()
    waiting.finish()
    return done(request, CHOSEN, "own:sign_in")
