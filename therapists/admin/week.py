"""The page of the first week's figures: what the last full audit found, and what is counted now."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from interventions.admin.reading import read
from sync import consistency
from therapists import week


def page(request: HttpRequest) -> HttpResponse:
    """Show the figures to those who may look at interventions."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


@require_safe
def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("interventions.view_intervention"):
        raise PermissionDenied
    known = read(consistency.last_known)
    facts = known.value.facts if known.value else ()
    found = read(lambda: week.assembled(facts, at=timezone.now()))
    context = admin.site.each_context(request) | {
        "title": "Week one", "known": known.value, "are_facts_known": known.is_known, "week": found.value,
        "fewer": week.FEWER_ITEMS,
    }  # fmt: skip
    return TemplateResponse(request, "admin/therapists/week.html", context)
