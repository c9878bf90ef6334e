"""Errors outside of the framework's views: problems under /api/, Django's pages elsewhere."""

import logging
import sys
from collections.abc import Callable
from http import HTTPStatus

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.views import defaults

from interventions.api.problems import MEDIA_TYPE, RETRY_SECONDS, is_away, plain_problem

logger = logging.getLogger(__name__)

PREFIX = "/api/"
# A filter that is none, a text that PostgreSQL cannot hold, a form that no page of ours has.
UNREADABLE = (IncorrectLookupParameters, DataError, ValidationError)
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate", "Vary")


class ProblemsOnly:
    """
    Middleware: whatever still leaves /api/ as an error of another form becomes a problem; rubbish is nobody's 500.

    With DEBUG on, what a middleware raises (an unknown host, a session that vanished) never reaches a handler of ours.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer 400 where a view was asked for what can be neither looked for nor stored: that is no fault of ours."""
        if not isinstance(error, UNREADABLE):
            return None
        # Its kind alone: the message quotes what was sent.
        logger.warning("desk.request.unreadable", extra={"reason": type(error).__name__})
        return bad_request(request, error)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, as a problem where it is an error."""
        response = self.get_response(request)
        is_ours = response.headers.get("Content-Type", "").startswith(MEDIA_TYPE)
        if response.status_code < 400 or is_ours or not request.path.startswith(PREFIX):
            return response
        status = HTTPStatus(response.status_code)
        answer = plain_problem(
            request, status=status, code=status.name.lower(), detail=f"{status.description or status.phrase}."
        )
        for name in KEPT_HEADERS:
            if name in response.headers:
                answer[name] = response.headers[name]
        return answer


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
    """Answer an exception that no view caught: 503 where PostgreSQL is away, else 500."""
    # Called while the exception is being caught.
    if is_away(sys.exc_info()[1]):
        return _unavailable(request)
    if request.path.startswith(PREFIX):
        return plain_problem(request, status=500, code="internal", detail="Something went wrong on our side.")
    return defaults.server_error(request)


def _unavailable(request: HttpRequest) -> HttpResponse:
    logger.warning("desk.database.unavailable")
    if request.path.startswith(PREFIX):
        said = "This cannot be saved or read right now. Try again shortly."
        answer: HttpResponse = plain_problem(request, status=503, code="unavailable", detail=said)
    else:
        answer = HttpResponse(loader.render_to_string("503.html"), status=503)
    answer["Retry-After"] = str(RETRY_SECONDS)
    return answer
