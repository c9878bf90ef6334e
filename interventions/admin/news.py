"""How many have come since the inbox was last read: the page asks from time to time, and never moves under anybody."""

import datetime as dt
from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBadRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode

from interventions import queries
from interventions.admin.changelist import marks_of
from interventions.models import Intervention

# What the list may be narrowed by besides a search: a search looks at everybody's name, too much to ask again and again.
FILTERS = ("cause__exact", "target", "code")


def address(request: HttpRequest, *, at: dt.datetime) -> str:
    """Give what a page asks for news of just what it lists; empty where it lists a search or a run's items."""
    if request.GET.get("q") or request.GET.get("run"):
        return ""
    words = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
    since = queries.newest_moment(at).isoformat()
    return f"{reverse('admin:interventions_intervention_new')}?{urlencode(words | {'since': since})}"


def view(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponseBase:
    """Answer the number, counted no further than a tab counts, and the sentence for it."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    try:
        since = parse_datetime(request.GET.get("since", ""))
    except ValueError:
        since = None
    if since is None or since.tzinfo is None:
        return HttpResponseBadRequest("Say since when, as ISO 8601 with an offset.")
    narrowed: dict[str, Any] = {name: request.GET[name] for name in FILTERS if request.GET.get(name)}
    items = queries.in_tab(Intervention.objects.filter(**narrowed), "", marks_of(request))
    number = queries.bounded_count(queries.newer(items, since))
    return JsonResponse({"number": number, "text": _text(number)}, headers={"Cache-Control": "no-store"})


def _text(number: int) -> str:
    if not number:
        return ""
    if number > queries.MOST_COUNTED:
        return f"More than {queries.MOST_COUNTED} new interventions."
    return f"{number} new intervention{'' if number == 1 else 's'}."
