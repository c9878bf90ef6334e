"""History, for reading."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display

from interventions import moments
from interventions.admin import sentences
from interventions.admin.changelist import BoundedList, BoundedPaginator, DeclaredFilters
from interventions.admin.records import OnRecord
from interventions.models import History


class ActionFilter(SimpleListFilter):
    """What was done; offers what the desk has words for, so that no list of a million lines is searched for values."""

    title, parameter_name = "action", "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """List the actions in words."""
        return list(sentences.ACTIONS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[History]) -> QuerySet[History]:
        """Narrow to the action."""
        return queryset.filter(action=self.value()) if self.value() else queryset


class Lines(BoundedList):
    """A page of lines that know their actor's name."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then the names in one query."""
        super().get_results(request)
        rows = list(self.result_list)
        names = sentences.who({row.actor for row in rows})
        for row in rows:
            row.actor_name = names[row.actor]
        self.result_list = rows


@admin.register(History)
class HistoryAdmin(OnRecord, DeclaredFilters, ModelAdmin):
    """Who did what, when; the database refuses every change of it."""

    list_display = ("when", "who", "what", "subject")
    list_display_links = None
    list_filter = (ActionFilter,)
    list_per_page = 50
    counted_as = "line"
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 50
    search_fields = ("object_id__exact", "actor__exact", "request_id__exact")
    search_help_text = "Id of an intervention, an actor such as user:7, or a request"
    ordering = ("-id",)
    show_full_result_count = False
    paginator = BoundedPaginator

    class Media:
        css = {"all": ("interventions/desk.css",)}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Lines]:
        """Use the list that looks names up a page at a time."""
        return Lines

    @display(description="When")
    def when(self, row: History) -> str:
        """The moment, to the second."""
        return moments.spelled(row.at, moments.TO_THE_SECOND)

    @display(description="Who")
    def who(self, row: Any) -> str:
        """The actor by name."""
        name: str = row.actor_name
        return name

    @display(description="What")
    def what(self, row: History) -> str:
        """The action in words."""
        return sentences.ACTIONS.get(row.action, row.action)

    @display(description="About")
    def subject(self, row: History) -> str:
        """What it was done to, leading there."""
        if row.object_type == "cause":
            page = reverse("admin:cause", args=[row.object_id])
            return format_html('<a class="kw-link" href="{}">cause {}</a>', page, row.object_id[:8])
        if row.object_type != "intervention":
            kind = {"run": "repair", "retry_run": "bulk retry", "hold": "held deletions"}.get(
                row.object_type, row.object_type
            )
            return f"{kind.replace('_', ' ')} {row.object_id.partition('-')[0]}"
        where = reverse("admin:interventions_intervention_change", args=[row.object_id])
        return format_html('<a class="kw-link" href="{}">intervention {}</a>', where, row.object_id[:8])
