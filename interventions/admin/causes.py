"""The pages of causes: all of them, one of them, and what staff decide about it."""

import datetime as dt
import uuid
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from interventions import attention, causes
from interventions.admin import attending, reasons, retries, sentences
from interventions.admin.run_pages import LOOKS as LOOKS_OF_RUNS
from interventions.admin.run_pages import by, require
from interventions.causes import Standing
from interventions.handlers import handler
from interventions.models import Cause, CauseState, History, Intervention, RetryRun, State

NEWEST, RUNS, LINES, LISTED = 10, 5, 50, 100
LOOK = "interventions.view_cause"
ACKNOWLEDGE, SNOOZE, IGNORE, NOTE = (
    f"interventions.{name}_cause" for name in ("acknowledge", "snooze", "ignore", "note")
)
NEEDED = {
    "acknowledge": ACKNOWLEDGE, "hand_back": ACKNOWLEDGE, "snooze": SNOOZE, "unsnooze": SNOOZE, "ignore": IGNORE,
    "unignore": IGNORE, "note": NOTE,
}  # fmt: skip
LOOKS = {
    CauseState.OPEN: "kw-open", CauseState.ACKNOWLEDGED: "kw-retrying", CauseState.RESOLVED: "kw-resolved",
    CauseState.REOPENED: "kw-reopened",
}  # fmt: skip
GONE = "Nothing of that cause is open any more."


def addresses(admin: "ModelAdmin[Intervention]") -> list[URLPattern]:
    """Give the pages' addresses."""
    guarded = admin.admin_site.admin_view
    decide = attending.told_when_held(lambda request: _decide(admin, request))
    return [
        path("causes/", guarded(lambda request: _listing(admin, request)), name="causes"),
        path("causes/decide/", guarded(decide), name="cause_decide"),
        path("causes/<uuid:pk>/", guarded(lambda request, pk: _page(admin, request, pk)), name="cause"),
    ]


def cards(request: HttpRequest, standing: list[Standing]) -> list[dict[str, Any]]:
    """Give causes as the pages list them: what, how many, who sees to it, and what this person may press."""
    names = sentences.who({one.row.owner for one in standing if one.row and one.row.owner})
    reader = by(request)
    return [
        {
            "standing": one,
            "items": f"{one.items:,}" if one.items < causes.MOST_COUNTED else f"{causes.MOST_COUNTED:,} or more",
            "target": one.target or "elsewhere",
            "fact": reasons.reason(one.code).fact,
            "detail": reasons.detail_of(one.fingerprint),
            "url": f"?{urlencode({'cause__exact': one.fingerprint})}",
            "page": reverse("admin:cause", args=[one.row.pk]) if one.row else "",
            "is_chosen": request.GET.get("cause__exact") == one.fingerprint,
            "word": (said := word(one)),
            # Somebody's name says more than the word; that nobody has taken it, the button says.
            "is_seen_to": said["text"] == CauseState.ACKNOWLEDGED.label,
            "is_untouched": said["text"] == CauseState.OPEN.label,
            "owner": names[one.row.owner] if one.is_acknowledged and one.row and one.row.owner else "",
            "is_mine": one.is_acknowledged and one.row is not None and one.row.owner == reader,
            "may_acknowledge": not one.is_acknowledged and request.user.has_perm(ACKNOWLEDGE),
            "retry_query": _query_of(one.fingerprint) if one.people and request.user.has_perm(retries.RETRY) else "",
        }
        for one in standing
    ]


def word(one: Standing) -> dict[str, str]:
    """Say in a word and a colour how a cause stands: what was put off comes before who sees to it."""
    if one.is_ignored:
        return {"text": "Ignored", "look": "kw-plain"}
    if one.is_snoozed:
        return {"text": "Snoozed", "look": "kw-plain"}
    if one.is_retrying:
        return {"text": "Retrying", "look": "kw-retrying"}
    state = CauseState(one.row.state) if one.row else CauseState.OPEN
    return {"text": state.label, "look": LOOKS[state]}


