"""Idempotency keys over HTTP: which header, which request, and what a duplicate is answered."""

import hashlib
import json
import re
import uuid
from enum import StrEnum
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from drf_spectacular.utils import OpenApiParameter
from prometheus_client import Counter
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import idempotency
from interventions.api.problems import Problem
from interventions.idempotency import Answer, Asked, Kept

NAMES = ("Idempotency-Key", "X-Idempotency-Key")
REPLAYED = "Idempotent-Replayed"
RETRY_SECONDS = 1
LONGEST = 200
KEYED = Counter(
    "keepwell_keyed_answers", "Answers to requests with an idempotency key, by what became of them.", ["outcome"]
)
# Whose the page is that sends this, and that it waited in a browser before it was sent.
FOR_PERSON, FROM_QUEUE = "X-Person", "X-Queued"
# What a stored answer keeps of its headers; the others belong to the connection or are the same for all.
KEPT_HEADERS = ("Content-Type", "ETag", "Location")
# Visible ASCII as it is; or the quoted string of a structured field, in which quotes and backslashes are escaped.
_PLAIN = re.compile(r"[!#-+\--:<-\[\]-~]+")
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
PATTERN = r"""^(?:[!#-+\--:<-\[\]-~]{1,200}|"(?:[!#-\[\]-~]|\\["\\]){1,200}")$"""
SUCCESSES = ["200", "201", "202", "204"]


class Key(StrEnum):
    """What a key means to the unsafe methods of a view."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    # Sending it twice changes nothing further, or there is no caller yet whose key it could be.
    IGNORED = "ignored"


def asked(request: Request, *, is_required: bool) -> Asked | None:
    """
    Read whose key comes with which request; None: without one.

    Raises Problem (400) for a key that is none, and for none where one is required; and what parsing the body raises.
    """
    key = _key_of(request)
    if key is None and is_required:
        raise Problem(
            400, "key_required", f"This needs the header {NAMES[0]}: make a key for each thing that you want done once."
        )
    if key is None or request.user.pk is None:
        return None
    match = request.resolver_match
    route = str(match.route) if match else request.path
    return Asked(int(request.user.pk), key, str(request.method), f"/{route}", _digest(request))


def refuse_misdirected(request: Request, *, is_strict: bool) -> None:
    """
    Refuse what a page sends for somebody else than who is signed in by now, and what waited though it must be exact.

    Another tab of the same browser may have signed somebody else in, whose cookie the page's request then carries.
    Raises Problem (409).
    """
    meant_for = request.headers.get(FOR_PERSON)
    if meant_for is not None and meant_for != str(request.user.pk or ""):
        raise Problem(409, "other_person", "Somebody else is signed in by now. Nothing was changed.")
    if is_strict and FROM_QUEUE in request.headers:
        raise Problem(
            409, "strict_not_queued", "This must be exact, so it is never kept for later. Nothing was changed."
        )


def awaited(asked: Asked, found: Kept | None) -> Kept:
    """
    Give what is kept of the same request, with its answer if one comes in time.

    Raises Problem: 422 where the key was another request's, 409 where it is still under way.
    """
    if found is not None and found.digest != asked.digest:
        KEYED.labels("reused").inc()
        raise Problem(
            422,
            "key_reused",
            "This key was sent with another request. Nothing was changed; make a new key for this one.",
        )
    try:
        return idempotency.awaited(asked, found)
    except idempotency.InFlight as error:
        raise in_flight() from error


def in_flight() -> Problem:
    """Give the refusal of a duplicate that waited long enough."""
    KEYED.labels("in_flight").inc()
    return Problem(
        409, "in_flight", "A request with this key is under way. Ask again in a moment.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )  # fmt: skip


def replayed(answer: Answer) -> HttpResponse:
    """Give a stored answer again."""
    KEYED.labels("replayed").inc()
    return HttpResponse(
        answer.body.encode(), status=answer.status, headers={**answer.headers, REPLAYED: "true"}
    )  # fmt: skip


def stored(response: Response, row: uuid.UUID) -> Response:
    """Render an answer and keep it before it is sent; where another was kept first, that one is sent."""
    KEYED.labels("first").inc()
    response.render()
    headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    mine = Answer(response.status_code, headers, response.content.decode())
    if (kept := idempotency.store(row, mine)) is not mine:
        response.status_code, response.content = kept.status, kept.body.encode()
        for name, value in kept.headers.items():
            response[name] = value
    return response


def is_stored(response: HttpResponseBase) -> bool:
    """Tell whether an answer is of the kind that is kept: a write's success, composed by its view."""
    return isinstance(response, Response) and response.status_code < 400


def documented(key: Key) -> list[OpenApiParameter]:
    """Give what the schema says of the headers of an unsafe method."""
    if key is Key.IGNORED:
        return []
    told = "Made once for each thing that is to be done once, such as a UUID; quoted or not, as X-Idempotency-Key too."
    return [
        OpenApiParameter(
            NAMES[0], {"type": "string", "pattern": PATTERN}, OpenApiParameter.HEADER, description=told,
            required=key is Key.REQUIRED,
        ),
        OpenApiParameter(
            REPLAYED, {"type": "string", "enum": ["true"]}, OpenApiParameter.HEADER, response=SUCCESSES,
            description="This is the answer that the first request with this key got.",
        ),
    ]  # fmt: skip


def _key_of(request: Request) -> str | None:
    given = {_unquoted(request.headers[name]) for name in NAMES if name in request.headers}
    if len(given) > 1:
        raise Problem(400, "key_malformed", f"{NAMES[0]} and {NAMES[1]} name different keys: send one.")
    return given.pop() if given else None


def _unquoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        key = text
    elif quoted := _QUOTED.fullmatch(text):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = ""
    if not 0 < len(key) <= LONGEST:
        raise Problem(
            400, "key_malformed", f"An idempotency key is 1 to {LONGEST} visible ASCII characters without spaces, in quotes or not."
        )  # fmt: skip
    return key


def _digest(request: Request) -> str:
    """Tell one request of a key from another: the address, and what the body says however it is spelled."""
    found, data = hashlib.sha256(request.get_full_path().encode()), request.data
    if not isinstance(data, MultiValueDict):
        try:
            found.update(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        return found.hexdigest()
    fields = cast("MultiValueDict[str, Any]", data)
    for name in sorted(fields):
        for value in fields.getlist(name):
            found.update(json.dumps([name, _content(value)]).encode())
    return found.hexdigest()


def _content(value: object) -> object:
    if not isinstance(value, UploadedFile):
        return value
    inner = hashlib.sha256()
    for chunk in value.chunks():
        inner.update(chunk)
    value.seek(0)
    return [value.content_type, inner.hexdigest()]
