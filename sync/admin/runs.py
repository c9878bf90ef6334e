"""The pages of repairs: what a repair would write, how far it is, and the buttons of those who may."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from interventions.admin import sentences
from sync import runs
from sync.admin.readings import read
from sync.models import Run, RunKind, RunState

SHOWN = 25
LOOKS = {
    RunState.PLANNING: "kw-retrying", RunState.PLANNED: "kw-plain", RunState.RUNNING: "kw-retrying",
    RunState.PAUSED: "kw-reopened", RunState.CANCELLED: "kw-plain", RunState.DONE: "kw-resolved",
}  # fmt: skip
OUTCOMES = {
    "written": "written", "waiting": "in somebody's hands, tried again", "owed": "owed: left to the workers",
    "accepted": "accepted: left as it is", "equal meanwhile": "equal meanwhile", "undone": "given back",
}  # fmt: skip
LEFT = {
    "55P03": "left: in somebody's hands until the end", "57014": "left: took too long", "changed": "changed since",
    "owed": "owed: left to the workers", "P0002": "left to staff: the row is missing", "P0003": "left: more than one row",
    "KW003": "left to staff: the source cannot be read", "KW001": "left to staff: different again when read back",
}  # fmt: skip
STRAYS = {
    "unlinked": "applicants without a user: nothing to copy yet", "duplicate": "second row of an address: left to staff",
    "orphan": "row of nobody: left to staff",
}  # fmt: skip
WRONG = "The run is not in a state in which that can be done any more; this is how it stands now."


@dataclass(frozen=True)
class Line:
    """One run as the pages show it."""

    run: Run
    who: str
    percent: int
    look: str

    @property
    def state(self) -> str:
        """The state in words."""
        return RunState(self.run.state).label

    @property
    def is_under_way(self) -> bool:
        """Whether its numbers move by themselves."""
        return self.run.state in {RunState.PLANNING, RunState.RUNNING}


def listing(request: HttpRequest) -> HttpResponse:
    """List the runs, newest first; a POST asks for a new plan."""
    return _guarded(request, lambda: _listing(request))


def detail(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    """Show one run; a POST starts, pauses, resumes, cancels or undoes it."""
    return _guarded(request, lambda: _detail(request, run_id))


@require_http_methods(["GET", "HEAD", "POST"])
def _checked(request: HttpRequest, show: Callable[[], HttpResponse]) -> HttpResponse:
    if not request.user.has_perm("sync.view_run"):
        raise PermissionDenied
    return show()


def _guarded(request: HttpRequest, show: Callable[[], HttpResponse]) -> HttpResponse:
    response: HttpResponse = admin.site.admin_view(lambda given: _checked(given, show))(request)
    return response


def _listing(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        _require(request, "sync.repair_run")
        run = runs.ask_for_repair(by=f"user:{request.user.pk}", for_workers=True)
        messages.success(
            request, "A worker is counting what a repair would write. Nothing is written before you start it."
        )
        return HttpResponseRedirect(reverse("run", args=[run.pk]))
    found = read(lambda: list(Run.objects.order_by("-asked_at")[:SHOWN]))
    context = admin.site.each_context(request) | {
        "title": "Repairs", "lines": _lines(found.value or []), "is_known": found.is_known,
        "may_repair": request.user.has_perm("sync.repair_run"),
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/runs.html", context)


def _detail(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    if request.method == "POST":
        return HttpResponseRedirect(reverse("run", args=[_change(request, run_id)]))
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404("There is no such run.")
    counts = read(lambda: runs.report(run))
    context = admin.site.each_context(request) | {
        "title": str(run), "line": _lines([run])[0], "plan": _plan(run.plan), "has_plan": bool(run.plan),
        "counts": [(_outcome(name), number) for name, number in sorted((counts.value or {}).items())],
        "counts_are_known": counts.is_known, "actions": _actions(request, run),
        "may_undo": run.kind == RunKind.REPAIR and run.state not in runs.LIVE and request.user.has_perm("sync.undo_run"),
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/run.html", context)


def _change(request: HttpRequest, run_id: uuid.UUID) -> uuid.UUID:
    """Do what the button says; give the run to look at afterwards."""
    action, by = request.POST.get("action", ""), f"user:{request.user.pk}"
    try:
        if action == "undo":
            _require(request, "sync.undo_run")
            return runs.ask_for_undo(of=run_id, by=by, for_workers=True).pk
        _require(request, "sync.repair_run")
        runs.switch(run_id=run_id, action=action, by=by, at=timezone.now(), for_workers=True)
    except Run.DoesNotExist:
        raise Http404("There is no such run.") from None
    except (runs.WrongState, KeyError):
        messages.warning(request, WRONG)
    except DatabaseError:
        messages.error(request, "The database did not go along, so nothing was changed. Try again in a moment.")
    return run_id


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _actions(request: HttpRequest, run: Run) -> list[tuple[str, str]]:
    """Give the buttons that mean something now to this person; the first is the main one."""
    if not request.user.has_perm("sync.repair_run"):
        return []
    ways = {
        RunState.PLANNING: [("cancel", "Cancel")],
        RunState.PLANNED: [("start", "Start the repair"), ("cancel", "Cancel")],
        RunState.RUNNING: [("pause", "Pause"), ("cancel", "Cancel")],
        RunState.PAUSED: [("resume", "Resume"), ("cancel", "Cancel")],
    }
    return ways.get(RunState(run.state), [])


def _lines(found: list[Run]) -> list[Line]:
    names = sentences.who({run.asked_by for run in found})
    return [
        Line(run, names.get(run.asked_by, run.asked_by), round(runs.progress(run) * 100), LOOKS[RunState(run.state)])
        for run in found
    ]


def _plan(plan: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """Give the plan as rows: place, fact, what, how many; nothing that is zero."""
    rows = []
    for target, kinds in plan.get("targets", {}).items():
        if kinds["out_of_reach"]:
            rows.append((target, "", f"cannot be read ({kinds['out_of_reach']})", 0))
        rows += [(target, fact, "differs", n) for fact, n in kinds["differs"].items()]
        rows += [
            (target, fact, "its source cannot be read: left to staff", n) for fact, n in kinds["unreadable"].items()
        ]
        words = {"missing": "no row: left to staff", "owed": "owed: left to the workers", "accepted": "accepted: stays"}
        rows += [(target, "", words[kind], kinds[kind]) for kind in words if kinds[kind]]
    for table, found in plan.get("strays", {}).items():
        rows += [(table, "", STRAYS.get(kind, kind), n) for kind, n in found.items() if n]
    return rows


def _outcome(name: str) -> str:
    kind, _, code = name.partition(": ")
    if code:
        return LEFT.get(code, f"{kind}: {code}") if kind != "unread" else f"could not be read: {code}"
    return OUTCOMES.get(kind, kind)
