"""What every admin of a person's row shares: copies in sight, narrow saves, messages that are true."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.db import IntegrityError, OperationalError, ProgrammingError, connection, models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from interventions.admin import adoption
from interventions.admin.changelist import BoundedList, BoundedPaginator, DeclaredFilters
from interventions.admin.reading import read
from interventions.admin.sentences import BUSY
from interventions.api.envelope import sentence
from sync import changes
from sync.admin.switching import PAUSE_PERSON
from sync.api.standing import standing_after_write
from sync.mirrors import Place, SharedMirror
from therapists.admin import copies, history
from therapists.mirrors import DECLARATION
from therapists.models import Enrollment, Profile, User

LOCK_MS, STATEMENT_MS = 2_000, 5_000
NOT_LINKED = "Nobody signs in with this address yet, so there are no copies."
REFUSED = "The database refused this: another row has such a value already. Nothing was changed."
SAVING = "_keepwell_saved"


class PeopleList(BoundedList):
    """A page of rows that know how their copies stand."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page within bounds, then every row's standing in one reading."""
        with bounded():
            super().get_results(request)
            rows = list(self.result_list)
        ids = {row: person_of(row) for row in rows}
        found = copies.summaries({person for person in ids.values() if person is not None})
        for row, person in ids.items():
            row.copies_summary = copies.NOBODY if person is None else found[person]
        self.result_list = rows


class PersonAdmin(DeclaredFilters, ModelAdmin):
    """Base of the three."""

    list_per_page = 25
    list_max_show_all = 25
    show_full_result_count = False
    paginator: Any = BoundedPaginator
    ordering: ClassVar[Any] = ("-id",)
    actions: Any = None
    list_filter_sheet = False
    warn_unsaved_form = False
    change_form_outer_before_template = "admin/therapists/copies.html"

    class Media:
        css = {"all": ["interventions/desk.css", "therapists/people.css"]}
        js = (forms.Script("interventions/fresh.js", defer=True),)

    @display(description="Copies")
    def copies_word(self, row: Any) -> str:
        """Show how the row's copies stand."""
        return format_html('<span class="kw-state {}">{}</span>', row.copies_summary.look, row.copies_summary.word)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Use the list that looks the copies up for a page at once."""
        return PeopleList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Add what other places own: a write there would be undone."""
        return [*super().get_readonly_fields(request, obj), *owners(self.model)]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Say beside each copy who owns it; an applicant's own name is no copy yet."""
        read_only = self.get_readonly_fields(request, obj)
        hints = {name: hint for name, hint in owners(self.model).items() if name in read_only}
        kwargs["help_texts"] = hints | kwargs.get("help_texts", {})
        return super().get_form(request, obj, change=change, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """
        Let the form remember what it showed.

        A field counts as changed when the person changed it, not when somebody else did since the page was opened.
        """
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, forms.Field) and not isinstance(field, forms.ModelMultipleChoiceField):
            field.show_hidden_initial = True
            if db_field.null and isinstance(field, forms.CharField):
                field.empty_value = None
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the changed columns only: a full row would carry old values of the others."""
        if not change:
            obj.save()
        elif columns := own_columns(obj, form.changed_data):
            obj.save(update_fields=[*columns, *automatic_columns(obj)])
        setattr(request, SAVING, obj)

    def message_user(
        self, request: HttpRequest, message: Any, level: Any = messages.INFO, *args: Any, **kw: Any
    ) -> None:
        """Leave out Django's word of success for a save: `changeform_view` says more, once it is committed."""
        if getattr(request, SAVING, None) is None:
            super().message_user(request, message, level, *args, **kw)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Fetch the row within bounds; in a save they hold until its end."""
        with bounded():
            return super().get_object(request, object_id, from_field)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list, or say that its table cannot be read."""
        try:
            response: HttpResponse = super().changelist_view(request, extra_context)
        except (OperationalError, ProgrammingError):
            return self.unreadable(request)
        return response

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Save, and tell after the commit how the copies stand; show them beside the form."""
        try:
            shown = (extra_context or {}) | self.about_copies(request, object_id)
            response: HttpResponse = super().changeform_view(request, object_id, form_url, shown)
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            setattr(request, SAVING, None)
            if request.method != "POST":
                return self.unreadable(request)
            messages.error(request, REFUSED if isinstance(error, IntegrityError) else BUSY)
            return HttpResponseRedirect(request.get_full_path())
        saved, committed = getattr(request, SAVING, None), response.status_code == 302
        setattr(request, SAVING, None)
        if saved is not None and committed:
            messages.success(request, f"Saved. {told(person_of(saved))}")
        return response

    def unreadable(self, request: HttpRequest) -> HttpResponse:
        """Say that the table cannot be read, instead of waiting for whoever holds it."""
        context = self.admin_site.each_context(request) | {
            "title": "Cannot be read right now",
            "table": self.opts.db_table,
        }
        return TemplateResponse(request, "admin/therapists/unreadable.html", context, status=503)

    def about_copies(self, request: HttpRequest, object_id: Any) -> dict[str, Any]:
        """Give the template what it shows of the person's copies."""
        if request.method == "POST" or object_id is None:
            return {}
        row = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            return {}
        person = person_of(row)
        entities = [(person, target) for target in DECLARATION.targets] if person is not None else []
        shown = read(lambda: adoption.shown(request, entities))
        replaced = shown.value if shown.value is not None else {"replaced_is_unknown": True}
        inbox = reverse("admin:interventions_intervention_changelist") if may_see_items(request) else ""
        return {
            "shows_copies": True,
            "person_id": person,
            "copy_lines": copies.lines(person) if person is not None else [],
            "interventions_link": f"{inbox}?tab=all&person_id__exact={person}" if inbox and person is not None else "",
            "pause": copies.pause_of(person) if person is not None else None,
            "may_pause": person is not None and request.user.has_perm(PAUSE_PERSON),
            "switch_back": request.path,
            "changes": read(lambda: history.lines(person)) if person is not None else None,
            **replaced,
        }

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody but superusers delete a person's row."""
        return bool(getattr(request.user, "is_superuser", False))


