"""Adopting what somebody wrote into a copy, from the pages that show it."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from interventions import operations
from interventions.admin import attending
from interventions.admin.run_pages import by
from interventions.handlers import NotAdoptable, handler
from interventions.models import Intervention
from interventions.search import id_in

PERMISSION = "interventions.adopt_value"


def shown(request: HttpRequest, entities: list[tuple[int, str]]) -> dict[str, Any]:
    """Give a page what was replaced in these copies, for those who may see interventions."""
    if not request.user.has_perm("interventions.view_intervention") or not entities:
        return {"replaced": []}
    return {
        "replaced": handler().replaced(entities),
        "may_adopt": request.user.has_perm(PERMISSION),
        "adopt_url": reverse("admin:interventions_intervention_adopt"),
    }


def adopt(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Adopt the value named in the form, then go back where one came from."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    given = request.POST.get("value", "")
    try:
        operations.adopt_value(
            value_id=id_in(given) or 0, fact=request.POST.get("fact", ""),
            by=by(request),
        )  # fmt: skip
    except NotAdoptable as refusal:
        admin.message_user(request, f"Nothing was changed. {refusal}", messages.WARNING)
    else:
        admin.message_user(request, "Adopted: it stands at the source now, and every place follows.", messages.SUCCESS)
    return HttpResponseRedirect(attending.back(request))
