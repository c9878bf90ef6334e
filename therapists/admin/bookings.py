"""Bookings and lines of credits, for reading: both change by what clients and therapists do, and leads grant over the API."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from interventions import moments
from interventions.admin import sentences
from interventions.admin.changelist import BoundedList, BoundedPaginator, DeclaredFilters
from interventions.admin.records import OnRecord
from interventions.search import id_in
from therapists.models import Booking, BookingState, CreditEntry


class NamedLines(BoundedList):
    """A page of rows that know the names of everybody in them."""

    def get_results(self, request: HttpRequest) -> None:
        """Fetch the page, then the names in one query."""
        super().get_results(request)
        rows = list(self.result_list)
        names = sentences.who({actor for row in rows for actor in people_of(row)})
        for row in rows:
            row.names = names
        self.result_list = rows


def people_of(row: Any) -> tuple[str, ...]:
    """Give whom a row names, as history does."""
    if isinstance(row, Booking):
        return f"user:{row.client_id}", f"user:{row.therapist_id}"
    return f"user:{row.person_id}", row.by


class OfPeople(OnRecord, DeclaredFilters, ModelAdmin):
    """Rows that name people by their ids; found by an id, of the row or of somebody in it."""

    list_display_links = None
    list_per_page = 25
    list_max_show_all = 25
    list_filter_sheet = False
    show_full_result_count = False
    paginator = BoundedPaginator
    ordering: ClassVar[Any] = ("-id",)
    actions: Any = None
    search_fields = ("id",)
    owners: ClassVar[tuple[str, ...]] = ()

    class Media:
        css = {"all": ["interventions/desk.css", "therapists/people.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NamedLines]:
        """Use the list that looks names up a page at a time."""
        return NamedLines

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> Any:
        """Find by id; other words are nobody's."""
        if not words:
            return queryset, False
        number = id_in(words.strip())
        if number is None:
            return queryset.none(), False
        wanted = Q(pk=number)
        for name in self.owners:
            wanted |= Q(**{name: number})
        return queryset.filter(wanted), False


@admin.register(Booking)
class Bookings(OfPeople):
    """Who booked whom, and how far it came."""

    list_display = ("number", "client", "therapist", "begins", "lasts", "standing", "asked_for")
    list_filter = ("state",)
    owners = ("client_id", "therapist_id")
    search_help_text = "Id of a booking, of a client or of a therapist"

    @display(description="Booking")
    def number(self, row: Booking) -> str:
        """Its id."""
        return str(row.pk)

    @display(description="Client")
    def client(self, row: Any) -> str:
        """Who asked."""
        return str(row.names[f"user:{row.client_id}"])

    @display(description="Therapist")
    def therapist(self, row: Any) -> str:
        """Whose time it is."""
        return str(row.names[f"user:{row.therapist_id}"])

    @display(description="Begins")
    def begins(self, row: Booking) -> str:
        """The moment, by the reader's clock."""
        return moments.spelled(row.during.lower)

    @display(description="Minutes")
    def lasts(self, row: Booking) -> int:
        """How long it takes."""
        return int((row.during.upper - row.during.lower).total_seconds()) // 60

    @display(description="State")
    def standing(self, row: Booking) -> str:
        """How far it came."""
        return BookingState(row.state).label

    @display(description="Asked for")
    def asked_for(self, row: Booking) -> str:
        """When it was asked for."""
        return moments.spelled(row.requested_at)


@admin.register(CreditEntry)
class CreditEntries(OfPeople):
    """What came to clients and what went, line by line."""

    list_display = ("whose", "line", "change", "left", "why", "about", "by_whom", "when")
    list_filter = ("kind",)
    owners = ("person_id", "booking_id")
    search_help_text = "Id of a client or of a booking"

    @display(description="Client")
    def whose(self, row: Any) -> str:
        """Whose credits."""
        return str(row.names[f"user:{row.person_id}"])

    @display(description="Line")
    def line(self, row: CreditEntry) -> int:
        """Its number among theirs."""
        return row.number

    @display(description="Change")
    def change(self, row: CreditEntry) -> str:
        """What came or went."""
        return f"{row.amount:+}"

    @display(description="Balance")
    def left(self, row: CreditEntry) -> int:
        """What they have after it."""
        return row.balance

    @display(description="Why")
    def why(self, row: CreditEntry) -> str:
        """What it came from."""
        return str(row.get_kind_display())

    @display(description="Booking")
    def about(self, row: CreditEntry) -> str:
        """Which booking it is for."""
        return str(row.booking_id or "-")

    @display(description="By")
    def by_whom(self, row: Any) -> str:
        """Who did it."""
        return str(row.names[row.by])

    @display(description="When")
    def when(self, row: CreditEntry) -> str:
        """The moment."""
        return moments.spelled(row.at)
