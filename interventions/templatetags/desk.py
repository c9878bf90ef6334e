"""How the desk writes times, and numbers that are counted up to a bound."""

import datetime as dt

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from interventions import moments

register = template.Library()


@register.filter
def ago(moment: dt.datetime | None) -> str:
    """Say how long ago something was, in one unit."""
    return "never" if moment is None else moments.ago(moment, timezone.now())


@register.filter
def lasting(since: dt.datetime, until: dt.datetime) -> str:
    """Say how long something has lasted at a moment, in one unit."""
    return moments.lasted(since, until)


@register.filter
def when(moment: dt.datetime | None) -> SafeString | str:
    """Say a moment to the minute, in the reader's zone and with its name; nothing where there is none."""
    return _told(moment, moments.TO_THE_MINUTE)


@register.filter
def exactly(moment: dt.datetime | None) -> SafeString | str:
    """Say a moment to the second."""
    return _told(moment, moments.TO_THE_SECOND)


@register.filter
def clock(moment: dt.datetime | None) -> SafeString | str:
    """Say a moment of today by the clock alone, any other to the second."""
    is_today = moment is not None and timezone.localtime(moment).date() == timezone.localdate()
    return _told(moment, moments.CLOCK if is_today else moments.TO_THE_SECOND)


@register.filter
def past(moment: dt.datetime | None) -> SafeString | str:
    """Say how long ago something was, and beneath it when exactly."""
    return "never" if moment is None else _element(moment, ago(moment))


@register.filter
def so_far(number: int, is_cut: bool) -> str:
    """Say a number; where counting stopped at a bound, as "10,000+"."""
    return f"{number:,}{'+' if is_cut else ''}"


def _told(moment: dt.datetime | None, form: str) -> SafeString | str:
    return "" if moment is None else _element(moment, moments.spelled(moment, form))


def _element(moment: dt.datetime, words: str) -> SafeString:
    exact = moments.spelled(moment, moments.TO_THE_SECOND)
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, words)
