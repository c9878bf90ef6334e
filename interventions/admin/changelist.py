"""The inbox's list: tabs in the URL, names and next tries looked up for a page at once, no full count."""

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from django.contrib.admin import ShowFacets, SimpleListFilter
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.text import capfirst
from unfold.views import ChangeList

from interventions.admin.sentences import who
from interventions.causes import live
from interventions.handlers import Entity, handler
from interventions.models import CauseState, Intervention, RetryOutcome, State
from interventions.queries import Marks, in_tab, marks, recent_kinds
from interventions.reasons import reason

MOST_PAGED = 1_000
_KINDS = "_interventions_recent_kinds"
_MARKS = "_interventions_marks"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than anybody would page."""

    @cached_property
    def count(self) -> int:
        """The number of rows, at most MOST_PAGED."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_PAGED].count())


class TabFilter(SimpleListFilter):
    """Which part of the inbox is open; without a word in the URL, what needs a person."""

    title = "tab"
    parameter_name = "tab"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List the tabs beside the default."""
        return [(word, word.capitalize()) for word in ("mine", "retrying", "snoozed", "resolved", "all")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Call the default what its tab is called."""
        default, *others = super().choices(changelist)
        yield {**default, "display": State.OPEN.label}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> QuerySet[Intervention]:
        """Narrow to the open tab."""
        found = marks_of(request)
        if not self.value() and request.GET.get("cause__exact"):
            # Who looks at one cause sees what belongs to it, also where it was put off.
            found = replace(found, put_off=frozenset())
        return in_tab(queryset, self.value() or "", found)


def marks_of(request: HttpRequest) -> Marks:
    """Give what staff decided about causes, read once a request."""
    found: Marks | None = getattr(request, _MARKS, None)
    if found is None:
        found = marks(by=f"user:{request.user.pk}", at=timezone.now())
        setattr(request, _MARKS, found)
    return found


class RunFilter(SimpleListFilter):
    """What one bulk retry held, or what came to one outcome in it (`ID.fixed`); offered where the URL names it alone."""

    title, parameter_name = "bulk retry", "run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what the URL says."""
        given = request.GET.get(self.parameter_name, "")
        return [(given, part_of_run(given)[1])] if given else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> QuerySet[Intervention]:
        """Narrow to the run's items."""
        given = self.value()
        return queryset.filter(part_of_run(given)[0]) if given else queryset


def part_of_run(given: str) -> tuple[Q, str]:
    """Give what narrows the log to what the URL's word names, and the same in words; to nothing for what is no such word."""
    run, _, outcome = given.partition(".")
    try:
        part = Q(bulk_retries__run=uuid.UUID(run))
        said = f": {RetryOutcome(outcome).label}" if outcome else ""
    except ValueError:
        return Q(pk__in=[]), "none of this name"
    return part & Q(bulk_retries__outcome=outcome) if outcome else part, f"{run[:8]}{said}"


class _Recent(SimpleListFilter):
    """Offers the values of the newest items, and the one chosen in the URL; what is offered is looked up once a request."""

    parameter_name: str
    place: int

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List the values."""
        kinds: set[tuple[str, str]] | None = getattr(request, _KINDS, None)
        if kinds is None:
            kinds = recent_kinds()
            setattr(request, _KINDS, kinds)
        values = {kind[self.place] for kind in kinds} | {request.GET.get(self.parameter_name, "")}
        return [(value, self.label(value)) for value in sorted(values - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> QuerySet[Intervention]:
        """Narrow to the value."""
        value = self.value()
        return queryset.filter(**{self.parameter_name: value}) if value else queryset

    def label(self, value: str) -> str:
        """Say what the value is."""
        return value


class TargetFilter(_Recent):
    """Where it could not be written."""

    title, parameter_name, place = "target", "target", 0


class CodeFilter(_Recent):
    """Why it could not be written, in words."""

    title, parameter_name, place = "reason", "code", 1

    def label(self, value: str) -> str:
        """Say what the code means."""
        return f"{value}: {reason(value).fact}"


class DeclaredFilters:
    """
    Narrows a list by what it offers and what leads there; stands before ModelAdmin.

    Django would take any lookup of any column from the URL: a pattern that runs for ever, or nonsense that ends in an error.
    """

    linked_by: ClassVar[tuple[str, ...]] = ()
    list_filter: ClassVar[Any] = ()
    # They would count the whole table once for each of their values.
    show_facets = ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Tell whether a parameter is one of those; any other makes the request a bad one."""
        offered = {
            name
            for one in self.list_filter
            for name in ([f"{one}__exact", f"{one}__isnull"] if isinstance(one, str) else [one.parameter_name])
        }
        return lookup in offered or lookup in self.linked_by


class BoundedList(ChangeList):
    """A list that does not take its bounded count for the whole truth."""

    result_list: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Name the list after what it lists; Django would ask those who may only look to "select" one."""
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    @property
    def is_cut(self) -> bool:
        """Whether there may be more rows than were counted."""
        return int(self.result_count) >= MOST_PAGED

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page; the skin reads an unknown full count as a reason to print "(Show all)"."""
        super().get_results(request)
        self.full_result_count = self.result_count


class Inbox(BoundedList):
    """A page of items that know their person's name and their next try."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then what belongs to it in one query each."""
        super().get_results(request)
        rows = list(self.result_list)
        entities: set[Entity] = {(row.person_id, row.target) for row in rows if row.person_id is not None}
        names = handler().label({person_id for person_id, _ in entities}) if entities else {}
        planned = handler().next_tries(entities) if entities else {}
        for row in rows:
            row.person_name = names.get(row.person_id, "")
            next_try = planned.get((row.person_id, row.target))
            row.next_try_at = dt.datetime.fromisoformat(next_try) if next_try else None
        _attended(rows)
        self.result_list = rows

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """
        Give each tab the order in which one reads it: what waits longest first, what was done last first.

        A bulk retry has one of its own, the order of its tries: any other would look up each of its items for a page.
        """
        if any(isinstance(one, RunFilter) and one.value() for one in self.filter_specs):
            return ["bulk_retries__id", "pk"]
        return {"resolved": ["-resolved_at", "pk"], "all": ["-timestamp", "pk"]}.get(
            request.GET.get("tab", ""), ["timestamp", "pk"]
        )


def _attended(rows: list[Any]) -> None:
    """Let rows know who sees to them, or else to their cause, and until when they are put off."""
    causes = {cause.fingerprint: cause for cause in live().filter(fingerprint__in={row.cause for row in rows})}
    for row in rows:
        row.its_cause = causes.get(row.cause)
        is_seen_to = row.its_cause is not None and row.its_cause.state == CauseState.ACKNOWLEDGED
        row.cause_owner = row.its_cause.owner if is_seen_to else None
    names = who({actor for row in rows for actor in (row.assignee, row.cause_owner) if actor})
    for row in rows:
        row.assignee_name, row.cause_owner_name = names.get(row.assignee, ""), names.get(row.cause_owner, "")


def is_filtered(request: HttpRequest) -> bool:
    """Whether the list is narrowed beyond its tab, so that emptiness means "no match"."""
    return any(name not in {"tab", "p", "e", "o", "all"} and value for name, value in request.GET.items())
