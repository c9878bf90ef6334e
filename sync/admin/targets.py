"""A target's page: how it is and why, what is owed there, what was tried and done, and its switch."""

import datetime as dt
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from interventions import queries as items
from interventions.admin import reasons, sentences
from interventions.admin.reading import read
from interventions.models import History
from sync import targets
from sync.admin import front, readings, switching, tries, words
from sync.pauses import Scope

LOOK = "sync.view_breaker"
CHANGES_SHOWN = 15


def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show one target to those who may look at breakers; switches post elsewhere and come back."""
    response: HttpResponse = admin.site.admin_view(_page)(request, name)
    return response


@require_safe
def _page(request: HttpRequest, name: str) -> HttpResponse:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    if name not in targets.names():
        raise Http404("There is no such target.")
    now = timezone.now()
    line = next(iter(read(lambda: readings.targets(now, names=[name])).value or []), None)
    hours = read(lambda: tries.by_hour(now, target=name))
    context = admin.site.each_context(request) | {
        "title": name, "read_at": now, "line": line, "switch": words.target_switch(line) if line else None,
        "advice": reasons.reason(line.code).advice if line and line.word in {"parked", "misconfigured"} else "",
        "may_switch": request.user.has_perm(switching.SWITCH_TARGET),
        **waiting_here(name, now), "inbox_url": _inbox(target=name),
        "charts": tries.charts(hours.value) if hours.value is not None else [],
        "failing": read(lambda: tries.failing(name, now)), "last": read(lambda: tries.last(name)),
        "changes": read(lambda: changes(name)), "here": request.path,
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/target.html", context)


def waiting_here(name: str, now: dt.datetime) -> dict[str, Any]:
    """Give how many interventions of a target need a person, in words; and those that are put off, with the way there."""
    found = read(lambda: items.waiting(at=now, target=name)).value
    return {
        "open": front.counted(found.now) if found else "", "besides": front.besides(found) if found else "",
        "besides_url": _inbox(tab="snoozed", target=name),
    }  # fmt: skip


def changes(name: str) -> list[tuple[History, str, str]]:
    """List what was last done to a target: the line, the actor by name, and the words."""
    lines = list(History.objects.filter(object_type=Scope.TARGET, object_id=name).order_by("-id")[:CHANGES_SHOWN])
    names = sentences.who({line.actor for line in lines})
    return [(line, names[line.actor], sentences.ACTIONS.get(line.action, line.action)) for line in lines]


def _inbox(**narrowed: str) -> str:
    return f"{reverse('admin:interventions_intervention_changelist')}?{urlencode(narrowed)}"
