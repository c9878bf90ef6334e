"""The front page: is anything wrong, how wrong, and where to begin."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.timesince import timesince

from interventions import causes as standing_causes
from interventions import queries as items
from interventions.admin import reasons
from interventions.admin.reading import Reading, bounds, read
from interventions.causes import Standing
from interventions.queries import Waiting
from interventions.templatetags.desk import so_far
from sync import consistency, pulse, queries, triggers
from sync.admin import bars, readings, switching, tries
from sync.admin.bars import Chart
from sync.admin.readings import Hour, TargetLine
from sync.admin.tries import HourOfTries
from sync.admin.words import BAD, GOOD, LATE, PLAIN, operation_switch, target_switch
from sync.consistency import LastKnown
from sync.pulse import Sign
from sync.triggers import Status

CAUSES_SHOWN = 8
# The desk's targets: fewer items than this wait for a person, and nothing is owed for longer.
FEWER_ITEMS, OLDEST = 5, dt.timedelta(days=1)
DAY = dt.timedelta(days=1)
UNREAD = "cannot be read"


@dataclass(frozen=True)
class Card:
    """One number with its target. `verdict` says in a word what the colour says; `at` is when it was found."""

    title: str
    number: str
    note: str
    verdict: str
    look: str
    link: str = ""
    at: dt.datetime | None = None
    # What the number leaves out, in words, and where that is.
    besides: str = ""
    besides_link: str = ""


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the admin's index what staff see first; numbers are for those who may look at interventions."""
    if not request.user.has_perm("interventions.view_intervention"):
        return context | {"may_see_numbers": False}
    with bounds():
        return context | _numbers(request, timezone.now())


def _numbers(request: HttpRequest, now: dt.datetime) -> dict[str, Any]:
    targets = read(lambda: readings.targets(now))
    operations = read(readings.operations)
    causes = read(lambda: standing_causes.standing(at=now, limit=CAUSES_SHOWN))
    may_open = request.user.has_perm("interventions.view_cause")
    return {
        "may_see_numbers": True,
        "title": "Front page",
        "read_at": now,
        "cards": [
            needing_card(read(lambda: items.waiting(at=now))),
            oldest_card(read(queries.oldest_owed), now),
            retrying_card(targets),
            consistency_card(read(consistency.last_known)),
        ],
        "parts": [net_card(read(triggers.status)), *running_cards(read(pulse.signs), now)],
        "targets": targets,
        "target_switches": [target_switch(line) for line in targets.value or []],
        "operations": operations,
        "operation_switches": [operation_switch(line) for line in operations.value or []],
        "may_switch": request.user.has_perm(switching.SWITCH_TARGET),
        "causes": [cause_line(cause, may_open=may_open) for cause in causes.value or []],
        "causes_are_known": causes.is_known,
        "charts": [*tried(read(lambda: tries.by_hour(now))), *happened(read(lambda: readings.hours(now)))],
    }


def needing_card(waiting: Reading[Waiting]) -> Card:
    """Tell how many items wait for a person, as the tab of that name does, and how many are put off."""
    title, note, link = "Needs a person", f"target: fewer than {FEWER_ITEMS}", _inbox()
    if waiting.value is None:
        return _unread(title, note, link)
    is_good = waiting.value.now < FEWER_ITEMS
    return Card(
        title, counted(waiting.value.now), note, "on target" if is_good else "too many", GOOD if is_good else BAD, link,
        besides=besides(waiting.value), besides_link=f"{link}?tab=snoozed",
    )  # fmt: skip


def counted(number: int) -> str:
    """Say a number that was counted as far as a tab counts."""
    return str(number) if number <= items.MOST_COUNTED else f"{items.MOST_COUNTED}+"


def besides(waiting: Waiting) -> str:
    """Say what is put off, so that nobody takes the rest for all; empty where nothing is."""
    return f"{counted(waiting.put_off)} besides, snoozed or ignored" if waiting.put_off else ""


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
    number = so_far(sum(line.retrying for line in targets.value), any(line.is_cut for line in targets.value))
    return Card(title, number, note, "follows", PLAIN)


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


