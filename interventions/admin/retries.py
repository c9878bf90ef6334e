"""The pages of bulk retries: planned from a cause, a filter or a selection; how far they are, and what came of each item."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from interventions import fingerprint, retry_runs
from interventions.admin import reasons, sentences
from interventions.models import Intervention, RetryOutcome, RetryRun, RetryState

SHOWN = 25
RETRY = "interventions.retry_intervention"
LOOKS = {
    RetryState.PLANNED: "kw-plain", RetryState.CANARY: "kw-retrying", RetryState.RUNNING: "kw-retrying",
    RetryState.PAUSED: "kw-reopened", RetryState.STOPPED: "kw-open", RetryState.CANCELLED: "kw-plain",
    RetryState.DONE: "kw-resolved",
}  # fmt: skip
NOTHING = "Nothing of that needs a person any more, so there is nothing to retry."
WRONG = "The run is not in a state in which that can be done any more; this is how it stands now."


@dataclass(frozen=True)
class Line:
    """One bulk retry as the pages show it."""

    run: RetryRun
    who: str
    look: str
    counts: dict[str, int]

    @property
    def state(self) -> str:
        """The state in words."""
        return RetryState(self.run.state).label

    @property
    def total(self) -> int:
        """How many interventions it is about."""
        return sum(self.counts.values())

    @property
    def answered(self) -> int:
        """How many have been done with."""
        return self.total - self.counts.get("waiting", 0) - self.counts.get("asked", 0)

    @property
    def percent(self) -> int:
        """How far it is."""
        return self.answered * 100 // self.total if self.total else 100

    @property
    def moves(self) -> bool:
        """Whether its numbers move by themselves."""
        return self.run.state in retry_runs.LIVE or bool(self.counts.get("asked"))


def addresses(admin: "ModelAdmin[Intervention]") -> list[URLPattern]:
    """Give the pages' addresses."""
    guarded = admin.admin_site.admin_view
    return [
        path("retries/", guarded(lambda request: _listing(admin, request)), name="retries"),
        path("retries/plan/", guarded(lambda request: _plan(admin, request)), name="retries_plan"),
        path("retries/<uuid:pk>/", guarded(lambda request, pk: _detail(admin, request, pk)), name="retry_run"),
        path("retries/<uuid:pk>/report.csv", guarded(_report), name="retry_run_report"),
    ]


def begin(
    admin: "ModelAdmin[Intervention]", request: HttpRequest, items: "QuerySet[Intervention]", title: str
) -> HttpResponse:
    """Plan a bulk retry in the caller's name and go to its page, where it is started."""
    try:
        run = retry_runs.plan(items=items, title=title, by=f"user:{request.user.pk}", at=timezone.now())
    except retry_runs.NothingToRetry:
        admin.message_user(request, NOTHING, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:interventions_intervention_changelist"))
    return HttpResponseRedirect(reverse("admin:retry_run", args=[run.pk]))


def title_of(asked: QueryDict) -> str:
    """Say what a filter of the inbox narrows to, without the words of a search: they may be somebody's name."""
    given = {name: str(asked.get(name, "")) for name in ("cause__exact", "target", "code", "q")}
    if cause := given["cause__exact"]:
        said = fingerprint.parts(cause)
        return (
            f"{said.target}: {reasons.line(said.target, said.code, said.detail)}" if said else reasons.line("", "", "")
        )
    words = [word for word in (given["target"], given["code"], given["q"] and "a search") if word]
    return ", ".join(words) or "Everything that needs a person"


def _plan(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    """Plan a retry of all that the inbox would list for the filter in the form."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm(RETRY):
        raise PermissionDenied
    asked = QueryDict(request.POST.get("query", ""))
    # The same list that the person looked at, whole.
    request.GET = asked
    listed: Any = admin.get_changelist_instance(request)
    return begin(admin, request, listed.queryset, title_of(asked))


def _listing(admin: "ModelAdmin[Intervention]", request: HttpRequest) -> HttpResponse:
    _must_look(request)
    context = admin.admin_site.each_context(request) | {
        "title": "Bulk retries",
        "lines": _lines(list(RetryRun.objects.order_by("-asked_at")[:SHOWN])),
        "inbox_url": reverse("admin:interventions_intervention_changelist"),
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/interventions/retries.html", context)


def _detail(admin: "ModelAdmin[Intervention]", request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    _must_look(request)
    if request.method == "POST":
        _press(admin, request, pk)
        return HttpResponseRedirect(reverse("admin:retry_run", args=[pk]))
    run = RetryRun.objects.filter(pk=pk).first()
    if run is None:
        raise Http404("There is no such run.")
    line = _lines([run])[0]
    context = admin.admin_site.each_context(request) | {
        "title": str(run),
        "line": line,
        "counts": [(o.label, line.counts[o]) for o in RetryOutcome if line.counts.get(o)],
        "actions": _actions(request, run, line),
        "canaries": retry_runs.CANARIES,
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/interventions/retry_run.html", context)


def _report(request: HttpRequest, pk: uuid.UUID) -> StreamingHttpResponse:
    _must_look(request)
    run = RetryRun.objects.filter(pk=pk).first()
    if run is None:
        raise Http404("There is no such run.")
    name = f"bulk-retry-{str(pk)[:8]}.csv"
    return StreamingHttpResponse(
        retry_runs.as_csv(run), content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )  # fmt: skip


def _press(admin: "ModelAdmin[Intervention]", request: HttpRequest, pk: uuid.UUID) -> None:
    if not request.user.has_perm(RETRY):
        raise PermissionDenied
    try:
        retry_runs.switch(
            run_id=pk, action=request.POST.get("action", ""), by=f"user:{request.user.pk}", at=timezone.now()
        )
    except RetryRun.DoesNotExist:
        raise Http404("There is no such run.") from None
    except (retry_runs.WrongState, KeyError):
        admin.message_user(request, WRONG, messages.WARNING)


def _actions(request: HttpRequest, run: RetryRun, line: Line) -> list[tuple[str, str]]:
    """Give the buttons that mean something now to this person; the first is the main one."""
    if not request.user.has_perm(RETRY):
        return []
    ways = {
        RetryState.PLANNED: [("start", f"Retry {line.total}"), ("cancel", "Cancel")],
        RetryState.CANARY: [("pause", "Pause"), ("cancel", "Cancel")],
        RetryState.RUNNING: [("pause", "Pause"), ("cancel", "Cancel")],
        RetryState.PAUSED: [("resume", "Resume"), ("cancel", "Cancel")],
        RetryState.STOPPED: [("cancel", "Cancel"), ("resume", "Retry the rest all the same")],
    }
    return ways.get(RetryState(run.state), [])


def _lines(found: list[RetryRun]) -> list[Line]:
    names = sentences.who({run.asked_by for run in found})
    return [
        Line(run, names.get(run.asked_by, run.asked_by), LOOKS[RetryState(run.state)], dict(retry_runs.report(run)))
        for run in found
    ]


def _must_look(request: HttpRequest) -> None:
    if not request.user.has_perm("interventions.view_retryrun"):
        raise PermissionDenied