def _listing(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    require(request, LOOK)
    context = admin.admin_site.each_context(request) | {
        "title": "Causes",
        "causes": cards(request, causes.standing(at=timezone.now(), limit=LISTED)),
        "most": LISTED,
        "list_url": reverse("admin:interventions_intervention_changelist"),
        "decide_url": reverse("admin:cause_decide"),
        "retry_all_url": reverse("admin:retries_plan"),
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/interventions/causes.html", context)


def _page(admin: "ModelAdmin[Intervention]", request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    require(request, LOOK)
    cause = Cause.objects.filter(pk=pk).first()
    if cause is None:
        raise Http404("There is no such cause.")
    now = timezone.now()
    standing = causes.standing_of(cause, at=now)
    lines = list(History.objects.of("cause", str(pk)).order_by("-id")[:LINES])
    names = sentences.who({line.actor for line in lines} | ({cause.owner} if cause.owner else set()))
    said = {"target": cause.target, "code": cause.code, "detail": reasons.detail_of(cause.fingerprint)}
    context = admin.admin_site.each_context(request) | {
        "title": "Cause",
        "cause": cause,
        "standing": standing,
        "card": cards(request, [standing])[0],
        "is_live": cause.state != CauseState.RESOLVED,
        "headline": reasons.headline(**said) if cause.target else reasons.line(**said),
        "advice": reasons.reason(cause.code).advice,
        "owner": names.get(cause.owner or "", ""),
        "is_mine": cause.owner == by(request),
        "newest": _newest(cause.fingerprint),
        "runs": [(run, LOOKS_OF_RUNS[run.state], run.get_state_display()) for run in _runs(cause.fingerprint)],
        "timeline": [{"at": line.at, "text": sentences.of_line(line, names)} for line in lines],
        "may": {action: request.user.has_perm(needed) for action, needed in NEEDED.items()},
        "snoozes": attending.SNOOZES,
        "ignores": attending.IGNORES,
        "decide_url": reverse("admin:cause_decide"),
        "retry_all_url": reverse("admin:retries_plan"),
        "all_url": reverse("admin:causes"),
        "inbox_url": f"{reverse('admin:interventions_intervention_changelist')}?{_query_of(cause.fingerprint)}",
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/interventions/cause.html", context)


def _decide(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Do what the form says about a cause, named by its fingerprint where it had no row yet, and go back."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    action, now = request.POST.get("action", ""), timezone.now()
    if action not in NEEDED:
        raise Http404("There is nothing of that name to decide.")
    require(request, NEEDED[action])
    cause = causes.ensure(fingerprint=request.POST.get("fingerprint", ""), at=now)
    if cause is None:
        admin.message_user(request, GONE, messages.WARNING)
    else:
        attending.tell(admin, request, action, lambda: _done(request, cause, action, now))
    return HttpResponseRedirect(attending.back(request))


def _done(request: HttpRequest, cause: Cause, action: str, now: dt.datetime) -> Cause:
    actor, given = by(request), request.POST
    match action:
        case "acknowledge":
            return attention.acknowledge(cause_id=cause.pk, by=actor, at=now, instead_of=given.get("instead_of", ""))
        case "hand_back":
            return attention.hand_back(cause_id=cause.pk, by=actor)
        case "snooze":
            return attention.snooze(cause_id=cause.pk, until=attending.until(request, now), by=actor, at=now)
        case "unsnooze":
            return attention.unsnooze(cause_id=cause.pk, by=actor, at=now)
        case "ignore":
            until, reason = attending.until(request, now), given.get("reason", "")
            return attention.ignore(cause_id=cause.pk, until=until, reason=reason, by=actor, at=now)
        case "unignore":
            return attention.unignore(cause_id=cause.pk, by=actor, at=now)
        case _:
            return attention.note(cause_id=cause.pk, text=given.get("note", ""), was=given.get("was", ""), by=actor)


def _newest(fingerprint: str) -> list[dict[str, Any]]:
    found = list(Intervention.objects.filter(resolved=False, cause=fingerprint).order_by("-timestamp")[:NEWEST])
    people = {item.person_id for item in found if item.person_id is not None}
    names = handler().label(people) if people else {}
    return [
        {
            "item": item,
            "person": names.get(item.person_id or 0, item.entity_id or "nobody named"),
            "state": State(item.state).label,
            "told": "" if item.target else item.error,
        }
        for item in found
    ]


def _runs(fingerprint: str) -> list[RetryRun]:
    return list(RetryRun.objects.filter(cause=fingerprint).order_by("-asked_at")[:RUNS]) if fingerprint else []


def _query_of(fingerprint: str) -> str:
    return urlencode({"cause__exact": fingerprint})
