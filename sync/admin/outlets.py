"""Outside services at the desk: what each is told, how it is, and the directories that leads enter."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from interventions.admin import reasons
from interventions.admin.reading import read
from interventions.admin.run_pages import by
from sync import endpoints, targets
from sync.admin import readings, tries, words
from sync.admin.switching import SWITCH_TARGET
from sync.endpoints import EndpointRefused
from sync.integrations.base import CallFailed
from sync.mirrors import Service, declaration
from sync.models import Endpoint

LOOK, CHANGE = "sync.view_endpoint", "sync.change_endpoint"
# What each kind is, and what configures it.
KINDS = {
    "listing": ("Public directories", "LISTING_URL and LISTING_SECRET, or a directory entered below"),
    "mail": ("Notices by mail", "MAIL_NOTICES and EMAIL_URL"),
    "analytics": ("Analytics", "ANALYTICS_URL"),
}
IDS_ONLY = frozenset({"analytics"})


@dataclass(frozen=True)
class Kind:
    """One kind of service: what it is called, what leaves for it, and the switches of those that are configured."""

    title: str
    needs: str
    told: str
    lanes: list[words.Switch]


def page(request: HttpRequest) -> HttpResponse:
    """Show every kind; a POST enters a directory."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


def one(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one directory; a POST with `action` changes it."""
    response: HttpResponse = admin.site.admin_view(_one)(request, pk)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    _require(request, CHANGE if request.method == "POST" else LOOK)
    asked = request.POST
    if request.method == "POST":
        try:
            endpoint, secret = endpoints.add_endpoint(**_entered(request), by=by(request), at=timezone.now())
        except EndpointRefused as refused:
            messages.error(request, str(refused))
        else:
            return _shown_once(request, endpoint, secret)
    kinds = read(lambda: _kinds(timezone.now()))
    context = admin.site.each_context(request) | {
        "title": "Outside services", "kinds": kinds, "read_at": timezone.now(), "asked": asked,
        "directories": Endpoint.objects.order_by("name"), "may_change": request.user.has_perm(CHANGE),
        "may_switch": request.user.has_perm(SWITCH_TARGET), "here": request.path,
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/outlets.html", context)


def _kinds(now: dt.datetime) -> list[Kind]:
    configured = targets.services()
    lines = {line.target: line for line in readings.targets(now, names=list(configured))}
    found = []
    for service in declaration().services:
        title, needs = KINDS.get(service.kind, (service.kind, f"{service.kind.upper()}_URL"))
        lanes = [words.target_switch(lines[name]) for name, kind in configured.items() if kind == service.kind]
        found.append(Kind(title, needs, told(service), lanes))
    return found


def told(service: Service) -> str:
    """Say in a sentence what leaves for a service, and about whom."""
    facts = [*service.facts, *service.besides]
    what = "Ids alone" if service.kind in IDS_ONLY else ", ".join(facts).capitalize()
    when = ", ".join(service.facts)
    whom = f", of whoever's {service.only.place.column} is {service.only.value}" if service.only else ""
    return f"{what}{whom}; told when one of these changes: {when}."


@require_http_methods(["GET", "HEAD", "POST"])
def _one(request: HttpRequest, pk: int) -> HttpResponse:
    _require(request, CHANGE if request.method == "POST" else LOOK)
    endpoint = Endpoint.objects.filter(pk=pk).first()
    if endpoint is None:
        raise Http404("There is no such directory.")
    if request.method == "POST":
        return _act(request, endpoint)
    name = f"listing-{endpoint.pk}"
    context = admin.site.each_context(request) | {
        "title": endpoint.name, "endpoint": endpoint, "target": name, "may_change": request.user.has_perm(CHANGE),
        "is_configured": name in targets.services(), "last": read(lambda: tries.last(name)),
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/outlet.html", context)


def _act(request: HttpRequest, endpoint: Endpoint) -> HttpResponse:
    what: dict[str, Any] = {"endpoint_id": endpoint.pk, "by": by(request)}
    now: dict[str, Any] = {"at": timezone.now()}
    action = request.POST.get("action", "")
    acts: dict[str, Callable[[], str]] = {
        "change": lambda: _said(endpoints.change_endpoint(**what, **now, **_entered(request)), "Saved."),
        "on": lambda: _said(
            endpoints.switch_endpoint(**what, **now, is_on=True), "Switched on. It is told of everybody."
        ),
        "off": lambda: _said(
            endpoints.switch_endpoint(**what, **now, is_on=False), "Switched off. It is owed nothing."
        ),
        "drop": lambda: _said(endpoints.drop_older_secret(**what, **now), "Messages carry the newest signature alone."),
    }
    if action == "rotate":
        return _shown_once(request, *endpoints.rotate_secret(**what, **now))
    if action == "test":
        _test(request, endpoint)
    elif action in acts:
        try:
            messages.success(request, acts[action]())
        except EndpointRefused as refused:
            messages.error(request, str(refused))
    else:
        messages.error(request, "Nothing was asked for, so nothing was changed.")
    return HttpResponseRedirect(reverse("outlet", args=[endpoint.pk]))


def _test(request: HttpRequest, endpoint: Endpoint) -> None:
    try:
        counts = endpoints.send_test(endpoint_id=endpoint.pk, by=by(request))
    except CallFailed as failure:
        messages.error(request, f"The test failed because {reasons.reason(failure.code).fact} ({failure.code}).")
    else:
        said = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        messages.success(request, f"The test was answered{': ' + said if said else ''}.")


def _said(_: Endpoint, words: str) -> str:
    return words


def _shown_once(request: HttpRequest, endpoint: Endpoint, secret: str) -> HttpResponse:
    """Show a secret in the answer itself: no message and no address may carry it."""
    context = admin.site.each_context(request) | {"title": endpoint.name, "endpoint": endpoint, "secret": secret}
    return TemplateResponse(request, "admin/sync/secret.html", context)


def _entered(request: HttpRequest) -> dict[str, Any]:
    return {name: request.POST.get(name, "") for name in ("name", "url", "read_url")}


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied
