"""`If-Match`: what a caller has seen of their profile, and what is answered where somebody changed it since."""

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.request import Request

from interventions.api.problems import MEDIA_TYPE, Problem
from interventions.api.serializers import ProblemSerializer
from therapists.versions import UNKNOWN, ChangedMeanwhile, Version

_LIST = re.compile(r'(?:W/)?"[!#-~]*"(?:[ \t]*,[ \t]*(?:W/)?"[!#-~]*")*')
PATTERN = rf"^(?:\*|{_LIST.pattern})$"
_ONE = re.compile(r'(?:W/)?"[!#-~]*"')
CHANGED = "changed_since"
ETAG = OpenApiParameter(
    "ETag", str, OpenApiParameter.HEADER, response=["200"], description="Names the profile as it is shown here."
)
IF_MATCH = OpenApiParameter(
    "If-Match", {"type": "string", "pattern": PATTERN}, OpenApiParameter.HEADER,
    description="The `ETag` of the profile that you changed. Where somebody has changed the same field since, 412 tells"
    " both values; what they changed beside yours stays. `*`: any.",
)  # fmt: skip
STALE: dict[Any, Any] = {
    (412, MEDIA_TYPE): OpenApiResponse(ProblemSerializer, "precondition_failed: changed since; `errors` tells both.")
}


def seen(request: Request) -> Version | None:
    """Read which version the caller has seen; None: they do not say. Raises Problem (400) for what is no entity tag."""
    given = request.headers.get("If-Match", "*").strip(" \t")
    if given == "*":
        return None
    if not _LIST.fullmatch(given):
        raise Problem(400, "bad_if_match", "If-Match must be the ETag of an answer, with its quotes, or *.")
    known = [version for tag in _ONE.findall(given) if (version := Version.of_tag(tag))]
    return max(known, key=lambda version: version.revision, default=UNKNOWN)


def stale(error: ChangedMeanwhile) -> Problem:
    """Give the refusal with both values of each field."""
    faults = [
        {"code": CHANGED, "detail": str(error), "pointer": f"#/{fact}", "field": fact, "sent": sent, "stored": stored}
        for fact, (sent, stored) in sorted(error.both.items())
    ]
    return Problem(
        412, "precondition_failed", "This was changed since you read it. Nothing was saved; `errors` tells both values.",
        faults=faults,
    )  # fmt: skip
