"""The one address to which every switch of the desk posts."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from interventions.admin.attending import back
from interventions.admin.run_pages import by
from sync import switches
from sync.pauses import Scope
from sync.switches import UnknownSwitch

SWITCH_TARGET, PAUSE_PERSON = "sync.switch_target", "sync.pause_person"
NEEDED = {Scope.TARGET: SWITCH_TARGET, Scope.OPERATION: SWITCH_TARGET, Scope.PERSON: PAUSE_PERSON}
UNKNOWN = "There is nothing of this name to switch; nothing was changed."


def page(request: HttpRequest) -> HttpResponse:
    """Take a POST with `scope`, `key` and `action` (pause, resume, reset), then go back where one came from."""
    response: HttpResponse = admin.site.admin_view(_switch)(request)
    return response


@require_POST
def _switch(request: HttpRequest) -> HttpResponse:
    words = request.POST
    try:
        scope = Scope(words.get("scope", ""))
    except ValueError:
        messages.error(request, UNKNOWN)
        return HttpResponseRedirect(back(request, otherwise="admin:index"))
    if not request.user.has_perm(NEEDED[scope]):
        raise PermissionDenied
    act = _ACTS.get(words.get("action", ""))
    try:
        if act is None:
            messages.error(request, "Nothing was asked for, so nothing was changed.")
        else:
            level, said = act(request, scope, words.get("key", ""))
            messages.add_message(request, level, said)
    except UnknownSwitch:
        messages.error(request, UNKNOWN)
    return HttpResponseRedirect(back(request, otherwise="admin:index"))


def _pause(request: HttpRequest, scope: Scope, key: str) -> tuple[int, str]:
    note = request.POST.get("note", "")
    if switches.pause(scope=scope, key=key, by=by(request), note=note, at=timezone.now()):
        return messages.WARNING, "Paused. What is owed there waits until it is switched on again; nothing is lost."
    return messages.INFO, "It was paused already; nothing was changed."


def _resume(request: HttpRequest, scope: Scope, key: str) -> tuple[int, str]:
    if switches.resume(scope=scope, key=key, by=by(request), at=timezone.now()):
        return messages.SUCCESS, "Switched on again. What waited follows by itself, slowly at first."
    return messages.INFO, "It was on already; nothing was changed."


def _reset(request: HttpRequest, scope: Scope, key: str) -> tuple[int, str]:
    if scope is not Scope.TARGET:
        raise UnknownSwitch(UNKNOWN)
    if switches.reset_breaker(target=key, by=by(request), at=timezone.now()):
        return messages.SUCCESS, "One row is tried now. When the place answers, the rest follows."
    return messages.SUCCESS, "What was counted against the place is forgotten."


_ACTS: dict[str, Callable[[HttpRequest, Scope, str], tuple[int, str]]] = {
    "pause": _pause, "resume": _resume, "reset": _reset,
}  # fmt: skip