@contextmanager
def bounded() -> Iterator[None]:
    """Bound what a page waits for: a table that somebody has locked must not hold the web's threads."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {STATEMENT_MS}{changes.signature()}"
        )
        yield


def person_of(row: Any) -> int | None:
    """Give the person whose row this is."""
    person: int | None = row.pk if isinstance(row, User) else row.user_id
    return person


def told(person_id: int | None) -> str:
    """Say how a person's copies stand now, in the words of the API."""
    return NOT_LINKED if person_id is None else sentence(standing_after_write(person_id))


def may_see_items(request: HttpRequest) -> bool:
    """Whether the caller may look into the inbox."""
    return bool(request.user.has_perm("interventions.view_intervention"))


def owners(model: type[models.Model]) -> dict[str, str]:
    """Give a hint for every column of the model that is a copy, from the declaration."""
    table = model._meta.db_table
    hints: dict[str, str] = {}
    for mirror in DECLARATION.mirrors:
        if isinstance(mirror, SharedMirror):
            hints |= {
                p.column: "The newest upload counts, wherever it was made." for p in mirror.places if p.table == table
            }
        else:
            owner = f"A copy. Change it at its source: {copies.PLACES[mirror.source.table]}, {_label(mirror.source)}."
            hints |= {copy.place.column: owner for copy in mirror.copies if copy.place.table == table}
    return hints


def _label(place: Place) -> str:
    row = {model._meta.db_table: model for model in (User, Enrollment, Profile)}[place.table]
    return next(str(field.verbose_name) for field in row._meta.concrete_fields if field.name == place.column)


def own_columns(obj: models.Model, changed: list[str]) -> list[str]:
    """Narrow changed form fields to columns of the row's own table."""
    own = {field.name for field in obj._meta.concrete_fields}
    return [name for name in changed if name in own]


def automatic_columns(obj: models.Model) -> list[str]:
    """Give the columns that every save stamps."""
    return [field.name for field in obj._meta.concrete_fields if getattr(field, "auto_now", False)]
