"""Errors outside of the framework's views: problems under /api/, Django's pages elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from interventions.api.problems import plain_problem

PREFIX = "/api/"


def no_such_address(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer any address under /api/ that leads nowhere, also where DEBUG would list all of them."""
    return plain_problem(request, status=404, code="not_found", detail="There is no such address.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what was refused before it reached a view."""
    if request.path.startswith(PREFIX):
        return plain_problem(request, status=400, code="bad_request", detail="The request is malformed.")
    return defaults.bad_request(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere."""
    if request.path.startswith(PREFIX):
        return no_such_address(request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that no view caught."""
    if request.path.startswith(PREFIX):
        return plain_problem(request, status=500, code="internal", detail="Something went wrong on our side.")
    return defaults.server_error(request)
