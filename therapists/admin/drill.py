"""The drill's page: break a place or a service on purpose, see what happens, mend it. In development only."""

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from therapists import drill, outages
from therapists.roles import LEAD

BROKEN = "Broken, until you mend it. Now edit a therapist."
BROKEN_SERVICE = "Broken, until you mend it. Now look at the front page, at Targets and at Health."


def may_drill(request: HttpRequest) -> bool:
    """Whether the caller may break things here: leads and superusers, while DEBUG is on."""
    user = request.user
    if not (settings.DEBUG and user.is_active and user.is_staff):
        return False
    return user.is_superuser or user.groups.filter(name=LEAD).exists()


def page(request: HttpRequest) -> HttpResponse:
    """Show the faults; a POST breaks or mends. Not there at all while DEBUG is off."""
    if not settings.DEBUG:
        raise Http404
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    if not may_drill(request):
        raise Http404
    if request.method == "POST":
        _change(request)
        return HttpResponseRedirect(reverse("drill"))
    faults, services = drill.faults(), drill.services()
    context = admin.site.each_context(request) | {
        "title": "Drill", "faults": faults, "services": services, "ways": outages.WAYS.values(),
        "is_anything_broken": any(fault.is_on for fault in faults) or any(service.is_on for service in services),
    }  # fmt: skip
    return TemplateResponse(request, "admin/therapists/drill.html", context)


def _change(request: HttpRequest) -> None:
    action, name = request.POST.get("action", ""), request.POST.get("name", "")
    try:
        if action == "break":
            drill.break_target(name)
            messages.warning(request, BROKEN_SERVICE if ":" in name else BROKEN)
        elif action == "mend":
            drill.mend(name)
            messages.success(request, "Mended. What was owed follows by itself; look at the inbox.")
        elif action == "mend_all":
            drill.mend_all()
            messages.success(request, "Everything is mended. What was owed follows by itself; look at the inbox.")
        else:
            messages.error(request, "Nothing was asked for, so nothing was changed.")
    except drill.UnknownFault:
        messages.error(request, "There is no such fault; nothing was changed.")
    except (drill.DrillBlocked, outages.ServiceAway) as blocked:
        messages.error(request, str(blocked))
