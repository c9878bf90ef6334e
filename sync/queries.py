"""What debt and ledger say, for answers and pages."""

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from django.db import OperationalError, connection

from interventions.patience import looking
from sync import net
from sync.mirrors import declaration
from sync.models import Attempt, Ledger

SYNCED = frozenset({"in_sync", "unverifiable"})
NOT_APPLICABLE = frozenset({"excluded", "deleted"})
# One look at the index for each target that the ledger knows, declared or not. Debt is told the time as it gets its id.
_OLDEST = """
WITH RECURSIVE owed (target, since) AS (
    (SELECT target, owed_since FROM sync_ledger WHERE owed_since IS NOT NULL AND excluded_reason IS NULL
     ORDER BY target, owed_since LIMIT 1)
    UNION ALL
    (SELECT next.target, next.owed_since FROM owed CROSS JOIN LATERAL (
        SELECT target, owed_since FROM sync_ledger
        WHERE owed_since IS NOT NULL AND excluded_reason IS NULL AND target > owed.target
        ORDER BY target, owed_since LIMIT 1) AS next))
SELECT least((SELECT min(since) FROM owed), (SELECT min(at) FROM sync_belated),
             (SELECT min(at) FROM (SELECT at FROM sync_debt ORDER BY id LIMIT 1000) AS first))
"""


# The oldest of each target by its index, and the oldest debt that nobody has folded yet.
_WAITING = """
SELECT person_id, target, since, attempts, next_attempt_at, is_paused, code FROM (
    SELECT DISTINCT ON (person_id, target) person_id, target, since, attempts, next_attempt_at, is_paused, code FROM (
        SELECT l.person_id, l.target, l.owed_since AS since, l.attempts, l.next_attempt_at, l.is_paused,
               l.last_error_code AS code
        FROM unnest(%(targets)s::text[]) AS asked (target) CROSS JOIN LATERAL (
            SELECT * FROM sync_ledger WHERE target = asked.target AND owed_since IS NOT NULL AND excluded_reason IS NULL
            ORDER BY owed_since LIMIT %(limit)s) AS l
        UNION ALL
        SELECT person_id, unnest(targets), at, 0, at, false, code
        FROM (SELECT * FROM sync_debt ORDER BY id LIMIT %(limit)s) AS d) AS every
    ORDER BY person_id, target, since) AS oldest
ORDER BY since, person_id, target LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Waiting:
    """One target of one person that is behind: since when, how often tried, and when it is tried next (None: by no machine)."""

    person_id: int
    target: str
    since: dt.datetime
    attempts: int
    next_attempt_at: dt.datetime | None
    is_paused: bool
    code: str | None


@dataclass(frozen=True)
class TargetState:
    """One target of one person, as the view `contract_sync_state` derives it."""

    person_id: int
    target: str
    state: str
    owed_since: dt.datetime | None
    attempts: int
    next_attempt_at: dt.datetime | None
    last_error_code: str | None

    @property
    def is_synced(self) -> bool:
        """Whether this target is equal and nothing is owed."""
        return self.state in SYNCED

    @property
    def applies(self) -> bool:
        """Whether there is anything to keep equal."""
        return self.state not in NOT_APPLICABLE


def sync_states(people: Collection[int]) -> list[TargetState]:
    """Give every target's state of each person now, by person and target; never waits for a locked table."""
    try:
        with looking(statement_ms=None):
            return _states("keepwell_states(%s)", people)
    except OperationalError:
        return states_of_owed(people)


def states_of_owed(people: Collection[int]) -> list[TargetState]:
    """Give what debt and ledger alone say, from which nobody is kept by a lock on a copy."""
    return _states(f"({net.states_of_owed(declaration())}) AS s ORDER BY person_id, target", people)


def states_beside(person: str) -> str:
    """Give the SQL of one person's states as one value of a row that is read anyway, by an expression for their id."""
    words = ", ".join(f"s.{name}" for name in net.STATE)
    return f"(SELECT json_agg(json_build_array({words}))::text FROM keepwell_states(ARRAY[{person}]) s)"


def told_beside(value: str | None) -> list[TargetState]:
    """Read such a value."""
    told = [TargetState(*words) for words in json.loads(value or "[]")]
    return [
        replace(one, owed_since=_moment(one.owed_since), next_attempt_at=_moment(one.next_attempt_at)) for one in told
    ]


def _moment(text: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def _states(relation: str, people: Collection[int]) -> list[TargetState]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(net.STATE)} FROM {relation}", [list(people)])
        return [TargetState(*row) for row in cursor.fetchall()]


def waiting_longest(targets: Collection[str], *, limit: int) -> list[Waiting]:
    """Give whose copies have been behind for longest."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"targets": list(targets), "limit": limit})
        return [Waiting(*row) for row in cursor.fetchall()]


def oldest_owed() -> dt.datetime | None:
    """Give the moment since which something has been owed without a break; None: nothing is owed."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        oldest: dt.datetime | None = cursor.fetchone()[0]
    return oldest


def attempts(person_id: int, target: str, limit: int = 50) -> list[Attempt]:
    """List recorded attempts, newest first."""
    return list(Attempt.objects.filter(person_id=person_id, target=target).order_by("-id")[:limit])


def next_attempts(people: Collection[int]) -> dict[tuple[int, str], dt.datetime]:
    """Give the time of each planned next try."""
    rows = Ledger.objects.filter(person_id__in=people, owed_since__isnull=False, next_attempt_at__isnull=False)
    return {(row.person_id, row.target): row.next_attempt_at for row in rows if row.next_attempt_at}
