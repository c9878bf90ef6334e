"""Staff read times in their own zone."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from therapists import zones

DESK = "/admin/"


class ReadersZone:
    """Answer the desk's requests in the zone of whoever is signed in; elsewhere, and without a choice, in the site's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request in that zone; pages are rendered before this ends."""
        zone = zones.named(getattr(request.user, "time_zone", "")) if request.path.startswith(DESK) else None
        with timezone.override(zone):
            return self.get_response(request)
