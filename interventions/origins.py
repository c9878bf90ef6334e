"""Where a request comes from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def origin_of(request: HttpRequest) -> str | None:
    """Give the IP address a request comes from, as the outermost of our own proxies saw it; None: it is none."""
    given = request.META.get("REMOTE_ADDR", "")
    passed = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    # What stands further to the left was written by somebody we do not know.
    if settings.PROXIES and len(passed) >= settings.PROXIES:
        given = passed[-settings.PROXIES].strip()
    try:
        return str(ip_address(given))
    except ValueError:
        return None
