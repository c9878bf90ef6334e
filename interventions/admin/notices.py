"""The pages of what staff were told: live alerts, each read by each person, whether they were delivered, and the digests."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, field

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from interventions import alerts, channels, deliveries, digest
from interventions.admin.run_pages import by, require
from interventions.ladder import Kind, Level
from interventions.messages import numbers
from interventions.models import Alert, AlertDelivery, AlertReading, AlertState, Digest
from interventions.search import id_in

LOOK, TEST = "interventions.view_alert", "interventions.test_alert"
ENDED, TESTS, DAYS = 25, 10, 14
# More than anybody reads, and fewer than a form may name.
MOST_LIVE = 300
WHOM = {Level.STAFF: "Staff", Level.LEAD: "Lead", Level.PAGE: "Urgent"}
LOOKS = {Level.STAFF: "kw-plain", Level.LEAD: "kw-reopened", Level.PAGE: "kw-open"}
TROUBLES = {
    "too_slow": "it took too long", "unreachable": "nobody answered", "not_taken": "it was not taken",
    "not_begun": "this machine could start no process for it",
    "unknown_address": "apprise does not know this kind of address", "no_channel": "this channel is not set up any more",
    "unanswered": "the worker was ended meanwhile, so it may have arrived", "SMTPRecipientsRefused": "the address was refused",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One subject as the page shows it: `alert` is its most urgent, `unread` are those that this person has not read."""

    alert: Alert
    numbers: str
    unread: list[int] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)

    @property
    def whom(self) -> str:
        """Whom it is for."""
        return WHOM[Level(self.alert.level)]

    @property
    def look(self) -> str:
        """The colour of that."""
        return LOOKS[Level(self.alert.level)]


class Day:
    """A day in an address: 2026-11-22."""

    regex = r"\d{4}-\d{2}-\d{2}"

    def to_python(self, value: str) -> dt.date:
        """Read it; ValueError makes the address unknown."""
        return dt.date.fromisoformat(value)

    def to_url(self, value: dt.date | str) -> str:
        """Write it."""
        return str(value)


def page(request: HttpRequest) -> HttpResponse:
    """List alerts, live ones first; a POST notes that this person read some."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


def send_test(request: HttpRequest) -> HttpResponse:
    """Put a test alert to every channel; workers send it."""
    response: HttpResponse = admin.site.admin_view(_test)(request)
    return response


def one_digest(request: HttpRequest, day: dt.date) -> HttpResponse:
    """Show a day's digest."""
    response: HttpResponse = admin.site.admin_view(_one_digest)(request, day)
    return response


def unread(request: HttpRequest) -> int:
    """Count what this person has not read, for the mark in the navigation; 0 for who may not look."""
    if not request.user.has_perm(LOOK) or request.user.pk is None:
        return 0
    return alerts.unread(request.user.pk).values("subject").distinct().count()


@require_http_methods(["GET", "HEAD", "POST"])
def _page(request: HttpRequest) -> HttpResponse:
    require(request, LOOK)
    person, at = int(request.user.pk or 0), timezone.now()
    if request.method == "POST":
        named = [pk for given in request.POST.getlist("alert") if (pk := id_in(given)) is not None]
        alerts.read(alerts=named, user_id=person, at=at)
        return HttpResponseRedirect(reverse("notices"))
    live = list(alerts.live().order_by("-level", "-told_at")[: MOST_LIVE + 1])
    lines = lines_of(live[:MOST_LIVE], person, at)
    ended = Alert.objects.exclude(ended_at=None).order_by("-ended_at", "-level")[:ENDED]
    context = admin.site.each_context(request) | {
        "title": "Notices",
        "live": lines,
        "most": MOST_LIVE if len(live) > MOST_LIVE else 0,
        "unread": [line.unread for line in lines if line.unread],
        "ended": lines_of(ended, person, at),
        "days": Digest.objects.order_by("-day").values_list("day", flat=True)[:DAYS],
        "has_channels": bool(channels.every()),
        "tests": [
            (t, _said(t, at)) for t in AlertDelivery.objects.filter(kind=deliveries.TEST).order_by("-pk")[:TESTS]
        ],
        "may_test": request.user.has_perm(TEST),
        "undelivered": alerts.undelivered(at=at).count(),
    }
    return TemplateResponse(request, "admin/interventions/notices.html", context)


def _test(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    require(request, TEST)
    number = len(deliveries.put_tests(by=by(request), at=timezone.now()))
    if number:
        said = "The test alert is on its way" if number == 1 else f"Test alerts are on their way to {number} channels"
        messages.success(request, f"{said}. What came of it stands below in some seconds.")
    else:
        messages.warning(request, "No channel is set up, so there is nothing to test.")
    return HttpResponseRedirect(reverse("notices"))


@require_safe
def _one_digest(request: HttpRequest, day: dt.date) -> HttpResponse:
    require(request, LOOK)
    made = Digest.objects.filter(day=day).first()
    if made is None:
        raise Http404("There is no digest of that day.")
    mailed = [_said(delivery, timezone.now()) for delivery in made.alertdelivery_set.order_by("pk")]
    context = admin.site.each_context(request) | {
        "title": f"Digest of {made.day:%-d %B %Y}",
        "told": digest.told(made),
        "mailed": mailed,
    }
    return TemplateResponse(request, "admin/interventions/digest.html", context)


def lines_of(found: Collection[Alert], person: int, at: dt.datetime) -> list[Line]:
    """Describe subjects, with what came of their messages, in three queries however many they are."""
    found = list(found)
    lines: dict[tuple[str, dt.datetime | None], Line] = {}
    for alert in found:
        lines.setdefault((alert.subject, alert.ended_at), Line(alert, numbers(alert, Kind(alert.kind), at)))
    of = {alert.pk: lines[alert.subject, alert.ended_at] for alert in found}
    seen = set(AlertReading.objects.filter(alert__in=found, user_id=person).values_list("alert", flat=True))
    for alert in found:
        of[alert.pk].unread.extend([] if alert.ended_at or alert.pk in seen else [alert.pk])
    for delivery in AlertDelivery.objects.filter(alert__in=found).order_by("pk"):
        line = of[delivery.alert_id or 0]
        if delivery.state == AlertState.SENT:
            line.sent.append(_said(delivery, at))
        elif delivery.state == AlertState.UNDELIVERED or (delivery.trouble and not _is_in_flight(delivery, at)):
            line.unsent.append(_said(delivery, at))
        else:
            line.waiting.append(_said(delivery, at))
    return list(lines.values())


def _is_in_flight(delivery: AlertDelivery, at: dt.datetime) -> bool:
    return delivery.state == AlertState.WAITING and delivery.lease_until is not None and delivery.lease_until > at


def _said(delivery: AlertDelivery, at: dt.datetime) -> str:
    """Say what came of one message, in words that never promise more than is known."""
    if _is_in_flight(delivery, at):
        return f"{delivery.channel}: being sent"
    why = TROUBLES.get(delivery.trouble, delivery.trouble.replace("_", " "))
    if delivery.state == AlertState.WAITING and delivery.trouble:
        tries = "once" if delivery.attempts == 1 else f"{delivery.attempts} times"
        return f"{delivery.channel}: not delivered yet, tried {tries}: {why}"
    label = AlertState(delivery.state).label
    return f"{delivery.channel}: {label.lower()}{f', {why}' if why else ''}"
