"""The item's page, and the two things that can be done to items from any page."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from interventions import operations, queries
from interventions.admin import adoption, attending, reasons, sentences, table
from interventions.handlers import Comparison, Entity, handler, page_of
from interventions.models import Intervention, Resolution, State

MOST_AT_ONCE = 100
# A press of Retry locks so many rows and takes about two seconds; 4,000 held the web's thread for 17.
MOST_RETRIED = 500
LONGEST_NOTE = 2000


@dataclass(frozen=True)
class Side:
    """An item beside what both of its sides say now."""

    item: Intervention
    person: str
    comparison: Comparison | None

    @property
    def headline(self) -> str:
        """What could not be done, and why; or what the state of things is."""
        if self.item.code == self.item.operation:
            return reasons.line(self.item.target, self.item.code, "")
        detail = reasons.detail_of(self.item.cause)
        return reasons.headline(self.item.target, self.item.code, detail) if self.item.target else self.item.error


def page(admin: "ModelAdmin[Intervention]", request: HttpRequest, object_id: str) -> HttpResponse:
    """Show one item: what failed, both sides, what happened, and the buttons that this person may press."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    found = _items([object_id]).first()
    if found is None:
        raise Http404("There is no such intervention.")
    side = _sides([found])[0]
    moments = queries.timeline(found)
    names = sentences.who({one.actor for one in moments if one.actor} | {found.resolved_by or "system"})
    entity = _entity(found)
    planned = handler().next_tries([entity]) if entity else {}
    context = admin.admin_site.each_context(request) | {
        "title": str(found),
        "opts": Intervention._meta,
        "original": found,
        "side": side,
        "state_label": State(found.state).label,
        "resolution_label": Resolution(found.resolution).label if found.resolution else "",
        "resolved_by": names.get(found.resolved_by or "system", ""),
        "advice": reasons.reason(found.code).advice,
        "next_try": dt.datetime.fromisoformat(planned[entity]) if entity and entity in planned else None,
        "timeline": [{"at": one.at, "text": sentences.moment(one, names), "tone": _tone(one)} for one in moments],
        "table": table.rows(side.comparison) if side.comparison else [],
        "places": [cell.place for cell in side.comparison.rows[0].cells] if side.comparison else [],
        "may_retry": entity is not None and not found.resolved and _may(request, "retry_intervention"),
        "may_resolve": not found.resolved and _may(request, "resolve_intervention"),
        "retry_url": reverse("admin:interventions_intervention_retry"),
        "decide_url": None if found.resolved else page_of(found.operation, found.entity_id),
        "resolve_url": reverse("admin:interventions_intervention_resolve"),
        "inbox_url": reverse("admin:interventions_intervention_changelist"),
        "media": admin.media,
        "is_popup": False,
        **adoption.shown(request, [entity] if entity else []),
        **attending.shown(request, found, timezone.now()),
    }
    return TemplateResponse(request, "admin/interventions/item.html", context)


def retry(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Retry the items named in the form."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not _may(request, "retry_intervention"):
        raise PermissionDenied
    start_retries(admin, request, _items(request.POST.getlist("item")))
    return HttpResponseRedirect(attending.back(request))


def start_retries(admin: "ModelAdmin[Intervention]", request: HttpRequest, items: QuerySet[Intervention]) -> None:
    """Ask for the retries in the caller's name, and say in numbers what came of it."""
    report = operations.retry_items(items=items, by=f"user:{request.user.pk}", at=timezone.now())
    admin.message_user(request, sentences.retried(report), messages.SUCCESS if report.done else messages.WARNING)
    _tell_who_was_first(admin, request, report)


def first_ids(items: QuerySet[Intervention], *, most: int) -> list[str]:
    """Give at most so many of the selected, in the order of the list; what is done already gives way to what is not."""
    ids = list(items.values_list("pk", flat=True)[: most + 1])
    if len(ids) > most:
        ids = list(items.filter(state__in=queries.NEEDS_A_PERSON).values_list("pk", flat=True)[:most])
    return [str(pk) for pk in ids]


def resolve(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Show both sides of the items named; on POST, resolve what may be resolved and tell the rest."""
    if not _may(request, "resolve_intervention"):
        raise PermissionDenied
    given = request.POST if request.method == "POST" else request.GET
    items = _items(given.getlist("item"))
    if not items.exists():
        admin.message_user(request, "Nothing was selected.", messages.WARNING)
        return HttpResponseRedirect(attending.back(request))
    if request.method == "POST":
        report = operations.mark_resolved(
            items=items, by=f"user:{request.user.pk}", note=request.POST.get("note", "")[:LONGEST_NOTE],
            may_accept=_may(request, "accept_difference"), at=timezone.now(), seen=_seen(request),
        )  # fmt: skip
        _tell(admin, request, report)
        if not report.refused:
            return HttpResponseRedirect(attending.back(request))
    return _resolve_page(admin, request, list(items))


def _resolve_page(admin: "ModelAdmin[Intervention]", request: HttpRequest, items: list[Intervention]) -> HttpResponse:
    live = [item for item in items if not item.resolved]
    sides = _sides(live)
    now = timezone.now()
    context = admin.admin_site.each_context(request) | {
        "title": "Mark resolved",
        "opts": Intervention._meta,
        "sides": sides,
        "equal": sum(1 for side in sides if side.comparison and side.comparison.is_equal),
        "before": [(item, sentences.done_before(item, now)) for item in items if item.resolved],
        "may_accept": _may(request, "accept_difference"),
        "note": request.POST.get("note", ""),
        "back": attending.back(request),
        "media": admin.media,
        "is_popup": False,
    }
    return TemplateResponse(request, "admin/interventions/resolve.html", context)


def _tell(admin: "ModelAdmin[Intervention]", request: HttpRequest, report: operations.Report) -> None:
    level = messages.WARNING if report.refused or not (report.done or report.accepted) else messages.SUCCESS
    admin.message_user(request, sentences.resolved(report), level)
    _tell_who_was_first(admin, request, report)
    for problem in sorted(set(report.problems.values())):
        admin.message_user(request, problem, messages.WARNING)


def _tell_who_was_first(admin: "ModelAdmin[Intervention]", request: HttpRequest, report: operations.Report) -> None:
    if report.before:
        admin.message_user(request, sentences.told_first(report, timezone.now()), messages.INFO)


def _seen(request: HttpRequest) -> dict[str, str]:
    """Read what the page showed: of each item the digest of both sides."""
    return {item: digest for item, _, digest in (word.partition(" ") for word in request.POST.getlist("seen"))}


def _items(ids: list[str]) -> QuerySet[Intervention]:
    known = []
    for given in ids[:MOST_AT_ONCE]:
        try:
            known.append(uuid.UUID(given))
        except ValueError:
            continue
    return Intervention.objects.filter(pk__in=known)


def _sides(items: list[Intervention]) -> list[Side]:
    entities = {entity for item in items if (entity := _entity(item))}
    compared = handler().compare(entities) if entities else {}
    names = handler().label({person_id for person_id, _ in entities}) if entities else {}
    return [
        Side(
            item=item,
            person=names.get(item.person_id or 0, ""),
            comparison=compared.get(cast("Entity", _entity(item))),
        )
        for item in items
    ]


def _entity(item: Intervention) -> Entity | None:
    return (item.person_id, item.target) if item.person_id is not None and item.target else None


def _may(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(f"interventions.{permission}")


def _tone(one: Any) -> str:
    if one.kind == "try":
        return "bad" if one.action == "failed" else "good"
    return "good" if one.action.startswith(("resolved", "accepted")) else ""
