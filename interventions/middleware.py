"""Every request has an id that its answer, its log lines and its history share; answers that are our error are counted."""

import datetime as dt
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import Counter as Counted
from prometheus_client import Histogram

from interventions import failures
from interventions.correlation import ID_IN_REQUEST, actor, is_harmless, request_id

logger = logging.getLogger(__name__)

# A probe that says "not ready" has told the truth.
PROBES = ("/health", "/metrics")
MOST_WAITING, LONGEST_NAME = 100, 120
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REQUESTS = Counted("keepwell_requests", "Answers by view, method and status.", ["view", "method", "status"])
TOOK = Histogram(
    "keepwell_request_seconds", "Time until the answer, by view and method.", ["view", "method"], buckets=SECONDS
)


class RequestId:
    """Take the caller's X-Request-ID where it is harmless, else make one; send it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its id."""
        given = request.headers.get("X-Request-ID", "")
        token = request_id.set(given if is_harmless(given) else uuid.uuid4().hex)
        request.META[ID_IN_REQUEST] = request_id.get()
        asker = actor.set(lambda: _signed_in(request))
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id.get()
            return response
        finally:
            actor.reset(asker)
            request_id.reset(token)


class MeasureRequests:
    """
    Count every answer and its time for `/metrics`, in this process.

    Labels come from our own addresses and a fixed list, whatever is sent: nobody can name a person there, or make more.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, and count it."""
        began = time.perf_counter()
        response = self.get_response(request)
        view = request.resolver_match.view_name if request.resolver_match else "elsewhere"
        method = request.method if request.method in METHODS else "other"
        TOOK.labels(view, method).observe(time.perf_counter() - began)
        REQUESTS.labels(view, method, response.status_code).inc()
        return response


class CountFailures:
    """
    Count by operation and hour the answers that were an error of ours; a success costs nothing.

    Counted after the request's transaction has ended either way, best effort: what PostgreSQL does not take now is
    written together with the next failure, and is lost with the process.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._waiting: Counter[tuple[str, dt.datetime]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request; note it when the answer is an error."""
        response = self.get_response(request)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and not request.path.startswith(PROBES):
            self._note(request)
        return response

    def _note(self, request: HttpRequest) -> None:
        route = request.resolver_match.route if request.resolver_match else "elsewhere"
        hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[f"{request.method} /{route}"[:LONGEST_NAME], hour] += 1
            taken, self._waiting = self._waiting, Counter()
        try:
            failures.count(taken)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("interventions.failure.not_counted", extra={"reason": type(error).__name__})
            with self._lock:
                self._waiting.update(taken)


def _signed_in(request: HttpRequest) -> str:
    """Name the signed-in person as history does; nobody: an empty word."""
    person = getattr(getattr(request, "user", None), "pk", None)
    return f"user:{person}" if person is not None else ""
