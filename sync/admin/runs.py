"""The pages of repairs: what a repair would write, how far it is, and the buttons of those who may."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from interventions.admin.run_pages import CANCEL, Count, Line, RunPages, by, require
from sync import runs
from sync.models import Run, RunKind, RunState

REPAIR, UNDO = "sync.repair_run", "sync.undo_run"
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
COUNTING = "A worker is counting what a repair would write. Nothing is written before you start it."


class Repairs(RunPages[Run]):
    """What is a repair's own, and an undo's."""

    title, begun, counted = "Repairs", "asked for by", "Rows"
    templates = ("admin/sync/runs.html", "admin/sync/run.html")
    addresses = ("runs", "run")
    object_type, look = "run", "sync.view_run"
    useless = (runs.WrongState, KeyError)

    def newest(self, limit: int) -> list[Run]:
        """List the newest repairs."""
        return list(Run.objects.order_by("-asked_at")[:limit])

    def find(self, run_id: uuid.UUID) -> Run | None:
        """Give a repair."""
        return Run.objects.select_related("undoes").filter(pk=run_id).first()

    def line(self, run: Run, who: str) -> Line[Run]:
        """Describe a repair by how far it is through the people."""
        percent = round(runs.progress(run) * 100)
        moves = run.state in {RunState.PLANNING, RunState.RUNNING}
        return Line(run, str(run), self.address(run.pk), who, percent=percent, told=f"{percent} %", moves=moves)

    def counts(self, run: Run) -> list[Count]:
        """Give what came of the rows so far."""
        return [Count(_outcome(name), number) for name, number in sorted(runs.report(run).items())]

    def actions(self, request: HttpRequest, line: Line[Run]) -> list[tuple[str, str]]:
        """Give the buttons."""
        ways = {
            RunState.PLANNING: [CANCEL],
            RunState.PLANNED: [("start", "Start the repair"), CANCEL],
            RunState.RUNNING: [("pause", "Pause"), CANCEL],
            RunState.PAUSED: [("resume", "Resume"), CANCEL],
        }
        run = line.run
        found = list(ways.get(RunState(run.state), [])) if request.user.has_perm(REPAIR) else []
        if run.kind == RunKind.REPAIR and run.state not in runs.LIVE and request.user.has_perm(UNDO):
            found.append(("undo", "Undo: give back what it replaced"))
        return found

    def press(self, request: HttpRequest, run_id: uuid.UUID, action: str) -> uuid.UUID:
        """Start, pause, resume, cancel or undo."""
        require(request, UNDO if action == "undo" else REPAIR)
        try:
            if action == "undo":
                return runs.ask_for_undo(of=run_id, by=by(request), for_workers=True).pk
            return runs.switch(run_id=run_id, action=action, by=by(request), at=timezone.now(), for_workers=True).pk
        except Run.DoesNotExist:
            raise Http404("There is no such run.") from None

    def add(self, request: HttpRequest) -> HttpResponse:
        """Ask for a new plan."""
        require(request, REPAIR)
        run = runs.ask_for_repair(by=by(request), for_workers=True)
        messages.success(request, COUNTING)
        return HttpResponseRedirect(self.address(run.pk))

    def more(self, request: HttpRequest, line: Line[Run] | None) -> dict[str, Any]:
        """Say who may ask for a plan; of one run, what its plan found."""
        if line is None:
            return {"may_repair": request.user.has_perm(REPAIR)}
        undone = line.run.undoes
        return {
            "plan": _plan(line.run.plan), "has_plan": bool(line.run.plan), "undone": undone,
            "undone_url": self.address(undone.pk) if undone else "",
        }  # fmt: skip


PAGES = Repairs()


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
