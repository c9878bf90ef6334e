"""The inbox's list: tabs in the URL, names and next tries looked up for a page at once, no full count."""

import datetime as dt
import uuid
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from interventions.handlers import Entity, handler
from interventions.models import Intervention, State
from interventions.queries import NEEDS_A_PERSON

MOST_PAGED = 10_000


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
        return [("retrying", "Retrying"), ("resolved", "Resolved"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> QuerySet[Intervention]:
        """Narrow to the open tab."""
        match self.value():
            case "retrying":
                return queryset.filter(state=State.RETRYING)
            case "resolved":
                return queryset.filter(resolved=True)
            case "all":
                return queryset
            case _:
                return queryset.filter(resolved=False, state__in=NEEDS_A_PERSON)


class Inbox(ChangeList):
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
        self.result_list = rows

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Give each tab the order in which one reads it: what waits longest first, what was done last first."""
        return {"resolved": ["-resolved_at", "pk"], "all": ["-timestamp", "pk"]}.get(
            request.GET.get("tab", ""), ["timestamp", "pk"]
        )


def search(items: QuerySet[Intervention], words: str) -> QuerySet[Intervention]:
    """Find items by person, error, cause or id."""
    match = Q(error__icontains=words) | Q(cause__icontains=words) | Q(person_id__in=handler().find(words))
    try:
        match |= Q(pk=uuid.UUID(words))
    except ValueError:
        if words.isdigit():
            match |= Q(person_id=int(words))
    return items.filter(match)


def is_filtered(request: HttpRequest) -> bool:
    """Whether the list is narrowed beyond its tab, so that emptiness means "no match"."""
    return any(name not in {"tab", "p", "e", "o", "all"} and value for name, value in request.GET.items())
