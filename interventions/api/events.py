"""Where streams of events are served: by a process of their own, to which this address leads."""

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from interventions.api.base import ApiView
from interventions.api.problems import Problem

PERSON = re.compile(r"[0-9]{1,18}", re.ASCII)
LOOPBACK = {"127.0.0.1", "localhost"}
NAMED = [
    OpenApiParameter(
        "topics", str, description="Topics with commas between; without it all that the caller may hear of."
    ),
    OpenApiParameter(
        "person",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
        description="Only what is about this person; of others for staff.",
    ),
    OpenApiParameter("id", str, description="Only what is about this one."),
    OpenApiParameter("last_event_id", str, description="As the header `Last-Event-ID`: go on after this event."),
]


class EventsView(ApiView):
    """A stream of server-sent events: topics, ids and revisions of what was written."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Take whoever accepts a stream and nothing else: what is answered here has no body, or is a problem."""
        return super().perform_content_negotiation(request, force=True)

    @extend_schema(
        operation_id="events",
        parameters=NAMED,
        responses={
            (200, "text/event-stream"): OpenApiResponse(str, "The stream, where one proxy joins both addresses."),
            307: OpenApiResponse(None, "Where the stream is; docs/streams.md tells what is sent there."),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Lead to the streams process."""
        for name, values in request.query_params.lists():
            if len(values) > 1 or (name == "person" and not PERSON.fullmatch(values[0])):
                raise Problem(400, "invalid", f"{name}: give it once, and a person by their id.", field=name)
        if not settings.EVENTS_URL:
            raise Problem(
                503, "streams_elsewhere", "The proxy in front should lead this address to the streams process."
            )
        answer = HttpResponse(status=307)
        answer["Location"] = f"{address(request.get_host())}{request.get_full_path()}"
        return answer


def address(host: str) -> str:
    """Give where a browser that came to this host reaches the streams process: cookies are known by host, not by port."""
    url = urlsplit(settings.EVENTS_URL)
    name = host.rpartition(":")[0] or host
    if name in LOOPBACK and url.hostname in LOOPBACK:
        url = url._replace(netloc=f"{name}:{url.port}")
    return urlunsplit(url).rstrip("/")
