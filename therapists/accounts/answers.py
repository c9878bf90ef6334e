"""The sign-in library's answers in the form that all our answers have: what it says stays, and becomes a problem's extension."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from interventions.api import outside
from interventions.api.problems import MEDIA_TYPE, RETRY_SECONDS, plain_problem, problem
from therapists.accounts import lockout

PREFIX = "/api/v1/auth/"
BUSY_SECONDS = "60"
SAID = {
    400: ("invalid", "Something in the request cannot be accepted; `errors` says what."),
    401: ("not_authenticated", "Sign in first; `data.flows` says how."),
    403: ("permission_denied", "You may not do this."),
    404: ("not_found", "There is nothing here."),
    409: ("conflict", "This does not fit where you are: you are signed in already, or nothing is under way."),
    410: ("session_expired", "Your session has ended. Sign in again."),
    429: ("throttled", "Too many requests. Wait, then try again."),
}
PENDING = {
    "verify_email": ("address_unverified", "Send the code that was mailed to you, to prove the address."),
    "mfa_authenticate": ("second_factor_required", "Send a code of your second factor."),
    "mfa_reauthenticate": ("second_factor_required", "Show your password or your second factor once more."),
    "reauthenticate": ("reauthentication_required", "Give your password once more."),
}


class SignInProblems:
    """Middleware: an error of the library's JSON becomes a problem that still holds `data` and `meta`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, as a problem where it is an error."""
        response = self.get_response(request)
        is_json = response.headers.get("Content-Type", "") == "application/json"
        if response.status_code < 400 or not request.path.startswith(PREFIX) or not is_json:
            return response
        said = json.loads(response.content)
        code, detail = _meaning(response.status_code, said)
        faults = [_fault(one) for one in said.get("errors", [])]
        body = problem(status=response.status_code, code=code, detail=detail, path=request.path, errors=faults)
        kept = {name: said[name] for name in ("data", "meta") if name in said}
        answer = JsonResponse(body | kept, status=response.status_code, content_type=MEDIA_TYPE)
        answer.cookies = response.cookies
        answer["Cache-Control"] = "private, no-cache, no-store"
        if answer.status_code in {401, 410}:
            answer["WWW-Authenticate"] = 'Session realm="Keepwell"'
        if answer.status_code == 429:
            answer["Retry-After"] = BUSY_SECONDS
        return answer

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 where PostgreSQL does not; nobody is let in meanwhile."""
        if not request.path.startswith(PREFIX) or not isinstance(error, OperationalError | InterfaceError):
            return None
        said = "This cannot be saved or read right now. Try again shortly."
        answer = plain_problem(request, status=503, code="unavailable", detail=said)
        answer["Retry-After"] = str(RETRY_SECONDS)
        return answer


def _meaning(status: int, said: dict[str, Any]) -> tuple[str, str]:
    flows = (said.get("data") or {}).get("flows", [])
    waiting = [flow["id"] for flow in flows if flow.get("is_pending")]
    if (said.get("meta") or {}).get("is_authenticated"):
        waiting = [flow["id"] for flow in reversed(flows)]
    if status == 401 and (known := [PENDING[name] for name in waiting if name in PENDING]):
        return known[0]
    faults = said.get("errors", [])
    if len(faults) == 1:
        return str(faults[0].get("code") or "invalid"), str(faults[0].get("message", ""))
    return SAID.get(status, ("error", "This did not work."))


def _fault(one: dict[str, str]) -> dict[str, str]:
    line = {"code": one.get("code") or "invalid", "detail": one.get("message", ""), "message": one.get("message", "")}
    if field := one.get("param"):
        line |= {"field": field, "param": field, "pointer": f"#/{field}"}
    return line


def locked(request: HttpRequest, response: HttpResponse | None, credentials: Mapping[str, Any] | None) -> HttpResponse:
    """Answer a sign-in that comes too early: the same for accounts that exist and for those that do not."""
    seconds = lockout.seconds_left(request, credentials)
    minutes = -(-seconds // 60)
    wait = "a minute" if minutes == 1 else f"{minutes} minutes"
    if request.path.startswith(outside.PREFIX):
        said = f"Too many wrong passwords or codes. Wait {wait}, or ask staff to unlock the account."
        answer: HttpResponse = plain_problem(request, status=429, code="locked_out", detail=said)
    else:
        answer = render(request, "429.html", {"wait": wait}, status=429)
    answer["Retry-After"] = str(seconds)
    return answer
