"""What the pages of items and causes share: who sees to it, until when it is put off, and what is said about it."""

import datetime as dt
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from interventions import attention, patience
from interventions.admin import sentences
from interventions.admin.run_pages import by, require
from interventions.models import Cause, CauseState, Intervention
from interventions.moments import spelled

Answer = TypeVar("Answer")

ASSIGN, SNOOZE = "interventions.assign_intervention", "interventions.snooze_intervention"
NEEDED = {"assign": ASSIGN, "hand_back": ASSIGN, "snooze": SNOOZE, "unsnooze": SNOOZE}
# Hours, and how they are called. From now on, so that nobody's time of day is guessed.
SNOOZES = ((1, "an hour"), (4, "4 hours"), (24, "a day"), (72, "3 days"), (168, "a week"), (720, "30 days"))
IGNORES = ((24, "a day"), (168, "a week"), (336, "two weeks"), (720, "30 days"))
DONE = {
    "acknowledge": "You see to this cause now.",
    "assign": "You see to this now.",
    "hand_back": "Handed back: nobody sees to it now.",
    "snooze": "Snoozed: it comes back by itself.",
    "unsnooze": "It is back in the inbox.",
    "ignore": "Ignored for that time. What differs, is owed or is open stays counted.",
    "unignore": "It is heeded again.",
    "note": "The note is written.",
}


def shown(request: HttpRequest, item: Intervention, now: dt.datetime) -> dict[str, Any]:
    """Give an item's page who sees to it or its cause, whether it is put off, and what this person may press."""
    cause = Cause.objects.exclude(state=CauseState.RESOLVED).filter(fingerprint=item.cause).first()
    owner = cause.owner if cause and cause.state == CauseState.ACKNOWLEDGED else None
    names = sentences.who({actor for actor in (item.assignee, owner) if actor})
    return {
        "assignee": names.get(item.assignee or "", ""),
        "is_mine": item.assignee == by(request),
        "cause_owner": names.get(owner or "", ""),
        "cause_url": reverse("admin:cause", args=[cause.pk]) if cause and request.user.has_perm("interventions.view_cause") else "",
        "snoozed_until": item.snoozed_until if item.snoozed_until and item.snoozed_until > now else None,
        "may_assign": not item.resolved and request.user.has_perm(ASSIGN),
        "may_snooze": not item.resolved and request.user.has_perm(SNOOZE),
        "snoozes": SNOOZES,
        "attend_url": reverse("admin:interventions_intervention_attend"),
    }  # fmt: skip


def put_off(item: Intervention, cause: Cause | None, now: dt.datetime) -> str:
    """Say until when an item or its cause is put off; empty where neither is."""
    if item.snoozed_until and item.snoozed_until > now and not item.resolved:
        return f"snoozed until {spelled(item.snoozed_until)}"
    if cause and not item.resolved:
        for moment, word in ((cause.ignored_until, "ignored"), (cause.snoozed_until, "snoozed")):
            if moment and moment > now:
                return f"its cause {word} until {spelled(moment)}"
    return ""


def attend(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Do what the form says about who sees to an item and when, and go back."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    action = request.POST.get("action", "")
    if action not in NEEDED:
        raise Http404("There is nothing of that name to do.")
    require(request, NEEDED[action])
    tell(admin, request, action, lambda: _done(request, action))
    return HttpResponseRedirect(back(request))


def until(request: HttpRequest, now: dt.datetime) -> dt.datetime:
    """Give the moment that a form's number of hours leads to; raises WrongMoment for what is no such number."""
    hours = request.POST.get("hours", "")
    if not hours.isdecimal() or len(hours) > 4:
        raise attention.WrongMoment
    return now + dt.timedelta(hours=int(hours))


def tell(admin: "ModelAdmin[Intervention]", request: HttpRequest, action: str, act: Callable[[], object]) -> None:
    """Act, and say what came of it; to whoever comes second, who did what when."""
    try:
        act()
    except attention.Overtaken as overtaken:
        admin.message_user(request, sentences.overtaken(overtaken.line, timezone.now()), messages.WARNING)
    except attention.NoReason:
        admin.message_user(request, "Nothing was changed: to ignore something needs a reason.", messages.WARNING)
    except attention.WrongMoment:
        admin.message_user(request, "Nothing was changed: choose for how long, 30 days at most.", messages.WARNING)
    except Intervention.DoesNotExist:
        raise Http404("There is no such intervention.") from None
    else:
        admin.message_user(request, DONE[action], messages.SUCCESS)


def told_when_held(view: "Callable[..., Answer]") -> "Callable[..., Answer | HttpResponseRedirect]":
    """Let whoever posts be told that somebody holds what they decide about, and go back; nothing was changed."""

    @wraps(view)
    def answered(request: HttpRequest, *words: Any, **more: Any) -> "Answer | HttpResponseRedirect":
        try:
            return view(request, *words, **more)
        except OperationalError as error:
            if request.method != "POST" or not patience.is_held(error):
                raise
            messages.error(request, sentences.BUSY)
            return HttpResponseRedirect(back(request))

    return answered


def back(request: HttpRequest, *, otherwise: str = "admin:interventions_intervention_changelist") -> str:
    """Give where the person came from, or else the page of that name."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        return wanted
    return reverse(otherwise)


def _done(request: HttpRequest, action: str) -> Intervention:
    actor, now, given = by(request), timezone.now(), request.POST.get("item", "")
    try:
        item_id = uuid.UUID(given)
    except ValueError:
        raise Intervention.DoesNotExist from None
    match action:
        case "assign":
            return attention.assign(item_id=item_id, by=actor, instead_of=request.POST.get("instead_of", ""))
        case "hand_back":
            return attention.hand_back_item(item_id=item_id, by=actor)
        case "snooze":
            return attention.snooze_item(item_id=item_id, until=until(request, now), by=actor, at=now)
        case _:
            return attention.unsnooze_item(item_id=item_id, by=actor, at=now)
