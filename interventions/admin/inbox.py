"""The inbox of interventions and its pages."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from interventions import moments, queries, search
from interventions.admin import adoption, attending, causes, item, news, reasons, retries, sentences
from interventions.admin.changelist import (
    BoundedPaginator,
    CodeFilter,
    DeclaredFilters,
    Inbox,
    RunFilter,
    TabFilter,
    TargetFilter,
    is_filtered,
    marks_of,
    part_of_run,
)
from interventions.admin.records import OnRecord
from interventions.causes import standing as causes_at
from interventions.models import Intervention, State

TABS = (
    ("", "Needs a person"), ("mine", "Mine"), ("retrying", "Retrying"), ("snoozed", "Snoozed"), ("resolved", "Resolved"),
    ("all", "All"),
)  # fmt: skip
COUNTED = ("", "mine", "retrying", "snoozed")
CAUSES_SHOWN = 4


@admin.register(Intervention)
class InterventionAdmin(OnRecord, DeclaredFilters, ModelAdmin):
    """What needs a person. Nothing is added, edited or deleted here: items are retried or resolved with proof."""

    list_display = ("what", "therapist", "condition", "tries", "open_for", "next_try", "seen_to_by", "retry_button")
    list_display_links = None
    list_filter = (TabFilter, TargetFilter, CodeFilter, RunFilter)
    linked_by = ("cause__exact", "person_id__exact")
    list_filter_sheet = True
    list_per_page = 25
    list_max_show_all = 25
    list_before_template = "admin/interventions/inbox_top.html"
    says_emptiness = True
    show_facets = admin.ShowFacets.NEVER
    list_fullwidth = True
    paginator = BoundedPaginator
    show_full_result_count = False
    search_fields = ("id",)
    search_help_text = "Name, e-mail, error or id"
    actions = ("retry_selected", "resolve_selected")

    class Media:
        css = {"all": ("interventions/desk.css",)}
        js = ("interventions/inbox.js",)

    def has_retry_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may retry."""
        return request.user.has_perm("interventions.retry_intervention")

    def has_resolve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may mark resolved what is equal."""
        return request.user.has_perm("interventions.resolve_intervention")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Inbox]:
        """Use the list that looks things up a page at a time."""
        return Inbox

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Intervention], search_term: str
    ) -> tuple[QuerySet[Intervention], bool]:
        """Find by what staff know: a name, an address, an error, an id."""
        words = search_term.strip()
        return (search.narrowed(queryset, words) if words else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Add the desk's own pages before the admin's."""

        def guarded(view: Any) -> Any:
            return self.admin_site.admin_view(attending.told_when_held(view))

        return [
            path("retry/", guarded(self.retry_view), name="interventions_intervention_retry"),
            path("resolve/", guarded(self.resolve_view), name="interventions_intervention_resolve"),
            path("adopt/", guarded(self.adopt_view), name="interventions_intervention_adopt"),
            path("attend/", guarded(self.attend_view), name="interventions_intervention_attend"),
            path("new/", guarded(self.new_view), name="interventions_intervention_new"),
            *causes.addresses(self),
            *retries.addresses(self),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the inbox with its tabs and causes on top."""
        tab = request.GET.get("tab", "")
        marks, everything = marks_of(request), Intervention.objects.all()
        counts = {word: queries.bounded_count(queries.in_tab(everything, word, marks)) for word in COUNTED}
        standing = causes_at(at=marks.at, limit=CAUSES_SHOWN + 1) if not tab or request.GET.get("cause__exact") else []
        top = {
            "title": "Interventions",
            "tabs": [
                {
                    "name": name,
                    "url": f"?tab={word}" if word else "?",
                    "is_open": tab == word,
                    "count": _count(counts.get(word)),
                }
                for word, name in TABS
            ],
            "causes": causes.cards(request, standing[:CAUSES_SHOWN]),
            "has_more_causes": len(standing) > CAUSES_SHOWN,
            "causes_url": reverse("admin:causes"),
            "may_see_causes": request.user.has_perm(causes.LOOK),
            "decide_url": reverse("admin:cause_decide"),
            "retry_all_url": reverse("admin:retries_plan"),
            "new_url": news.address(request, at=marks.at) if not tab else "",
            "chosen_cause": reasons.of_cause(request.GET.get("cause__exact", "")),
            "chosen_run": part_of_run(run)[1] if (run := request.GET.get("run", "")) else "",
            "is_filtered": is_filtered(request),
            "open_tab": tab,
            "retry_url": reverse("admin:interventions_intervention_retry"),
            "here": request.get_full_path(),
            "plan_url": reverse("admin:retries_plan")
            if tab in {"", "mine", "snoozed", "all"} and self.has_retry_permission(request)
            else "",
            "query": request.GET.urlencode(),
            "checked_at": timezone.now(),
        }
        shown: HttpResponse = attending.told_when_held(super().changelist_view)(request, top | (extra_context or {}))
        return shown

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one item; it is no form."""
        return item.page(self, request, object_id)

    def retry_view(self, request: HttpRequest) -> HttpResponse:
        """Retry the items named in the form, then go back where one came from."""
        return item.retry(self, request)

    def resolve_view(self, request: HttpRequest) -> HttpResponse:
        """Show both sides of the items named, and resolve them when asked to."""
        return item.resolve(self, request)

    def adopt_view(self, request: HttpRequest) -> HttpResponse:
        """Adopt a value that was written into a copy."""
        return adoption.adopt(self, request)

    def attend_view(self, request: HttpRequest) -> HttpResponse:
        """Decide who sees to an item, and until when it is put off."""
        return attending.attend(self, request)

    def new_view(self, request: HttpRequest) -> HttpResponseBase:
        """Say how many have come since a page was made; the page asks from time to time."""
        return news.view(self, request)

    @action(description="Retry", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> HttpResponse | None:
        """Make the selected items' targets due now; more than a request can answer for become a bulk retry."""
        ids = list(queryset.order_by().values_list("pk", flat=True)[: item.MOST_RETRIED + 1])
        if len(ids) > item.MOST_RETRIED:
            return retries.begin(self, request, queryset, request.GET)
        item.start_retries(self, request, Intervention.objects.filter(pk__in=ids))
        return None

    @action(description="Mark resolved…", permissions=["resolve"])
    def resolve_selected(self, request: HttpRequest, queryset: QuerySet[Intervention]) -> HttpResponse:
        """Go and look at both sides first."""
        ids = item.first_ids(queryset, most=item.MOST_AT_ONCE)
        if len(ids) == item.MOST_AT_ONCE:
            self.message_user(request, sentences.only_first(len(ids), "Mark resolved"), messages.WARNING)
        where = reverse("admin:interventions_intervention_resolve")
        words = {"item": ids, "next": [request.get_full_path()]}
        return HttpResponseRedirect(f"{where}?{urlencode(words, doseq=True)}")

    @display(description="What failed, and why")
    def what(self, row: Intervention) -> SafeString:
        """The place and the reason, leading to the item."""
        detail = reasons.detail_of(row.cause)
        why = reasons.line(row.target, row.code, detail) if row.target else row.error
        return format_html(
            '<a class="kw-what" href="{}"><b>{}</b><span>{}</span></a>',
            reverse("admin:interventions_intervention_change", args=[row.pk]), str(row), why,
        )  # fmt: skip

    @display(description="Therapist")
    def therapist(self, row: Any) -> str:
        """The person's name."""
        named = row.person_name or (f"person {row.person_id}" if row.person_id else row.entity_id)
        return named if named and named != row.target else "-"

    @display(description="State")
    def condition(self, row: Any) -> SafeString:
        """The state as a word, in a colour, and until when it is put off."""
        shown = format_html('<span class="kw-state kw-{}">{}</span>', row.state, State(row.state).label)
        off = attending.put_off(row, row.its_cause, timezone.now())
        return format_html('{} <span class="kw-quiet">{}</span>', shown, off) if off else shown

    @display(description="Tries")
    def tries(self, row: Intervention) -> int:
        """How often it was tried."""
        return row.attempts

    @display(description="Open for")
    def open_for(self, row: Intervention) -> SafeString:
        """How long it has needed somebody."""
        until = row.resolved_at if row.resolved and row.resolved_at else timezone.now()
        age = moments.lasted(row.timestamp, until)
        return format_html(
            '<time datetime="{}" title="since {}">{}</time>', row.timestamp.isoformat(), row.timestamp, age
        )

    @display(description="Next try")
    def next_try(self, row: Any) -> str:
        """When it is tried again by itself."""
        if row.resolved:
            return "-"
        if row.next_try_at is None:
            return "on a change" if row.target else "not by itself"
        return f"in {timeuntil(row.next_try_at).split(',')[0]}" if row.next_try_at > timezone.now() else "now"

    @display(description="Assignee")
    def seen_to_by(self, row: Any) -> str:
        """Who sees to it, or to its cause."""
        if row.assignee_name:
            return str(row.assignee_name)
        if not row.cause_owner_name:
            return "-"
        return format_html('{} <span class="kw-quiet">by cause</span>', row.cause_owner_name)

    @display(description="")
    def retry_button(self, row: Intervention) -> str:
        """A button of a form that stands above the list."""
        if row.resolved or not row.target or row.person_id is None:
            return ""
        return format_html(
            '<button type="submit" form="kw-retry" name="item" value="{}" class="kw-button" aria-label="Retry {}">Retry</button>',
            row.pk, str(row),
        )  # fmt: skip

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Leave the button out for those whom it would refuse."""
        return self.list_display if self.has_retry_permission(request) else self.list_display[:-1]


def _count(number: int | None) -> str:
    if number is None:
        return ""
    return f"{queries.MOST_COUNTED}+" if number > queries.MOST_COUNTED else str(number)
