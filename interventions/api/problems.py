"""Every error of the API as application/problem+json (RFC 9457): what happened and what to do, never how it broke."""

import errno
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import (
    ValidationError as ModelRefusal,
)
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from interventions.correlation import request_id
from interventions.sqlstates import CONNECTION_LOST, code_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# The database does not answer, has no connection left, or somebody holds the row: again later.
BUSY_STATES = ("08", "53", "55P03", "57", "40001", "40P01", "25P03", "25P04")
# The disk takes nothing: it is full, over its quota, read-only or broken.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
RETRY_SECONDS = 5
ANY_FIELD = "non_field_errors"
INVALID = "invalid"
# One part of a refusal, as `errors` has it.
Fault = Mapping[str, Any]


class Problem(exceptions.APIException):
    """A refusal with a status, a code that programs read, and a sentence that people read."""

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None,
        headers: Mapping[str, str] | None = None, faults: Sequence[Fault] = (),
    ) -> None:  # fmt: skip
        super().__init__(detail, code)
        self.status_code = status
        self.code, self.sentence, self.field, self.headers = code, detail, field, dict(headers or {})
        self.faults = faults


def problem_response(error: Exception, context: dict[str, Any]) -> Response:
    """Answer any exception of a view; nothing is left to a page with a stack trace."""
    set_rollback()
    request, translate = context["request"], getattr(context.get("view"), "translated", None)
    if translate is not None:
        error = translate(error)
    found = _as_problem(error, request)
    faults = list(_errors(error, found))
    detail = found.sentence
    if len(faults) == 1 and found.code == INVALID:
        detail = " ".join(filter(None, [faults[0].get("field", "") and f"{faults[0]['field']}:", faults[0]["detail"]]))
    body = problem(status=found.status_code, code=found.code, detail=detail, path=request.path, errors=faults)
    response = Response(body, found.status_code, headers=found.headers)
    response.content_type = MEDIA_TYPE
    return response


def problem(*, status: int, code: str, detail: str, path: str, errors: Sequence[Fault] = ()) -> dict[str, Any]:
    """Give the body of one problem."""
    return {
        "type": f"urn:keepwell:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "errors": list(errors),
        "request_id": request_id.get(),
    }


def plain_problem(request: HttpRequest, *, status: int, code: str, detail: str) -> JsonResponse:
    """Answer a problem outside of the framework's views."""
    body = problem(status=status, code=code, detail=detail, path=request.path)
    return JsonResponse(body, status=status, content_type=MEDIA_TYPE)


def _as_problem(error: Exception, request: Any) -> Problem:
    match error:
        case Problem():
            return error
        case Http404():
            return Problem(404, "not_found", "There is nothing here, or it is not yours to see.")
        case PermissionDenied():
            return Problem(403, "permission_denied", "You may not do this.")
        case exceptions.NotAuthenticated() if settings.SESSION_COOKIE_NAME in request.COOKIES:
            return _api_problem(error, "session_expired", "Your session has ended. Sign in again.")
        case exceptions.ValidationError() | ModelRefusal():
            return Problem(400, INVALID, "Something in the request cannot be accepted; `errors` says what.")
        case exceptions.APIException():
            return _api_problem(error)
        case RequestDataTooBig():
            return Problem(413, "too_large", "The request is too large.")
        case SuspiciousOperation():
            return Problem(400, "bad_request", "The request is malformed.")
        case DatabaseError() | InterfaceError():
            return _database_problem(error)
        case OSError() if error.errno in NO_ROOM:
            logger.error("api.disk.unavailable", extra={"errno": error.errno})
            return _unavailable()
    return _unexpected(error)


def _api_problem(error: exceptions.APIException, code: str = "", detail: str = "") -> Problem:
    codes = error.get_codes()
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    found = codes if isinstance(codes, str) else error.default_code
    return Problem(error.status_code, code or found, detail or str(error.detail), headers=headers)


def is_away(error: BaseException | None) -> bool:
    """Tell whether PostgreSQL could not be reached, had no room, or was in somebody's hands: again later."""
    state = code_of(error)
    # No SQLSTATE: the connection could not be made at all, or broke.
    return state.startswith(BUSY_STATES) if state else isinstance(error, OperationalError | InterfaceError)


def _database_problem(error: Exception) -> Problem:
    state = code_of(error)
    if is_away(error):
        logger.warning("api.database.unavailable", extra={"code": state or CONNECTION_LOST})
        # A connection that broke at the commit leaves open whether it happened: only a lock or a deadlock is sure.
        sure = " Nothing was changed." if state in {"55P03", "57014", "40001", "40P01"} else ""
        return _unavailable(sure)
    if isinstance(error, IntegrityError):
        return Problem(409, "conflict", "This contradicts what is stored already. Nothing was changed.")
    if isinstance(error, DataError):
        return Problem(400, "invalid", "A value cannot be stored as it is. Nothing was changed.")
    return _unexpected(error)


def _unavailable(sure: str = "") -> Problem:
    return Problem(
        503, "unavailable", f"This cannot be saved or read right now.{sure} Try again shortly.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )  # fmt: skip


def _unexpected(error: Exception) -> Problem:
    # Where, but not what: a message may quote a person's data.
    places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
    logger.error("api.failed", extra={"reason": type(error).__name__, "places": places})
    return Problem(
        500,
        "internal",
        "Something went wrong on our side. It has been noted; look whether your change is there before you repeat it.",
    )


def _errors(error: Exception, found: Problem) -> Iterator[Fault]:
    """Give the parts of a refusal, each with a JSON pointer to what it is about."""
    if isinstance(error, exceptions.ValidationError):
        yield from _walk(error.detail, ())
    elif isinstance(error, ModelRefusal):
        yield from ({"code": e.code or "invalid", "detail": str(e.messages[0])} for e in error.error_list)
    elif found.faults:
        yield from found.faults
    elif found.field:
        yield _line((found.field,), found.code, found.sentence)


def _walk(detail: Any, path: tuple[str, ...]) -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _walk(inner, path if name == ANY_FIELD else (*path, str(name)))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _walk(inner, path)
    else:
        yield _line(path, getattr(detail, "code", None) or "invalid", str(detail))


def _line(path: tuple[str, ...], code: str, detail: str) -> dict[str, str]:
    steps = [step.replace("~", "~0").replace("/", "~1") for step in path]
    line = {"code": code, "detail": detail, "pointer": "#" + "".join(f"/{step}" for step in steps)}
    return line | {"field": ".".join(path)} if path else line
