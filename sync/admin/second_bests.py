"""The page of what stands in for services: answers that are kept, errands that wait, and services that rest."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from interventions.admin.run_pages import by
from sync import second_bests

LOOK = "sync.view_errand"
NEEDED = {"forget": "sync.delete_keptanswer", "clear": "sync.delete_errand", "call_again": "sync.switch_target"}


def page(request: HttpRequest) -> HttpResponse:
    """Show what stands in for services; take a POST with `action` (forget, clear, call_again) and `about`."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    if request.method == "POST":
        _act(request, request.POST.get("action", ""), request.POST.get("about", ""))
        return HttpResponseRedirect(reverse("second_bests"))
    now = timezone.now()
    context = admin.site.each_context(request) | second_bests.overview(at=now) | {
        "title": "Second bests", "read_at": now,
        "may": {action: request.user.has_perm(permission) for action, permission in NEEDED.items()},
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/second_bests.html", context)


def _act(request: HttpRequest, action: str, about: str) -> None:
    if action not in NEEDED or not request.user.has_perm(NEEDED[action]):
        raise PermissionDenied
    if action == "forget":
        number = second_bests.forget_answers(kind=about, person_id=None, by=by(request))
        messages.success(request, f"Forgotten: {number}. Whoever asks is given a new answer, or a default.")
    elif action == "clear":
        number = second_bests.clear_finished(by=by(request))
        messages.success(request, f"Cleared: {number}. What waits is still there.")
    else:
        second_bests.call_again(service=about, by=by(request))
        messages.success(request, "The service is called again at the next request.")
