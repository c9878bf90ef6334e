"""The two pages of every kind of run: the list, and one run with its state, progress, buttons, report and history."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from interventions.admin import sentences
from interventions.admin.reading import read
from interventions.models import History, RunRecord

SHOWN = 25
LOOKS = {
    "planning": "kw-retrying", "planned": "kw-plain", "canary": "kw-retrying", "running": "kw-retrying",
    "paused": "kw-reopened", "stopped": "kw-open", "cancelled": "kw-plain", "done": "kw-resolved",
}  # fmt: skip
WRONG = "The run is not in a state in which that can be done any more; this is how it stands now."
UNDONE = "The database did not go along, so nothing was changed. Try again in a moment."
CANCEL = ("cancel", "Cancel")


Run = TypeVar("Run", bound=RunRecord)


@dataclass(frozen=True)
class Line(Generic[Run]):
    """
    One run as the pages show it.

    `percent` is how far it is, `told` the same in words; None: not known. `failed`: not everything that it tried worked.
    """

    run: Run
    title: str
    address: str
    who: str
    percent: int | None
    told: str
    moves: bool
    failed: bool = False

    @property
    def look(self) -> str:
        """The colour of its state."""
        return "kw-open" if self._ended_badly else LOOKS[self.run.state]

    @property
    def state(self) -> str:
        """Its state in words; a run that came to its end, and yet left something broken, says so."""
        return (
            f"{self.run.get_state_display()}: some failed again" if self._ended_badly else self.run.get_state_display()
        )

    @property
    def _ended_badly(self) -> bool:
        return self.failed and self.run.state == "done"


@dataclass(frozen=True)
class Count:
    """A line of a run's report; `link` leads to what was counted."""

    name: str
    number: int
    link: str = ""


class RunPages(ABC, Generic[Run]):
    """The pages of one kind of run; a kind says what is its own."""

    # Words: the pages' title, who began a run, what its report counts.
    title: ClassVar[str]
    begun: ClassVar[str]
    counted: ClassVar[str]
    # Names: templates, addresses, the object type in history, and who may look.
    templates: ClassVar[tuple[str, str]]
    addresses: ClassVar[tuple[str, str]]
    object_type: ClassVar[str]
    look: ClassVar[str]
    # Errors of a button that is of no use any more.
    useless: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def newest(self, limit: int) -> list[Run]:
        """List the newest runs."""

    @abstractmethod
    def find(self, run_id: uuid.UUID) -> Run | None:
        """Give a run."""

    @abstractmethod
    def line(self, run: Run, who: str) -> Line[Run]:
        """Describe a run."""

    @abstractmethod
    def counts(self, run: Run) -> list[Count]:
        """Give the report: outcomes in words, how many, and where they are listed."""

    @abstractmethod
    def actions(self, request: HttpRequest, line: Line[Run]) -> list[tuple[str, str]]:
        """Give the buttons that mean something now to this person, as action and words; the first is the main one."""

    @abstractmethod
    def press(self, request: HttpRequest, run_id: uuid.UUID, action: str) -> uuid.UUID:
        """Do what a button says; give the run to look at. Raises PermissionDenied, Http404 and what is `useless`."""

    def more(self, request: HttpRequest, line: Line[Run] | None) -> dict[str, Any]:
        """Give what a kind shows besides: of one run, or on the list."""
        return {}

    def add(self, request: HttpRequest) -> HttpResponse:
        """Answer a POST to the list."""
        raise PermissionDenied

    def listing(self, request: HttpRequest) -> HttpResponse:
        """List the runs, newest first."""
        return self._guarded(request, lambda: self.add(request) if request.method == "POST" else self._listing(request))

    def detail(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        """Show one run; a POST presses a button."""
        shown = self._pressed if request.method == "POST" else self._detail
        return self._guarded(request, lambda: shown(request, run_id))

    def address(self, run_id: uuid.UUID) -> str:
        """Give a run's page."""
        return reverse(self.addresses[1], args=[run_id])

    def _guarded(self, request: HttpRequest, show: Callable[[], HttpResponse]) -> HttpResponse:
        @require_http_methods(["GET", "HEAD", "POST"])
        def checked(given: HttpRequest) -> HttpResponse:
            if not given.user.has_perm(self.look):
                raise PermissionDenied
            return show()

        response: HttpResponse = admin.site.admin_view(checked)(request)
        return response

    def _lines(self, found: Collection[Run]) -> list[Line[Run]]:
        names = sentences.who({run.asked_by for run in found})
        return [self.line(run, names.get(run.asked_by, run.asked_by)) for run in found]

    def _listing(self, request: HttpRequest) -> HttpResponse:
        lines = read(lambda: self._lines(self.newest(SHOWN)))
        context = admin.site.each_context(request) | self._words() | {
            "title": self.title, "lines": lines.value or [], "is_known": lines.is_known,
        }  # fmt: skip
        return TemplateResponse(request, self.templates[0], context | self.more(request, None))

    def _detail(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        run = self.find(run_id)
        if run is None:
            raise Http404("There is no such run.")
        line, counts = self._lines([run])[0], read(lambda: self.counts(run))
        context = admin.site.each_context(request) | self._words() | {
            "title": str(run), "line": line, "counts": counts, "actions": self.actions(request, line),
            "history": read(lambda: self._history(run)), "list_url": reverse(self.addresses[0]),
        }  # fmt: skip
        return TemplateResponse(request, self.templates[1], context | self.more(request, line))

    def _pressed(self, request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
        try:
            run_id = self.press(request, run_id, request.POST.get("action", ""))
        except self.useless:
            messages.warning(request, WRONG)
        except DatabaseError:
            messages.error(request, UNDONE)
        return HttpResponseRedirect(self.address(run_id))

    def _history(self, run: Run) -> list[tuple[History, str, str]]:
        lines = list(History.objects.of(self.object_type, str(run.pk)).order_by("-id")[:SHOWN])[::-1]
        names = sentences.who({line.actor for line in lines})
        return [(line, names[line.actor], sentences.ACTIONS.get(line.action, line.action)) for line in lines]

    def _words(self) -> dict[str, str]:
        return {"kind": self.title, "begun": self.begun, "counted": self.counted}


def by(request: HttpRequest) -> str:
    """Name the caller as history does."""
    return f"user:{request.user.pk}"


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied unless the caller has it."""
    if not request.user.has_perm(permission):
        raise PermissionDenied
