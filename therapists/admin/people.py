"""Enrollments and profiles for staff, and the form by which staff decide."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.timezone import localtime
from unfold.widgets import UnfoldAdminTextInputWidget

from interventions.admin.sentences import BUSY
from interventions.search import id_in
from therapists import identity
from therapists.admin import duplicate, factor
from therapists.admin.base import PersonAdmin, told
from therapists.approval import STATUS_AFTER, Decision, decide
from therapists.models import Enrollment, Profile

DECIDED = {Decision.APPROVE: "Approved.", Decision.REJECT: "Rejected.", Decision.SUSPEND: "Suspended."}
UNKNOWN_DECISION = "Choose what you decide: approve, reject or suspend. Nothing was changed."
ENDED = {1: " One booking ahead was cancelled."}
ONE_LINE = ("full_name", "email", "phone", "specialization")


class DecisionForm(forms.Form):
    """What staff decide, and why."""

    decision = forms.ChoiceField(
        choices=[(one.value, one.value.capitalize()) for one in Decision], widget=forms.RadioSelect
    )
    reason = forms.CharField(required=False, max_length=2_000, widget=forms.Textarea({"rows": 2}))


class QuarantineFilter(admin.SimpleListFilter):
    """Profiles whose person is gone."""

    title, parameter_name = "quarantine", "quarantined"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer those without a user."""
        return [("yes", "Without a user")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Narrow to those without a user."""
        return queryset.filter(user=None) if self.value() == "yes" else queryset


class PersonRowAdmin(PersonAdmin):
    """A row that belongs to a user, or to nobody yet."""

    list_select_related = ("user",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Give short texts one line."""
        if db_field.name in ONE_LINE:
            kwargs["widget"] = UnfoldAdminTextInputWidget
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_search_results(self, request: HttpRequest, queryset: Any, words: str) -> Any:
        """Find by name, address, the row's id or the person's."""
        found, is_doubled = super().get_search_results(request, queryset, words)
        if (number := id_in(words)) is not None:
            found = found | queryset.filter(pk=number) | queryset.filter(user_id=number)
        return found, is_doubled


@admin.register(Enrollment)
class Enrollments(PersonRowAdmin):
    """What therapists told the platform. Their status changes by a decision only."""

    list_display = ("name", "email", "status", "created_at", "copies_word")
    list_filter = ("status",)
    search_fields = ("full_name", "email")
    readonly_fields = ("user", "status", "approved_at", "status_reason", "created_at", "updated_at")
    change_form_outer_after_template = "admin/therapists/decide.html"
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("full_name", "email", "phone", "bio", "experience_years", "specialization", "profile_image_url")}),
        ("Decision", {"fields": ("status", "approved_at", "status_reason")}),
        ("Row", {"fields": ("user", "created_at", "updated_at")}),
    )  # fmt: skip

    @admin.display(description="Name", ordering="full_name")
    def name(self, row: Enrollment) -> str:
        """Show a name that can be clicked even where there is none."""
        return row.full_name or str(row)

    def get_readonly_fields(self, request: HttpRequest, obj: Enrollment | None = None) -> list[str]:
        """An applicant has no user who would own the name and the address."""
        fields = super().get_readonly_fields(request, obj)
        if obj is None or obj.user_id is None:
            return [field for field in fields if field not in {"full_name", "email"}]
        return fields

    def get_urls(self) -> list[Any]:
        """Add the address of decisions."""
        guarded = self.admin_site.admin_view
        return [
            path("<int:pk>/decide/", guarded(self.decide_view), name="therapists_enrollment_decide"),
            path("<int:pk>/duplicate/", guarded(self.duplicate_view), name="therapists_enrollment_duplicate"),
            *super().get_urls(),
        ]

    def duplicate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show two enrollments of one address side by side, and decide about them."""
        return duplicate.page(self, request, pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Offer the decision to who may decide."""
        may = request.user.has_perm("therapists.decide_enrollment")
        shown = {"decision_form": DecisionForm() if may else None, "enrollment_id": object_id}
        response: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return response

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Decide, and say what was decided and how the copies stand."""
        if not request.user.has_perm("therapists.decide_enrollment"):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        back = reverse("admin:therapists_enrollment_change", args=[pk])
        if again := factor.needed_again(request, back):
            return again
        before = get_object_or_404(Enrollment, pk=pk)
        form = DecisionForm(request.POST)
        if form.is_valid():
            self._decide(request, before, Decision(form.cleaned_data["decision"]), form.cleaned_data["reason"])
        else:
            messages.error(request, UNKNOWN_DECISION)
        return HttpResponseRedirect(back)

    def _decide(self, request: HttpRequest, before: Enrollment, decision: Decision, reason: str) -> None:
        by = f"user:{request.user.pk}"
        try:
            decided = decide(enrollment_id=before.pk, decision=decision, reason=reason, by=by, at=timezone.now())
        except OperationalError:
            messages.error(request, BUSY)
            return
        again = " It was so already; the reason was kept." if before.status == STATUS_AFTER[decision] else ""
        number = len(decided.cancelled)
        ended = ENDED.get(number, f" {number} bookings ahead were cancelled.") if number else ""
        messages.success(request, f"{DECIDED[decision]}{again}{ended} {told(before.user_id)}")


@admin.register(Profile)
class Profiles(PersonRowAdmin):
    """What the public sees: copies, every one, and how often the page was opened."""

    list_display = ("name", "verification_status", "views", "updated_at", "copies_word")
    list_filter = (QuarantineFilter, "verification_status")
    search_fields = ("user__full_name", "user__email")
    readonly_fields = ("user", "views", "created_at", "updated_at", "quarantine")
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("bio", "experience_years", "phone", "specialization", "verification_status", "profile_image_url")}),
        ("Row", {"fields": ("user", "quarantine", "views", "created_at", "updated_at")}),
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A profile is its person's, and comes with them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Profile | None = None) -> bool:
        """A profile without a user is kept as it is."""
        return bool(super().has_change_permission(request, obj)) and (obj is None or obj.user_id is not None)

    @admin.display(description="Quarantine")
    def quarantine(self, row: Profile) -> str:
        """Say since when a profile has had no user, and what becomes of it."""
        if row.user_id is not None:
            return "No: it has a user."
        since = row.quarantined_at or timezone.now()
        until = localtime(since + identity.QUARANTINE).strftime("%-d %B %Y")
        return (
            f"Since {localtime(since).strftime('%-d %B %Y')}: it has no user, is shown to nobody and cannot be changed."
            f" It is kept at least until {until}; no machine ever deletes it."
        )

    @admin.display(description="Name", ordering="user__full_name")
    def name(self, row: Profile) -> str:
        """Show whose profile it is."""
        return str(row.user) if row.user else str(row)