def cause_line(cause: Standing, *, may_open: bool) -> dict[str, Any]:
    """Give a cause with its sentence and the way to its page; to the inbox where there is none yet, or none to open."""
    page = reverse("admin:cause", args=[cause.row.pk]) if cause.row and may_open else ""
    detail = reasons.detail_of(cause.fingerprint)
    fact = f"because {reasons.reason(cause.code).fact}" if cause.target else reasons.reason(cause.code).fact
    return {
        "items": cause.items,
        "target": cause.target or "elsewhere",
        "fact": fact,
        "detail": detail if detail != cause.target else "",
        "since": cause.oldest_at,
        "link": page or f"{_inbox()}?{urlencode({'cause__exact': cause.fingerprint})}",
        "word": "ignored" if cause.is_ignored else "snoozed" if cause.is_snoozed else "",
    }


def consistency_card(known: Reading[LastKnown | None]) -> Card:
    """Tell of how many facts every copy is equal, as the last full audit found."""
    title = "Consistency"
    if not known.is_known:
        return _unread(title, "target: 100 %")
    if known.value is None:
        return Card(title, "not known yet", "no full audit has counted everybody", "unknown", BAD)
    total = known.value.total
    note = f"{total.consistent:,} of {total.of:,} facts equal everywhere,"
    is_good, link = total.consistent == total.of, reverse("week")
    verdict, look = ("on target", GOOD) if is_good else ("behind", LATE)
    return Card(title, f"{total.percent:g} %", note, verdict, look, link, known.value.at)


def running_cards(signs: Reading[list[Sign]], now: dt.datetime) -> list[Card]:
    """Tell who of the workers and beat gave a sign of life, and when the last one did."""
    return [
        _running("Workers", signs, pulse.WORKER, now, "nothing is brought in line"),
        _running("Beat", signs, pulse.BEAT, now, "nobody wakes the workers"),
    ]


def tried(hours: Reading[list[HourOfTries]]) -> Sequence[Chart | None]:
    """Draw what tries mended and, separately, what failed; None stands for what cannot be read."""
    return tries.charts(hours.value) if hours.value is not None else [None]


def happened(hours: Reading[list[Hour]]) -> Sequence[Chart | None]:
    """Draw what became of interventions: what was resolved and, separately, what opened."""
    if hours.value is None:
        return [None]
    return [
        bars.chart("Interventions resolved", "kw-bar-good", [(hour.at, hour.resolved) for hour in hours.value]),
        bars.chart("Interventions opened", "kw-bar-bad", [(hour.at, hour.opened) for hour in hours.value]),
    ]


def age(moment: dt.datetime, now: dt.datetime) -> str:
    """Say how long ago, in the largest unit; under a minute, in seconds."""
    seconds = int((now - moment).total_seconds())
    return (
        timesince(moment, now, depth=1) if seconds >= 60 else f"{max(seconds, 0)} second{'' if seconds == 1 else 's'}"
    )


def _running(title: str, signs: Reading[list[Sign]], role: str, now: dt.datetime, consequence: str) -> Card:
    if signs.value is None:
        return _unread(title, "")
    found = [sign for sign in signs.value if sign.role == role]
    living = [sign for sign in found if not sign.is_silent(now)]
    if not found:
        return Card(title, "no sign of life", consequence, "unknown", BAD)
    last = max(sign.at for sign in found)
    if not living:
        return Card(title, f"silent for {age(last, now)}", consequence, "silent", BAD)
    number = "ticking" if role == pulse.BEAT else f"{len(living)} at work"
    silent = ", ".join(sign.name for sign in found if sign.is_silent(now) and now - sign.at < DAY)
    if silent and role == pulse.WORKER:
        return Card(title, number, f"silent: {silent}", "some are silent", LATE)
    return Card(title, number, f"last sign {age(last, now)} ago", "on target", GOOD)


def _unread(title: str, note: str, link: str = "") -> Card:
    return Card(title, UNREAD, note, "unknown", BAD, link)


def _inbox() -> str:
    return reverse("admin:interventions_intervention_changelist")
