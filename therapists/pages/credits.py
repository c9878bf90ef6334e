"""Somebody's credits: the balance, and every line of how it came to be."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse

from therapists import credits
from therapists.pages.frame import own, person_of, shown

A_PAGE = 25


@own("GET")
def page(request: HttpRequest) -> HttpResponse:
    """Show the balance and the lines, newest first."""
    person_id = person_of(request)
    lines = Paginator(credits.entries(person_id).order_by("-number"), A_PAGE).get_page(request.GET.get("page"))
    return shown(request, "credits", "credits", lines=lines, balance=credits.balance(person_id))
