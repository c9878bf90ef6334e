"""What is on its way: owed by place and by person, requests that nobody was told of, and how each address fares."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from interventions import queries as requests
from interventions.admin import retries
from interventions.admin.reading import bounds, read
from sync import metrics, queries, targets
from sync.admin import readings, words
from sync.queries import Waiting

LOOK, PEOPLE, REQUESTS = "interventions.view_intervention", 25, 25


def page(request: HttpRequest) -> HttpResponse:
    """Show it to those who may look at interventions; read from the server alone, for nobody sees into browsers."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


@require_safe
def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    now = timezone.now()
    with bounds():
        places = read(lambda: readings.targets(now))
        people = read(lambda: queries.waiting_longest(targets.names(), limit=PEOPLE))
        doubtful = read(lambda: requests.unanswered(at=now, limit=REQUESTS))
    context = admin.site.each_context(request) | {
        "title": "Sync status", "read_at": now, "places": places,
        "people": people, "lines": [_line(one) for one in people.value or []], "most": PEOPLE,
        "doubtful": doubtful, "fared": metrics.fared(),
        "may_retry": request.user.has_perm(retries.RETRY),
            }  # fmt: skip
    return TemplateResponse(request, "admin/sync/status.html", context)


def _line(one: Waiting) -> dict[str, Any]:
    """Say of one place of one person what moves it."""
    inbox = reverse("admin:interventions_intervention_changelist")
    asked = {"tab": "all", "q": str(one.person_id)}
    word, look = ("tried by itself", words.LATE) if one.next_attempt_at else ("needs a person", words.BAD)
    if one.is_paused:
        word, look = "waits for its place", words.PLAIN
    return {
        "one": one, "word": word, "look": look, "url": f"{inbox}?{urlencode(asked)}",
    }  # fmt: skip
