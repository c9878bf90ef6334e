"""Held deletions: what was deleted, and a person's decision about it."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from interventions import moments
from interventions.admin import sentences
from interventions.admin.changelist import BoundedList, BoundedPaginator, DeclaredFilters
from interventions.admin.records import OnRecord
from interventions.admin.run_pages import by
from interventions.search import id_in
from sync import deletion
from sync.doorbell import bell
from sync.models import Hold, Tombstone

PERMISSION = "sync.decide_hold"
# An id a line is enough to find the rows in a backup; more are in the table.
MOST_LISTED = 200
UNCONFIRMED = "Nothing was decided: tick the box to say that you looked at what was deleted."
RELEASED = "They take effect now: {number} deletions are being carried out."
REJECTED = "Rejected: the copies stay as they are. Bring the rows back; they are linked and kept equal as before."


class HeldList(BoundedList):
    """A page of holds that know who decided them."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then the names in one query."""
        super().get_results(request)
        rows = list(self.result_list)
        names = sentences.who({row.decided_by for row in rows if row.decided_by})
        for row in rows:
            row.told = _told(row, names)
        self.result_list = rows


@admin.register(Hold)
class Holds(OnRecord, DeclaredFilters, ModelAdmin):
    """Deletions that came in masses. Nothing is added, edited or deleted here."""

    list_display = ("what", "opened_at", "standing")
    list_display_links = ("what",)
    ordering = ("-id",)
    list_per_page = 25
    list_max_show_all = 25
    show_full_result_count = False
    paginator = BoundedPaginator
    empty_text = "Nothing was deleted in masses. When it is, it waits here for a person's decision."

    class Media:
        css = {"all": ("interventions/desk.css",)}

    @display(description="Held")
    def what(self, row: Hold) -> str:
        """Say from where."""
        return str(row)

    @display(description="State")
    def standing(self, row: Any) -> str:
        """Say what was decided, and by whom."""
        told: str = row.told
        return told

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[HeldList]:
        """Use the list that looks names up a page at a time."""
        return HeldList

    def get_urls(self) -> list[URLPattern]:
        """Add the address of decisions."""
        view = self.admin_site.admin_view(self.decide_view)
        return [path("<int:pk>/decide/", view, name="sync_hold_decide"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show what was deleted, and the two ways to decide."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        hold = Hold.objects.filter(pk=id_in(object_id) or 0).first()
        if hold is None:
            raise Http404("There is no such hold.")
        rows = Tombstone.objects.filter(hold_id=hold.pk).order_by("pk")
        context = self.admin_site.each_context(request) | {
            "title": str(hold).capitalize(),
            "opts": self.opts,
            "hold": hold,
            "number": rows.count(),
            "rows": rows[:MOST_LISTED],
            "listed": MOST_LISTED,
            "told": _told(hold),
            "may_decide": hold.decided_at is None and request.user.has_perm(PERMISSION),
            "inbox_url": reverse("admin:interventions_intervention_changelist"),
            "media": self.media,
            "is_popup": False,
        }
        return TemplateResponse(request, "admin/sync/hold.html", context)

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let them take effect, or reject them; tells the second of two people what the first did."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        back = HttpResponseRedirect(reverse("admin:sync_hold_change", args=[pk]))
        choice = request.POST.get("choice")
        if request.POST.get("confirmed") != "yes" or choice not in {"release", "reject"}:
            messages.error(request, UNCONFIRMED)
            return back
        number = Tombstone.objects.filter(hold_id=pk).count()
        try:
            hold = deletion.decide(hold_id=pk, is_released=choice == "release", by=by(request), at=timezone.now())
        except deletion.DecidedAlready as decided:
            messages.warning(request, f"Nothing was decided: {_told(decided.hold)}")
            return back
        except Hold.DoesNotExist as error:
            raise Http404("There is no such hold.") from error
        bell.ring()
        messages.success(request, RELEASED.format(number=number) if hold.is_released else REJECTED)
        return back


def _told(hold: Hold, names: Mapping[str, str] | None = None) -> str:
    if hold.decided_at is None:
        return "Waits for a decision."
    actor = hold.decided_by or "system"
    word = "let them take effect" if hold.is_released else "rejected them"
    return f"{(names or sentences.who([actor]))[actor]} {word} {moments.ago(hold.decided_at, timezone.now())}."
