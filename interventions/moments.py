"""Moments in words: always in the zone of whoever reads, and always with the zone's name."""

import datetime as dt

from django.utils import timezone
from django.utils.timesince import timesince

TO_THE_MINUTE, TO_THE_SECOND, CLOCK = "%-d %b %Y, %H:%M", "%-d %b %Y, %H:%M:%S", "%H:%M:%S"


def spelled(at: dt.datetime, form: str = TO_THE_MINUTE) -> str:
    """Say a moment in the reader's zone: "22 Nov 2026, 13:05 CET"."""
    local = timezone.localtime(at)
    return f"{local.strftime(form)} {zone_of(local)}"


def lasted(since: dt.datetime, until: dt.datetime) -> str:
    """Say how long something lasted, in one unit; nothing is "0 minutes" long."""
    if (until - since).total_seconds() < 60:
        return "under a minute"
    return timesince(since, until, depth=1)


def ago(at: dt.datetime, now: dt.datetime) -> str:
    """Say how long ago something was, in one unit: "just now", "3 minutes ago"."""
    return "just now" if (now - at).total_seconds() < 60 else f"{timesince(at, now, depth=1)} ago"


def zone_of(local: dt.datetime) -> str:
    """Name the zone of a local time as people there do; a zone without a name of its own by its distance: "UTC+05"."""
    name = local.strftime("%Z")
    return f"UTC{name}" if name[:1] in {"+", "-"} else name
