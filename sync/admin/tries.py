"""What tries came to in the last day, by the hour, by reason and one by one; ids and codes alone."""

import datetime as dt
from dataclasses import dataclass

from django.db import connection

from interventions.admin import reasons
from sync.admin import bars
from sync.admin.readings import HOURS
from sync.models import Attempt

SETTLED = "settled"
REASONS_SHOWN, TRIES_SHOWN = 8, 15
# The newest tries of one target are looked for among so many of all: a quiet target must not cost a walk through millions.
NEWEST_LOOKED_AT = 5_000


@dataclass(frozen=True)
class HourOfTries:
    """How many tries mended what had failed, and how many failed, from `at` on for an hour."""

    at: dt.datetime
    settled: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Failing:
    """A reason for which tries failed in the last day."""

    code: str
    place: str
    number: int
    last_at: dt.datetime

    @property
    def fact(self) -> str:
        """The reason in words."""
        return reasons.reason(self.code).fact


@dataclass(frozen=True)
class Try:
    """One try."""

    at: dt.datetime
    person_id: int
    code: str
    place: str
    number: int
    duration_ms: int
    # What an outside service said it did, in counts; None: it is none.
    answer: dict[str, int] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it mended what had failed."""
        return self.code == SETTLED

    @property
    def fact(self) -> str:
        """What came of it, in words."""
        if self.answer is not None:
            return ", ".join(f"{number} {name}" for name, number in self.answer.items() if number) or "told"
        return "written, read back, equal" if self.is_settled else reasons.reason(self.code).fact


def first_hour(now: dt.datetime) -> dt.datetime:
    """Give the beginning of the first of the hours that are shown."""
    return now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=HOURS - 1)


def by_hour(now: dt.datetime, *, target: str | None = None) -> list[HourOfTries]:
    """Count the tries of each of the last 24 hours, of one target or of all, oldest first."""
    first = first_hour(now)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT date_trunc('hour', at), count(*) FILTER (WHERE outcome = %s), count(*) FILTER (WHERE outcome <> %s)"
            " FROM sync_attempt WHERE at >= %s AND (%s::text IS NULL OR target = %s) GROUP BY 1",
            [SETTLED, SETTLED, first, target, target],
        )
        found = {row[0]: HourOfTries(*row) for row in cursor.fetchall()}
    every = [first + dt.timedelta(hours=number) for number in range(HOURS)]
    return [found.get(at, HourOfTries(at)) for at in every]


def charts(hours: list[HourOfTries]) -> list[bars.Chart]:
    """Draw what tries mended and, separately, what failed."""
    return [
        bars.chart("Tries that mended", "kw-bar-good", [(hour.at, hour.settled) for hour in hours]),
        bars.chart("Tries that failed", "kw-bar-bad", [(hour.at, hour.failed) for hour in hours]),
    ]


def failing(target: str, now: dt.datetime) -> list[Failing]:
    """List the reasons for which a target's tries failed in the last 24 hours, the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT outcome, coalesce(error_object, ''), count(*), max(at) FROM sync_attempt"
            " WHERE at >= %s AND target = %s AND outcome <> %s GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT %s",
            [first_hour(now), target, SETTLED, REASONS_SHOWN],
        )
        return [Failing(*row) for row in cursor.fetchall()]


def last(target: str) -> list[Try]:
    """List the target's tries among the newest of all, newest first."""
    newest = Attempt.objects.order_by("-id").values_list("id", flat=True)[NEWEST_LOOKED_AT - 1 : NEWEST_LOOKED_AT]
    since = next(iter(newest), 0)
    rows = Attempt.objects.filter(id__gte=since, target=target).order_by("-id")[:TRIES_SHOWN]
    return [Try(r.at, r.person_id, r.outcome, r.error_object or "", r.attempt, r.duration_ms, r.answer) for r in rows]
