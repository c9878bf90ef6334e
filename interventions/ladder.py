"""Who is told of what, and when: decisions alone, by age, reach and whether somebody sees to it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Level(IntEnum):
    """Whom an alert is for, the most urgent last."""

    STAFF = 1
    LEAD = 2
    PAGE = 3


class Kind(StrEnum):
    """What an alert says of its subject."""

    RAISED = "raised"
    REPEATED = "repeated"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Bounds:
    """From when on whom is told; `pause` is the least time between an end and the next alert of the same subject."""

    lead_after: dt.timedelta = dt.timedelta(hours=1)
    lead_people: int = 20
    page_after: dt.timedelta = dt.timedelta(hours=24)
    urgent_after: dt.timedelta = dt.timedelta(minutes=5)
    owed_after: dt.timedelta = dt.timedelta(minutes=30)
    repeat_after: dt.timedelta = dt.timedelta(hours=24)
    pause: dt.timedelta = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class Sight:
    """
    A subject as it stands at a moment: a cause, or (`is_lag`) a delay that nobody can acknowledge.

    `since`: when it began, or came back. `quiet_until`: how long staff want to hear nothing of it.
    """

    subject: str
    since: dt.datetime
    people: int = 0
    is_acknowledged: bool = False
    quiet_until: dt.datetime | None = None
    is_lag: bool = False
    is_urgent: bool = False


@dataclass(frozen=True)
class Told:
    """Of one subject: when each level was told last, and when each level's alert ended last."""

    at: Mapping[Level, dt.datetime] = field(default_factory=dict)
    ended_at: Mapping[Level, dt.datetime] = field(default_factory=dict)


def levels(sight: Sight, at: dt.datetime, bounds: Bounds) -> frozenset[Level]:
    """Give everybody who should know of the subject by now."""
    age = at - sight.since
    if sight.is_lag:
        reached = {Level.LEAD: bounds.owed_after, Level.PAGE: bounds.page_after}
        if sight.is_urgent:
            reached = {Level.PAGE: bounds.urgent_after}
        return frozenset(level for level, after in reached.items() if age > after)
    if is_quiet(sight, at):
        return frozenset()
    found = {Level.LEAD} if sight.people > bounds.lead_people else set[Level]()
    if not sight.is_acknowledged:
        ladder = {Level.STAFF: dt.timedelta(), Level.LEAD: bounds.lead_after, Level.PAGE: bounds.page_after}
        found |= {level for level, after in ladder.items() if age >= after}
    return frozenset(found)


def decide(sight: Sight, told: Told, at: dt.datetime, bounds: Bounds) -> dict[Level, Kind]:
    """
    Give who is to be told now, and what: each level once, then the highest again while nobody sees to it.

    What came back a moment after it ended waits a little, so that what flutters does not ring all night.
    """
    fresh = {
        level: Kind.RAISED
        for level in levels(sight, at, bounds) - told.at.keys()
        if level not in told.ended_at or at - told.ended_at[level] >= bounds.pause
    }
    if fresh or not told.at or sight.is_acknowledged or is_quiet(sight, at):
        return fresh
    highest = max(told.at)
    return {highest: Kind.REPEATED} if _is_due_again(sight, told.at[highest], at, bounds) else {}


def is_quiet(sight: Sight, at: dt.datetime) -> bool:
    """Whether staff want to hear nothing of it at this moment."""
    return sight.quiet_until is not None and sight.quiet_until > at


def again_after(failures: int, roll: float) -> dt.timedelta:
    """Give how long to wait after so many failed sends; `roll` is a random number in [0, 1)."""
    longest = min(3600.0, 30.0 * 2 ** min(failures - 1, 12))
    return dt.timedelta(seconds=longest * (0.5 + roll / 2))


def _is_due_again(sight: Sight, told_at: dt.datetime, at: dt.datetime, bounds: Bounds) -> bool:
    # The end of a snooze is the end of the silence that was asked for.
    has_woken = sight.quiet_until is not None and told_at < sight.quiet_until <= at
    return has_woken or at - told_at >= bounds.repeat_after
