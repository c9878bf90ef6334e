"""Causes follow the live items, beside whatever fails: a short step every few seconds, and one when staff act on a cause."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.items import REOPENS_WITHIN
from interventions.models import Cause, CauseState, RetryState

# So many causes are told apart, and each is counted so far: what is beyond is no other decision.
MOST_CAUSES, MOST_COUNTED = 1000, 20_000
RETRYING = (RetryState.CANARY, RetryState.RUNNING)
# Two at once would do the same twice: the second leaves it to the first, or waits where somebody needs the row.
_LOCK = 0x6B77_0003

# One look at the index for each cause, however many items share it.
_LIVE = """
live (cause) AS (
    (SELECT cause FROM manual_intervention_log WHERE NOT resolved ORDER BY cause LIMIT 1)
    UNION ALL
    SELECT (SELECT cause FROM manual_intervention_log WHERE NOT resolved AND cause > live.cause ORDER BY cause LIMIT 1)
    FROM live WHERE live.cause IS NOT NULL)
"""
_FOLLOW = f"""
WITH RECURSIVE {_LIVE}, found AS MATERIALIZED (
    SELECT live.cause, oldest.target, oldest.code, oldest.timestamp, known.id, known.state, known.resolved_at
    FROM live CROSS JOIN LATERAL (
        SELECT target, code, timestamp FROM manual_intervention_log
        WHERE NOT resolved AND cause = live.cause ORDER BY timestamp LIMIT 1) AS oldest
    LEFT JOIN LATERAL (
        SELECT id, state, resolved_at FROM intervention_cause
        WHERE fingerprint = live.cause ORDER BY resolved_at DESC NULLS FIRST LIMIT 1) AS known ON true
), opened AS (
    INSERT INTO intervention_cause (fingerprint, target, code, first_at)
    SELECT cause, target, code, timestamp FROM found
    WHERE id IS NULL OR (state = 'resolved' AND resolved_at <= %(since)s)
    RETURNING id
), reopened AS (
    UPDATE intervention_cause AS known
    SET state = 'reopened', reopened_at = %(at)s, resolved_at = NULL, acknowledged_at = NULL, acknowledged_by = NULL
    FROM found WHERE known.id = found.id AND found.state = 'resolved' AND found.resolved_at > %(since)s
    RETURNING known.id
), gone AS (
    SELECT id, state FROM intervention_cause AS known
    WHERE state <> 'resolved' AND NOT EXISTS (
        SELECT FROM manual_intervention_log AS item WHERE NOT item.resolved AND item.cause = known.fingerprint)
    ORDER BY id FOR UPDATE
), resolved AS (
    UPDATE intervention_cause AS known SET state = 'resolved', resolved_at = %(at)s FROM gone WHERE known.id = gone.id
    RETURNING known.id, gone.state
), noted AS (
    INSERT INTO intervention_history (actor, action, object_type, object_id, from_state, to_state, request_id)
    SELECT 'system', action, 'cause', id::text, before, after, %(request)s
    FROM (SELECT id, 'cause_opened' AS action, NULL AS before, 'open' AS after FROM opened
          UNION ALL SELECT id, 'cause_reopened', 'resolved', 'reopened' FROM reopened
          UNION ALL SELECT id, 'cause_resolved', state, 'resolved' FROM resolved) AS changed)
SELECT (SELECT count(*) FROM opened), (SELECT count(*) FROM reopened), (SELECT count(*) FROM resolved)
"""
_STANDING = f"""
SELECT most.cause, oldest.target, oldest.code, most.items, most.people, most.oldest_at, newest.timestamp, EXISTS (
    SELECT FROM intervention_retry_run AS run
    WHERE run.cause = most.cause AND run.cause <> '' AND run.state = ANY(%(retrying)s::text[]))
FROM (
    SELECT told.cause, counted.* FROM told CROSS JOIN LATERAL (
        SELECT count(*) AS items, count(person_id) AS people, min(timestamp) AS oldest_at
        FROM (SELECT person_id, timestamp FROM manual_intervention_log
              WHERE NOT resolved AND cause = told.cause ORDER BY timestamp LIMIT {MOST_COUNTED}) AS item) AS counted
    ORDER BY counted.items DESC, counted.oldest_at, told.cause LIMIT %(limit)s) AS most
LEFT JOIN LATERAL (
    SELECT target, code FROM manual_intervention_log
    WHERE NOT resolved AND cause = most.cause ORDER BY timestamp LIMIT 1) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT timestamp FROM manual_intervention_log
    WHERE NOT resolved AND cause = most.cause ORDER BY timestamp DESC LIMIT 1) AS newest ON true
