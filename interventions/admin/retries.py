"""The pages of bulk retries: planned from a cause, a filter or a selection; how far they are, and what came of each item."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
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
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from interventions import fingerprint, retry_runs
from interventions.admin import reasons
from interventions.admin.run_pages import CANCEL, Count, Line, RunPages, by, require
from interventions.handlers import handler
from interventions.models import Intervention, RetryOutcome, RetryRun, RetryState

RETRY, LOOK = "interventions.retry_intervention", "interventions.view_retryrun"
# What came of an item, with its colour; so many of each are shown beneath the report.
LOOKED_AT = {
    RetryOutcome.FAILED: "kw-open", RetryOutcome.FIXED: "kw-resolved", RetryOutcome.ALREADY: "kw-resolved",
    RetryOutcome.SKIPPED: "kw-plain",
}  # fmt: skip
SOME = 5
NOTHING = "Nothing of that needs a person any more, so there is nothing to retry."


class BulkRetries(RunPages[RetryRun]):
    """What is a bulk retry's own."""

    title, begun, counted = "Bulk retries", "planned by", "Interventions"
    templates = ("admin/interventions/retries.html", "admin/interventions/retry_run.html")
    addresses = ("admin:retries", "admin:retry_run")
    object_type, look = "retry_run", LOOK
    useless = (retry_runs.WrongState, KeyError)

    def newest(self, limit: int) -> list[RetryRun]:
        """List the newest bulk retries."""
        return list(retry_runs.with_progress(RetryRun.objects.order_by("-asked_at"))[:limit])

    def find(self, run_id: uuid.UUID) -> RetryRun | None:
        """Give a bulk retry."""
        return retry_runs.with_progress(RetryRun.objects.filter(pk=run_id)).first()

    def line(self, run: Any, who: str) -> Line[RetryRun]:
        """Describe a bulk retry by how many of its items have an answer; those that were left have none."""
        total, answered = run.total, run.total - run.waiting - run.asked - run.left
        return Line(
            run, run.title, self.address(run.pk), who, percent=answered * 100 // total if total else 100,
            told=f"{answered} of {total} answered" + (f", {run.left} left" if run.left else ""),
            moves=run.state in retry_runs.LIVE or bool(run.asked), failed=run.has_failed,
        )  # fmt: skip

    def counts(self, run: RetryRun) -> list[Count]:
        """Give the outcomes, each leading to its interventions; the numbers add up to all of them."""
        counts = retry_runs.report(run)
        lines = [Count(o.label, counts[o], _listed(run, o)) for o in RetryOutcome if counts[o]]
        return [*lines, Count("All", counts.total(), _listed(run))]

    def actions(self, request: HttpRequest, line: Line[RetryRun]) -> list[tuple[str, str]]:
        """Give the buttons."""
        if not request.user.has_perm(RETRY):
            return []
        ways = {
            RetryState.PLANNED: [("start", f"Retry {line.run.total}"), CANCEL],
            RetryState.CANARY: [("pause", "Pause"), CANCEL],
            RetryState.RUNNING: [("pause", "Pause"), CANCEL],
            RetryState.PAUSED: [("resume", "Resume"), CANCEL],
            RetryState.STOPPED: [CANCEL, ("resume", "Retry the rest all the same")],
        }
        return ways.get(RetryState(line.run.state), [])

    def press(self, request: HttpRequest, run_id: uuid.UUID, action: str) -> uuid.UUID:
        """Start, pause, resume or cancel."""
        require(request, RETRY)
        try:
            return retry_runs.switch(run_id=run_id, action=action, by=by(request), at=timezone.now()).pk
        except RetryRun.DoesNotExist:
            raise Http404("There is no such run.") from None

    def more(self, request: HttpRequest, line: Line[RetryRun] | None) -> dict[str, Any]:
        """Say how many are tried first, where runs are planned, and show some whom a run concerned."""
        if line is None:
            return {"inbox_url": reverse("admin:interventions_intervention_changelist")}
        total = line.run.total
        report = reverse("admin:retry_run_report", args=[line.run.pk])
        return {"canaries": retry_runs.CANARIES, "total": total, "report_url": report, "some": _some(line.run)}


PAGES = BulkRetries()


def addresses(admin: "ModelAdmin[Intervention]") -> list[URLPattern]:
    """Give the pages' addresses."""
    guarded = admin.admin_site.admin_view
    return [
        path("retries/", PAGES.listing, name="retries"),
        path("retries/plan/", guarded(lambda request: _plan(admin, request)), name="retries_plan"),
        path("retries/<uuid:run_id>/", PAGES.detail, name="retry_run"),
        path("retries/<uuid:run_id>/report.csv", guarded(_report), name="retry_run_report"),
    ]


def begin(
    admin: "ModelAdmin[Intervention]", request: HttpRequest, items: "QuerySet[Intervention]", asked: QueryDict
) -> HttpResponse:
    """Plan a bulk retry in the caller's name and go to its page, where it is started."""
    title, cause = title_of(asked), str(asked.get("cause__exact", ""))
    try:
        run = retry_runs.plan(items=items, title=title, cause=cause, by=by(request), at=timezone.now())
    except retry_runs.NothingToRetry:
        admin.message_user(request, NOTHING, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:interventions_intervention_changelist"))
    return HttpResponseRedirect(PAGES.address(run.pk))


def title_of(asked: QueryDict) -> str:
    """Say what a filter of the inbox narrows to, without the words of a search: they may be somebody's name."""
    given = {name: str(asked.get(name, "")) for name in ("cause__exact", "target", "code", "q", "run")}
    if cause := given["cause__exact"]:
        said = fingerprint.parts(cause)
        return (
            f"{said.target}: {reasons.line(said.target, said.code, said.detail)}" if said else reasons.line("", "", "")
        )
    words = [
        word
        for word in (
            given["target"],
            given["code"],
            given["q"] and "a search",
            given["run"] and "part of an earlier bulk retry",
        )
        if word
    ]
    return ", ".join(words) or "Everything that needs a person"


def _listed(run: RetryRun, outcome: RetryOutcome | None = None) -> str:
    """Give the inbox narrowed to a run's items, or to those of one outcome."""
    part = f"{run.pk}.{outcome}" if outcome else str(run.pk)
    return f"{reverse('admin:interventions_intervention_changelist')}?{urlencode({'tab': 'all', 'run': part})}"


def _some(run: RetryRun) -> list[dict[str, Any]]:
    """Give a few of each outcome, so that what a number says can be looked at."""
    parts = [
        part for outcome in LOOKED_AT for part in run.retryrunitem_set.filter(outcome=outcome).order_by("pk")[:SOME]
    ]
    names = handler().label({part.person_id for part in parts}) if parts else {}
    return [
        {
            "person": names.get(part.person_id, f"person {part.person_id}"),
            "target": part.target,
            "outcome": part.get_outcome_display(),
            "look": LOOKED_AT[RetryOutcome(part.outcome)],
            "at": part.at,
            "url": reverse("admin:interventions_intervention_change", args=[part.item_id]),
        }
        for part in parts
    ]


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
    if listed.query != asked.get(SEARCH_VAR, ""):
        raise IncorrectLookupParameters  # a search that was not understood is not a search for everything
    return begin(admin, request, listed.queryset, asked)


def _report(request: HttpRequest, run_id: uuid.UUID) -> StreamingHttpResponse:
    require(request, LOOK)
    run = RetryRun.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404("There is no such run.")
    name = f"bulk-retry-{str(run_id)[:8]}.csv"
    return StreamingHttpResponse(
        retry_runs.as_csv(run), content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )  # fmt: skip
