"""Users for staff: people sign in with an address, and their password is nobody's to see."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet, TextField, Value
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from unfold.forms import AdminPasswordChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from interventions.search import id_in
from sync.identity import find_by_earlier_address
from therapists.admin import erase, factor
from therapists.admin.base import PersonAdmin
from therapists.models import User, normal_form

TAKEN = "Somebody signs in with this address already, perhaps in another spelling."
# What makes somebody powerful is for superusers to give.
POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")

MOST_FOUND = 200


class FreeAddress:
    """Makes a form refuse an address that is taken in any spelling."""

    cleaned_data: dict[str, Any]
    instance: User

    def clean_email(self) -> str:
        """Look the address up by its normal form, as the database's constraint will."""
        email: str = self.cleaned_data["email"].strip()
        same = User.objects.filter(email_norm=normal_form(Value(email, TextField())))
        if same.exclude(pk=self.instance.pk).exists():
            raise ValidationError(TAKEN, code="taken")
        return email


class NewUserForm(FreeAddress, UserCreationForm):
    """A user who signs in with an address and a password."""

    class Meta:
        model = User
        fields = ("email", "full_name", "user_type")


class UserForm(FreeAddress, forms.ModelForm):  # type: ignore[type-arg]  # the stubs alone make it generic
    """Everything but the password, which has a page of its own."""

    class Meta:
        model = User
        fields = ("email", "full_name", "user_type", "is_active", *POWERS)


@admin.register(User)
class Users(PersonAdmin, UserAdmin):  # type: ignore[type-arg]  # the stubs alone make it generic
    """People who sign in."""

    form, add_form, change_password_form = UserForm, NewUserForm, AdminPasswordChangeForm
    list_display = ("full_name", "email", "user_type", "is_active", "copies_word")
    list_filter = ("user_type", "is_active", "is_verified", "is_staff")
    search_fields = ("full_name", "email")
    ordering: ClassVar[Any] = ("-id",)
    readonly_fields = ("password_note", "created_at", "last_login")
    filter_horizontal = ("groups", "user_permissions")
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("email", "full_name", "user_type", "avatar_url", "is_verified")}),
        ("Sign-in", {"fields": ("password_note", "is_active", "created_at", "last_login")}),
        ("What they may do", {"fields": POWERS, "classes": ["collapse"]}),
    )
    add_fieldsets: Any = (
        (None, {"fields": ("email", "full_name", "user_type", "usable_password", "password1", "password2")}),
    )

    change_form_outer_after_template = "admin/therapists/user_links.html"

    def get_urls(self) -> list[Any]:
        """Add the address where a person is erased; whatever is sent to any of them takes a fresh second factor."""
        view = self.admin_site.admin_view(erase.page)
        found = [path("<int:pk>/erase/", view, name="therapists_user_erase"), *super().get_urls()]
        for one in found:
            one.callback = factor.asked_for(one.callback)
        return found

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Offer to change the password, and to erase the person, to those who may."""
        is_one = object_id.isdecimal()
        shown = {
            "password_link": reverse("admin:auth_user_password_change", args=[object_id])
            if is_one and self.has_change_permission(request)
            else "",
            "erase_link": reverse("admin:therapists_user_erase", args=[object_id])
            if is_one and request.user.is_superuser
            else "",
        }
        response: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return response

    @admin.display(description="Password")
    def password_note(self, row: User) -> str:
        """Tell whether there is a password; nothing of the password itself."""
        return "Set." if row.has_usable_password() else "None: cannot sign in."

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep powers out of the hands of those who are not superusers."""
        fields = super().get_readonly_fields(request, obj)
        return fields if getattr(request.user, "is_superuser", False) else [*fields, *POWERS]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Give names and addresses one line."""
        widgets = {"email": UnfoldAdminEmailInputWidget, "full_name": UnfoldAdminTextInputWidget}
        if db_field.name in widgets:
            kwargs["widget"] = widgets[db_field.name]
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[User], words: str) -> Any:
        """Find by name, address, an earlier address or id."""
        found, is_doubled = super().get_search_results(request, queryset, words)
        earlier = find_by_earlier_address(words, limit=MOST_FOUND) if words else []
        if earlier:
            found = found | queryset.filter(pk__in=earlier)
        number = id_in(words)
        return (found if number is None else found | queryset.filter(pk=number)), is_doubled
