"""Who is told of what, and when: the table of design.md 7, row by row."""

import datetime as dt

import pytest

from interventions import ladder
from interventions.ladder import Bounds, Kind, Level, Sight, Told

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
BOUNDS = Bounds()
STAFF, LEAD, PAGE = Level.STAFF, Level.LEAD, Level.PAGE


def ago(**words: float) -> dt.datetime:
    return NOW - dt.timedelta(**words)


def cause(
    since: dt.datetime = NOW, people: int = 1, *, is_acknowledged: bool = False, quiet_until: dt.datetime | None = None
) -> Sight:
    return Sight("cause:1", since, people, is_acknowledged, quiet_until)


def lag(since: dt.datetime, *, is_urgent: bool = False) -> Sight:
    return Sight("owed", since, is_lag=True, is_urgent=is_urgent)


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        (cause(), {STAFF}),
        (cause(ago(minutes=59)), {STAFF}),
        (cause(ago(hours=1)), {STAFF, LEAD}),
        (cause(ago(hours=24)), {STAFF, LEAD, PAGE}),
        (cause(people=20), {STAFF}),
        (cause(people=21), {STAFF, LEAD}),
        (cause(ago(hours=30), is_acknowledged=True), set()),
        (cause(ago(hours=30), 21, is_acknowledged=True), {LEAD}),
        (cause(ago(hours=30), 21, quiet_until=NOW + dt.timedelta(seconds=1)), set()),
        (cause(ago(hours=30), quiet_until=NOW), {STAFF, LEAD, PAGE}),
        (lag(ago(minutes=30)), set()),
        (lag(ago(minutes=31)), {LEAD}),
        (lag(ago(hours=25)), {LEAD, PAGE}),
        (lag(ago(minutes=5), is_urgent=True), set()),
        (lag(ago(minutes=5, seconds=1), is_urgent=True), {PAGE}),
    ],
)
def test_by_age_and_reach(sight: Sight, expected: set[Level]) -> None:
    assert ladder.levels(sight, NOW, BOUNDS) == expected


@pytest.mark.parametrize(
    ("sight", "told", "expected"),
    [
        # Each level once.
        (cause(), Told(), {STAFF: Kind.RAISED}),
        (cause(), Told({STAFF: ago(minutes=1)}), {}),
        (cause(ago(hours=2)), Told({STAFF: ago(hours=2)}), {LEAD: Kind.RAISED}),
        (cause(people=25), Told(), {STAFF: Kind.RAISED, LEAD: Kind.RAISED}),
        # Again every day, to the highest alone, and only while nobody sees to it.
        (cause(ago(hours=23)), Told({STAFF: ago(hours=23), LEAD: ago(hours=22)}), {}),
        (cause(ago(hours=60)), Told(dict.fromkeys(Level, ago(hours=25))), {PAGE: Kind.REPEATED}),
        (cause(ago(hours=60)), Told(dict.fromkeys(Level, ago(hours=23))), {}),
        (cause(ago(hours=60), is_acknowledged=True), Told(dict.fromkeys(Level, ago(hours=25))), {}),
        (cause(ago(hours=60), quiet_until=NOW + dt.timedelta(hours=1)), Told({STAFF: ago(hours=25)}), {}),
        (lag(ago(hours=60)), Told({LEAD: ago(hours=59), PAGE: ago(hours=25)}), {PAGE: Kind.REPEATED}),
        # A snooze that ended since.
        (cause(ago(hours=3), quiet_until=ago(minutes=1)), Told({STAFF: ago(hours=3), LEAD: ago(hours=2)}), {LEAD: Kind.REPEATED}),
        (cause(ago(hours=3), quiet_until=ago(hours=2)), Told({STAFF: ago(hours=3), LEAD: ago(hours=1)}), {}),
        # What flutters does not ring all night.
        (cause(), Told(ended_at={STAFF: ago(minutes=9)}), {}),
        (cause(), Told(ended_at={STAFF: ago(minutes=10)}), {STAFF: Kind.RAISED}),
    ],
)  # fmt: skip
def test_nobody_is_told_twice_and_nobody_is_left_out(sight: Sight, told: Told, expected: dict[Level, Kind]) -> None:
    assert ladder.decide(sight, told, NOW, BOUNDS) == expected


def test_a_send_that_fails_waits_longer_each_time_and_never_more_than_an_hour() -> None:
    waits = [ladder.again_after(n, 0.0).total_seconds() for n in (1, 2, 3, 8, 500)]
    assert waits == [15, 30, 60, 1800, 1800]
    assert ladder.again_after(500, 0.999).total_seconds() <= 3600
