"""What the front page shows of targets, operations and hours."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import connection

from sync import breaker_state, pauses
from sync import targets as everything
from sync.breaker import State
from sync.pauses import Scope
from sync.stops import Pause

HOURS = 24
# So many of what is owed of a target are counted, the oldest first: a target that is down must not cost its page more.
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class TargetLine:
    """What is owed of one target, counted up to MOST_COUNTED, and how much of that only a person moves."""

    target: str
    owed: int = 0
    blocked: int = 0
    oldest_at: dt.datetime | None = None
    parked_rows: int = 0
    # How its breaker is, in a word; since when it is so, why, and when it is tried next, where it does not work.
    word: str = "working"
    since: dt.datetime | None = None
    code: str = ""
    next_try_at: dt.datetime | None = None
    pause: Pause | None = None
    # Bringing copies in line is switched off altogether.
    is_stopped: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether there may be more than was counted, so that every number is "at least"."""
        return self.owed >= MOST_COUNTED

    @property
    def is_shut(self) -> bool:
        """Whether nothing is attempted now."""
        return self.is_stopped or self.pause is not None or self.word in {"parked", "throttled"}

    @property
    def parked(self) -> int:
        """What waits for the target itself, or for a switch."""
        return self.owed - self.blocked if self.is_shut else self.parked_rows

    @property
    def retrying(self) -> int:
        """What moves by itself."""
        return self.owed - self.blocked - self.parked


@dataclass(frozen=True)
class OperationLine:
    """An operation, and who paused it."""

    key: str
    title: str
    pause: Pause | None


@dataclass(frozen=True)
class Hour:
    """What happened to interventions from `at` on for an hour."""

    at: dt.datetime
    opened: int = 0
    resolved: int = 0


# A person's target counts once, whether the ledger knows of it, debt does, or both; debt is always to be tried.
_OWED = f"""
SELECT asked.target, known.owed + coalesce(debt.more, 0), greatest(0, known.blocked - coalesce(debt.freed, 0)),
       least(known.since, debt.since), known.parked
FROM unnest(%(targets)s::text[]) WITH ORDINALITY AS asked (target, place) CROSS JOIN LATERAL (
    SELECT count(*) AS owed, count(*) FILTER (WHERE next_attempt_at IS NULL AND NOT is_paused) AS blocked,
           min(owed_since) AS since, count(*) FILTER (WHERE is_paused) AS parked
    FROM (SELECT owed_since, next_attempt_at, is_paused FROM sync_ledger
          WHERE target = asked.target AND owed_since IS NOT NULL AND excluded_reason IS NULL
          ORDER BY owed_since LIMIT {MOST_COUNTED}) AS oldest) AS known
LEFT JOIN (
    SELECT waiting.target, min(at) AS since, count(*) FILTER (WHERE line.person_id IS NULL) AS more,
           count(*) FILTER (WHERE line.next_attempt_at IS NULL AND NOT line.is_paused) AS freed
    FROM (SELECT target, person_id, min(at) AS at
          FROM (SELECT targets, person_id, at FROM sync_debt ORDER BY id LIMIT {MOST_COUNTED}) AS first,
               -- Debt to every service of a kind is owed to each.
               LATERAL (SELECT word AS target FROM unnest(first.targets) AS word UNION
                        SELECT s.target FROM sync_service AS s
                        WHERE s.is_configured AND '*' || s.kind = ANY(first.targets)) AS named
          GROUP BY target, person_id) AS waiting
    LEFT JOIN sync_ledger AS line ON line.person_id = waiting.person_id AND line.target = waiting.target
        AND line.owed_since IS NOT NULL AND line.excluded_reason IS NULL
    GROUP BY waiting.target) AS debt USING (target)
ORDER BY place
"""


def targets(now: dt.datetime, *, names: Sequence[str] | None = None) -> list[TargetLine]:
    """Tell of every declared target, or of these, what is owed, how its breaker is, and whether somebody paused it."""
    with connection.cursor() as cursor:
        cursor.execute(_OWED, {"targets": list(everything.names() if names is None else names)})
        lines = [TargetLine(*row) for row in cursor.fetchall()]
    states, paused, misconfigured = breaker_state.states(), pauses.listed(Scope.TARGET), everything.misconfigured()
    is_stopped = pauses.is_paused(pauses.SYNC)
    return [
        _with_breaker(
            replace(line, is_stopped=is_stopped, pause=paused.get(line.target)),
            states.get(line.target, State()),
            misconfigured.get(line.target, ""),
            now,
        )
        for line in lines
    ]


def operations() -> list[OperationLine]:
    """Tell of every operation whether somebody paused it."""
    paused = pauses.listed(Scope.OPERATION)
    return [OperationLine(key, title, paused.get(key)) for key, title in pauses.OPERATIONS.items()]


def _with_breaker(line: TargetLine, state: State, misconfigured: str, now: dt.datetime) -> TargetLine:
    word = breaker_state.word(
        state, now, is_misconfigured=bool(misconfigured), has_parked=lambda: bool(line.parked_rows)
    )
    if word == "misconfigured":
        return replace(line, word=word, code=misconfigured)
    since = state.ramp_since if word == "recovering" else state.since
    next_try = {"parked": state.probe_at, "throttled": state.throttled_until}.get(word)
    is_well = word == "working"
    return replace(
        line, word=word, since=None if is_well else since, code="" if is_well else state.code, next_try_at=next_try
    )


# A retry that failed gives its item back; it does not open one.
_HOURS = """
SELECT date_trunc('hour', at), count(*) FILTER (WHERE action IN ('opened', 'reopened')),
       count(*) FILTER (WHERE to_state = 'resolved')
FROM intervention_history
WHERE object_type = 'intervention' AND at >= %s
GROUP BY 1
"""


def hours(now: dt.datetime) -> list[Hour]:
    """Count what opened and what was resolved in each of the last 24 hours, oldest first."""
    first = now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=HOURS - 1)
    with connection.cursor() as cursor:
        cursor.execute(_HOURS, [first])
        found = {row[0]: Hour(*row) for row in cursor.fetchall()}
    every = [first + dt.timedelta(hours=number) for number in range(HOURS)]
    return [found.get(at, Hour(at)) for at in every]
