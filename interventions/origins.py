"""Where a request comes from."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest


def origin_of(request: HttpRequest) -> str | None:
    """
    Give the IP address a request comes from, as the outermost of our own proxies saw it; None: it is none.

    Of IPv6 it is the network of 64 bits, which is what one customer gets: whoever has one has all addresses in it.
    """
    given = request.META.get("REMOTE_ADDR", "")
    passed = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    # What stands further to the left was written by somebody we do not know.
    if settings.PROXIES and len(passed) >= settings.PROXIES:
        given = passed[-settings.PROXIES].strip()
    try:
        found = ip_address(given)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False).network_address)
    return str(found)