ORDER BY most.items DESC, most.oldest_at, most.cause
"""
_OF_ALL = f"""
WITH RECURSIVE {_LIVE}, told AS (SELECT cause FROM live WHERE cause IS NOT NULL LIMIT {MOST_CAUSES})
{_STANDING}
"""
_OF_ONE = f"WITH told AS (SELECT %(cause)s::text AS cause) {_STANDING}"


@dataclass(frozen=True)
class Followed:
    """How many causes a look opened, reopened and resolved."""

    opened: int = 0
    reopened: int = 0
    resolved: int = 0


@dataclass(frozen=True)
class Standing:
    """
    A cause of live items at one moment, counted up to MOST_COUNTED. `row` None: found just now, `follow` has not seen it.

    `people` are those whom its items name, one item each; items of whole targets and of reports name none.
    """

    fingerprint: str
    target: str
    code: str
    items: int
    people: int
    oldest_at: dt.datetime
    newest_at: dt.datetime | None
    is_retrying: bool
    at: dt.datetime
    row: Cause | None = None

    @property
    def age(self) -> dt.timedelta:
        """How long its oldest item has been open."""
        return self.at - self.oldest_at

    @property
    def is_acknowledged(self) -> bool:
        """Whether somebody sees to it."""
        return self.row is not None and self.row.state == CauseState.ACKNOWLEDGED

    @property
    def is_snoozed(self) -> bool:
        """Whether somebody put it off."""
        return self.row is not None and _is_ahead(self.row.snoozed_until, self.at)

    @property
    def is_ignored(self) -> bool:
        """Whether somebody ignores it for a while."""
        return self.row is not None and _is_ahead(self.row.ignored_until, self.at)


def follow(*, at: dt.datetime) -> Followed:
    """
    Bring the causes in line with the live items: new, come back within a week (the same row), or nothing left.

    Takes as long as there are causes, not items. While somebody else is at it, nothing is done.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        followed = _follow(cursor, at) if cursor.fetchone()[0] else Followed()
        reach("interventions.follow.before_commit")
    reach("interventions.follow.after_commit")
    return followed


def ensure(*, fingerprint: str, at: dt.datetime) -> Cause | None:
    """Give the cause's live row, made now where it is not there yet; None: no live item bears this fingerprint."""
    found = live().filter(fingerprint=fingerprint).first()
    if found is None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            _follow(cursor, at)
        found = live().filter(fingerprint=fingerprint).first()
    return found


def live() -> QuerySet[Cause]:
    """Narrow to causes that are not resolved."""
    return Cause.objects.exclude(state=CauseState.RESOLVED)


def standing(*, at: dt.datetime, limit: int = MOST_CAUSES) -> list[Standing]:
    """
    Tell of each cause of live items how it stands, those with the most items first: numbers, age, who sees to it.

    What alerts go by: `age`, `people`, `is_acknowledged`, `is_snoozed`, `is_ignored`. Nothing is counted beforehand.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OF_ALL, {"retrying": [str(state) for state in RETRYING], "limit": limit})
        found = cursor.fetchall()
    rows = {row.fingerprint: row for row in live().filter(fingerprint__in=[cause for cause, *_ in found])}
    return [
        Standing(cause, target, code, items, people, oldest_at, newest_at, is_retrying, at, rows.get(cause))
        for cause, target, code, items, people, oldest_at, newest_at, is_retrying in found
    ]


def standing_of(cause: Cause, *, at: dt.datetime) -> Standing:
    """Tell how one cause stands; one that is resolved has no items."""
    with connection.cursor() as cursor:
        words: dict[str, Any] = {"cause": cause.fingerprint, "retrying": [str(state) for state in RETRYING], "limit": 1}
        cursor.execute(_OF_ONE, words)
        _, _, _, items, people, oldest_at, newest_at, is_retrying = cursor.fetchone()
    return Standing(
        cause.fingerprint, cause.target, cause.code, items, people, oldest_at or cause.first_at, newest_at, is_retrying,
        at, cause,
    )  # fmt: skip


def _follow(cursor: Any, at: dt.datetime) -> Followed:
    cursor.execute(_FOLLOW, {"at": at, "since": at - REOPENS_WITHIN, "request": request_id.get()})
    return Followed(*cursor.fetchone())


def _is_ahead(moment: dt.datetime | None, at: dt.datetime) -> bool:
    return moment is not None and moment > at
