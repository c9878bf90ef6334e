"""Your sign-in: a page where staff set up their second factor, show it, and end their other sessions."""

import base64
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.flows import generate_recovery_codes
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import get_totp_secret
from allauth.mfa.totp.internal.flows import activate_totp
from django.contrib import admin, messages
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from interventions.messages import count
from therapists.accounts import factors, sessions

AGAIN = "Show your second factor once more, then do it again: nothing was changed yet."
WRONG_PASSWORD = "The password is wrong. Nothing was changed."  # noqa: S105 - a sentence
WRONG_CODE = "The code is wrong, or was used already: wait for the next one. Nothing was changed."
SET_UP = "Your second factor is set up. Your other sessions have ended."
NEW_CODES = "The recovery codes from before hold no longer."


def page(request: HttpRequest) -> HttpResponse:
    """Show how somebody of the staff signs in; a POST changes it or takes a code."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


def needed_again(request: HttpRequest, back: str) -> HttpResponse | None:
    """Lead whoever showed their factor too long ago to this page and then `back`; None: they may go on."""
    if factors.is_fresh(request.user, request.session):
        return None
    messages.warning(request, AGAIN)
    return HttpResponseRedirect(f"{reverse('own_factor')}?{urlencode({'next': back})}")


def asked_for(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let a view be posted to by whoever has shown their factor just now; others are led to show it, and back."""

    @wraps(view)
    def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        again = needed_again(request, request.path) if request.method == "POST" else None
        return again or view(request, *args, **kwargs)

    return asked


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    ways = {"show": _show, "set_up": _set_up, "codes": _new_codes, "end_others": _end_others}
    if request.method == "POST":
        way = ways.get(request.POST.get("way", ""))
        if way is not None:
            return way(request)
    return _shown(request)


def _shown(request: HttpRequest, **more: Any) -> HttpResponse:
    person: Any = request.user
    is_enrolled = factors.is_enrolled(person.pk)
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": "Your sign-in", "is_enrolled": is_enrolled, "is_required": factors.is_required(person),
        "asks": is_enrolled and not factors.is_fresh(person, request.session), "back": _back(request),
        "is_owed": factors.is_owed(person, request.session),
    }  # fmt: skip
    if not is_enrolled:
        secret = get_totp_secret()
        picture = get_adapter().build_totp_svg(get_adapter().build_totp_url(person, secret))
        spaced = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
        context |= {"secret": spaced, "picture": base64.b64encode(picture.encode()).decode()}
    return TemplateResponse(request, "admin/therapists/factor.html", context | more)


def _show(request: HttpRequest) -> HttpResponse:
    person: Any = request.user
    try:
        proof = factors.checked(
            request, person, request.POST.get("code", ""), again=not factors.is_owed(person, request.session)
        )
    except factors.WrongCode:
        messages.error(request, WRONG_CODE)
        return _shown(request)
    factors.note(request, proof)
    return HttpResponseRedirect(_back(request))


def _set_up(request: HttpRequest) -> HttpResponse:
    person: Any = request.user
    if factors.is_enrolled(person.pk):
        return HttpResponseRedirect(request.get_full_path())
    if authenticate(request, username=person.email, password=request.POST.get("password", "")) is None:
        messages.error(request, WRONG_PASSWORD)
        return _shown(request)
    form = ActivateTOTPForm(request.POST, user=person)
    if not form.is_valid():
        messages.error(request, WRONG_CODE)
        return _shown(request)
    reauthenticate_by_password(request)
    activate_totp(request, form)
    messages.success(request, SET_UP)
    return _shown(request, codes=_codes(person.pk))


def _new_codes(request: HttpRequest) -> HttpResponse:
    person: Any = request.user
    if not factors.is_enrolled(person.pk):
        return HttpResponseRedirect(request.path)
    if again := needed_again(request, request.path):
        return again
    reauthenticate_by_password(request)
    generate_recovery_codes(request)
    messages.success(request, NEW_CODES)
    return _shown(request, codes=_codes(person.pk))


def _end_others(request: HttpRequest) -> HttpResponse:
    ended = sessions.end_all(person_id=int(request.user.pk or 0), but=request.session.session_key)
    messages.success(request, f"Ended: {count(ended, 'other session')}. This one goes on.")
    return HttpResponseRedirect(request.path)


def _codes(person_id: int) -> list[str]:
    kept = Authenticator.objects.get(user_id=person_id, type=Authenticator.Type.RECOVERY_CODES)
    return list(kept.wrap().get_unused_codes())


def _back(request: HttpRequest) -> str:
    given = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(given, allowed_hosts={request.get_host()}) and given.startswith("/admin/")
    return given if is_ours else reverse("admin:index")
