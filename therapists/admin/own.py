"""What staff choose for themselves: the zone in which the desk tells them times."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from interventions import moments
from therapists import zones
from therapists.models import User

UNKNOWN = "There is no zone of this name; nothing was changed."


def page(request: HttpRequest) -> HttpResponse:
    """Show the zones; a POST takes one for whoever is signed in."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


def links(request: HttpRequest) -> list[dict[str, str]]:
    """List what stands beneath a person's name in the sidebar."""
    return [
        {"title": "Your time zone", "link": reverse("own_zone")},
        {"title": "Your sign-in", "link": reverse("own_factor")},
        {"title": "Change password", "link": reverse("admin:password_change")},
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _choose(request)
    own: str = getattr(request.user, "time_zone", "")
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": "Your time zone", "zones": zones.names(), "own": own, "site_zone": settings.TIME_ZONE,
        "clock": moments.spelled(timezone.now()), "is_unknown": bool(own) and zones.named(own) is None,
    }  # fmt: skip
    return TemplateResponse(request, "admin/therapists/zone.html", context)


def _choose(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("zone", "")
    if name and name not in zones.names():
        messages.error(request, UNKNOWN)
    else:
        User.objects.filter(pk=str(request.user.pk)).update(time_zone=name)
        messages.success(request, f"The desk tells you times in {name or settings.TIME_ZONE} from now on.")
    return HttpResponseRedirect(reverse("own_zone"))
