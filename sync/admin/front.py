"""The front page: is anything wrong, how wrong, and where to begin."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.timesince import timesince

from interventions import queries as items
from interventions.admin import reasons
from sync import queries, triggers
from sync.admin import bars, readings, switching
from sync.admin.readings import Hour, Reading, TargetLine, read
from sync.admin.words import BAD, GOOD, LATE, PLAIN, operation_switch, target_switch
from sync.triggers import Status

CAUSES_SHOWN = 8
# The desk's targets: fewer items than this wait for a person, and nothing is owed for longer.
FEWER_ITEMS, OLDEST = 5, dt.timedelta(days=1)
UNREAD = "cannot be read"


@dataclass(frozen=True)
class Card:
    """One number with its target. `verdict` says in a word what the colour says."""

    title: str
    number: str
    note: str
    verdict: str
    look: str
    link: str = ""


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the admin's index what staff see first; numbers are for those who may look at interventions."""
    if not request.user.has_perm("interventions.view_intervention"):
        return context | {"may_see_numbers": False}
    now = timezone.now()
    targets = read(lambda: readings.targets(now))
    operations = read(readings.operations)
    hours = read(lambda: readings.hours(now))
    causes = read(lambda: items.causes(CAUSES_SHOWN))
    return context | {
        "may_see_numbers": True,
        "title": "Front page",
        "read_at": now,
        "cards": [
            needing_card(read(lambda: items.bounded_count(items.needing_a_person()))),
            oldest_card(read(queries.oldest_owed), now),
            retrying_card(targets),
            net_card(read(triggers.status)),
        ],
        "targets": targets,
        "switches": [*map(target_switch, targets.value or []), *map(operation_switch, operations.value or [])],
        "switches_are_known": targets.is_known and operations.is_known,
        "may_switch": request.user.has_perm(switching.SWITCH_TARGET),
        "causes": [cause_line(cause) for cause in causes.value or []],
        "causes_are_known": causes.is_known,
        "charts": charts(hours.value) if hours.value is not None else [],
    }


def needing_card(count: Reading[int]) -> Card:
    """Tell how many items wait for a person."""
    title, note, link = "Needs a person", f"target: fewer than {FEWER_ITEMS}", _inbox()
    if count.value is None:
        return _unread(title, note, link)
    number = str(count.value) if count.value <= items.MOST_COUNTED else f"more than {items.MOST_COUNTED}"
    is_good = count.value < FEWER_ITEMS
    return Card(title, number, note, "on target" if is_good else "too many", GOOD if is_good else BAD, link)


def oldest_card(oldest: Reading[dt.datetime | None], now: dt.datetime) -> Card:
    """Tell for how long something has been owed without a break."""
    title, note = "Oldest owed", f"target: under {timesince(now - OLDEST, now)}"
    if not oldest.is_known:
        return _unread(title, note)
    if oldest.value is None:
        return Card(title, "nothing owed", note, "on target", GOOD)
    is_good = now - oldest.value < OLDEST
    return Card(title, age(oldest.value, now), note, "on target" if is_good else "too old", GOOD if is_good else BAD)


def retrying_card(targets: Reading[list[TargetLine]]) -> Card:
    """Tell how much is behind and follows without anybody."""
    title, note = "Retrying by itself", "no action needed"
    if targets.value is None:
        return _unread(title, note)
    return Card(title, f"{sum(line.retrying for line in targets.value):,}", note, "follows", PLAIN)


def net_card(net: Reading[Status]) -> Card:
    """Tell whether the database sees every write and makes copies at once."""
    title = "Safety net"
    if net.value is None:
        return _unread(title, "debt and copying")
    status = net.value
    gap = "no gap" if status.is_verified else "a gap: an audit is due"
    note = f"debt {status.debt}, copying {status.copying}, {gap}"
    if status.debt != "on":
        return Card(title, "not whole", note, "writes go unseen", BAD)
    if not status.is_verified:
        return Card(title, "whole again", note, "not audited since", LATE)
    if status.copying != "on":
        return Card(title, "debt alone", note, "workers copy", LATE)
    return Card(title, "whole", note, "on target", GOOD)


def cause_line(cause: items.Cause) -> dict[str, Any]:
    """Give a cause with its sentence and the way into the inbox."""
    detail = reasons.detail_of(cause.cause)
    fact = f"because {reasons.reason(cause.code).fact}" if cause.target else reasons.reason(cause.code).fact
    return {
        "items": cause.items,
        "target": cause.target or "elsewhere",
        "fact": fact,
        "detail": detail if detail != cause.target else "",
        "since": cause.first_at,
        "link": f"{_inbox()}?{urlencode({'cause__exact': cause.cause})}",
    }


def charts(hours: list[Hour]) -> list[bars.Chart]:
    """Draw what was resolved and, separately, what opened."""
    return [
        bars.chart("Resolved per hour", "kw-bar-good", [(hour.at, hour.resolved) for hour in hours]),
        bars.chart("Opened per hour", "kw-bar-bad", [(hour.at, hour.opened) for hour in hours]),
    ]


def age(moment: dt.datetime, now: dt.datetime) -> str:
    """Say how long ago, in the largest unit; under a minute, in seconds."""
    seconds = int((now - moment).total_seconds())
    return timesince(moment, now, depth=1) if seconds >= 60 else f"{max(seconds, 0)} seconds"


def _unread(title: str, note: str, link: str = "") -> Card:
    return Card(title, UNREAD, note, "unknown", BAD, link)


def _inbox() -> str:
    return reverse("admin:interventions_intervention_changelist")
