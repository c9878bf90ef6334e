"""Time zones by the names that people know: "Europe/Paris"."""

from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones


@cache
def names() -> tuple[str, ...]:
    """List the zones that have a place: continents and cities, and UTC; what is old or technical is left out."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith(_TECHNICAL)))


def named(name: str) -> ZoneInfo | None:
    """Give the zone of this name; None for no name, and for one that this machine does not know."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


_TECHNICAL = ("Etc/", "SystemV/", "US/", "posix/", "right/")
