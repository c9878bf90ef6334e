"""
Taking up what is owed.

Who takes people up says so first, in a row of its own that is committed before the work starts; the work's own
transaction deletes it. A row whose session is gone tells that its worker died over these people. They are then taken
up in ever smaller groups, until whoever takes workers down stands alone.
"""

import datetime as dt
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import DatabaseError, connection

from interventions.arrays import array

Entity = tuple[int, str]  # person id, target

# Debt of these kinds says that a fact changed. Any other may be about a row that came, went or changed hands.
_OF_FACTS = ("uncopied", "copied", "service")
# A group whose worker died is taken up again in so many parts.
PARTS = 10
DEATHS_ALLOWED = 3


@dataclass
class Claim:
    """Debt that this transaction took away and due ledger rows that it locked; its locks are the lease."""

    # When the oldest debt of an entity was written; None: due from the ledger alone.
    entities: dict[Entity, dt.datetime | None] = field(default_factory=dict)
    # Persons whose rows may have come, gone or changed hands.
    linkable: set[int] = field(default_factory=set)

    @property
    def people(self) -> list[int]:
        """The persons concerned, in the order in which they are locked."""
        return sorted({person_id for person_id, _ in self.entities})


@dataclass(frozen=True)
class Group:
    """People whom a worker died over: `deaths` of workers so far."""

    id: int
    people: list[int]
    deaths: int

    @property
    def is_poison(self) -> bool:
        """Whether one person alone took enough workers down."""
        return len(self.people) == 1 and self.deaths >= DEATHS_ALLOWED


# Deleting is claiming: a transaction that fails gives the rows back, and rows that came meanwhile are other rows.
# After a large statement the planner knows the table as it was while it was empty. Ordered by no index, and without a
# join, there is no way left to read what everybody is owed.
_CLAIM_DEBT = """
WITH taken AS (
    DELETE FROM sync_debt WHERE id = ANY(ARRAY(
        SELECT id FROM sync_debt WHERE person_id = ANY(%(people)s::bigint[])
        ORDER BY id + 0 LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
    RETURNING person_id, targets, at, coalesce(code, '') AS code
)
SELECT person_id, target, extract(epoch FROM min(at))::float8, bool_or(code <> ALL(%(of_facts)s))
FROM taken, unnest(targets) AS target GROUP BY person_id, target
"""
# Outside services are called by lease: their rows are nobody's here.
_CLAIM_DUE = """
SELECT person_id, target FROM sync_ledger
WHERE NOT EXISTS (SELECT FROM sync_service WHERE sync_service.target = sync_ledger.target)
  AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL AND next_attempt_at <= clock_timestamp()
  AND person_id = ANY(%(people)s::bigint[])
ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
# Not waiting for the disk: should the server die, the row means nothing any more.
_TAKE_UP = """
INSERT INTO sync_batch (pid, backend_start, server_start, people, deaths)
SELECT pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    pg_postmaster_start_time(), people, 1 + (set_config('synchronous_commit', 'off', true) IS NULL)::int
FROM (SELECT array_agg(DISTINCT person_id) AS people FROM ({source}) AS owed) AS found
WHERE people IS NOT NULL
RETURNING id, people
"""
_WITH_DEBT = """
SELECT person_id FROM sync_debt
WHERE NOT person_id = ANY(%(passed_over)s::bigint[])
  AND person_id NOT IN (SELECT unnest(people) FROM sync_batch)
ORDER BY id LIMIT %(limit)s
"""
# Target by target, each by the index: however much is due elsewhere is not read.
_WITH_DUE = """
WITH RECURSIVE asked (target) AS (
    (SELECT target FROM sync_ledger WHERE owed_since IS NOT NULL AND next_attempt_at IS NOT NULL ORDER BY target LIMIT 1)
    UNION ALL
    SELECT (SELECT target FROM sync_ledger WHERE owed_since IS NOT NULL AND next_attempt_at IS NOT NULL
            AND target > asked.target ORDER BY target LIMIT 1)
    FROM asked WHERE target IS NOT NULL)
SELECT person_id FROM asked CROSS JOIN LATERAL (
    SELECT person_id, next_attempt_at FROM sync_ledger
    WHERE target = asked.target AND NOT EXISTS (SELECT FROM sync_service WHERE sync_service.target = asked.target)
      AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at <= clock_timestamp() AND NOT person_id = ANY(%(passed_over)s::bigint[])
      AND person_id NOT IN (SELECT unnest(people) FROM sync_batch)
    ORDER BY next_attempt_at LIMIT %(limit)s) AS due
ORDER BY next_attempt_at LIMIT %(limit)s
"""
# When a session of another role began is told to members of that role alone; one that cannot be told apart counts as alive.
_IS_GONE = """NOT EXISTS (SELECT FROM pg_stat_activity AS alive
    WHERE alive.pid = sync_batch.pid AND coalesce(alive.backend_start = sync_batch.backend_start, true))"""
# A server that went down took its sessions with it: no worker died of what it was doing.
_FORGET_OF_DEAD_SERVER = f"DELETE FROM sync_batch WHERE server_start <> pg_postmaster_start_time() AND {_IS_GONE}"
_SPLIT = f"""
WITH dead AS (
    DELETE FROM sync_batch WHERE id IN (
        SELECT id FROM sync_batch WHERE cardinality(people) > 1 AND {_IS_GONE} FOR UPDATE SKIP LOCKED)
    RETURNING *)
INSERT INTO sync_batch (pid, backend_start, server_start, people, deaths)
SELECT dead.pid, dead.backend_start, dead.server_start, array_agg(person ORDER BY place),
    -- Whoever stands alone now for the first time has a last chance.
    CASE WHEN count(*) = 1 THEN least(min(dead.deaths), {DEATHS_ALLOWED - 1}) ELSE min(dead.deaths) END
FROM dead, unnest(dead.people) WITH ORDINALITY AS p (person, place)
GROUP BY dead.id, dead.pid, dead.backend_start, dead.server_start,
    (place - 1) / greatest(1, cardinality(dead.people) / {PARTS})
"""
# The death is counted before the work starts: who dies cannot count any more. Materialized: a plan that ran the search
# again for each row would adopt more groups than it tells.
_ADOPT = f"""
WITH dead AS MATERIALIZED (
    SELECT id, deaths AS before FROM sync_batch WHERE {_IS_GONE} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE sync_batch SET deaths = deaths + (NOT (cardinality(people) = 1 AND deaths >= {DEATHS_ALLOWED}))::int,
    pid = pg_backend_pid(),
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
FROM dead WHERE sync_batch.id = dead.id RETURNING sync_batch.id, people, dead.before
"""


def claim_debt(*, limit: int, people: Collection[int]) -> Claim:
    """Take up to `limit` debt rows of these people, oldest first, without waiting."""
    claim = Claim()
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_DEBT, {"limit": limit, "people": array(people), "of_facts": list(_OF_FACTS)})
        for person_id, target, since, is_linkable in cursor.fetchall():
            claim.entities[person_id, target] = dt.datetime.fromtimestamp(since, dt.UTC)
            if is_linkable:
                claim.linkable.add(person_id)
    return claim


def claim_due(*, limit: int, people: Collection[int]) -> Claim:
    """Lock up to `limit` ledger rows of these people whose next attempt has come, longest due first, without waiting."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_DUE, {"limit": limit, "people": array(people)})
        entities = dict.fromkeys(cursor.fetchall())
    return Claim(entities, {person_id for person_id, _ in entities})


def take_up_debt(*, limit: int, passed_over: Collection[int] = ()) -> Group | None:
    """Say that this session takes up the people of the oldest debt rows whom nobody else has; None: there are none."""
    return _take_up(_WITH_DEBT, limit, passed_over)


def take_up_due(*, limit: int, passed_over: Collection[int] = ()) -> Group | None:
    """Say that this session takes up the people of ledger rows that are due; None: there are none."""
    return _take_up(_WITH_DUE, limit, passed_over)


def take_up_abandoned() -> Group | None:
    """Take up a group whose worker died, larger ones having been parted; its `deaths` are those before this try."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM sync_batch)")
        if not cursor.fetchone()[0]:
            return None
        cursor.execute(_FORGET_OF_DEAD_SERVER)
        cursor.execute(_SPLIT)
        cursor.execute(_ADOPT)
        found = cursor.fetchone()
    return Group(*found) if found else None


def lay_down(group: Group) -> None:
    """Take back that these people are taken up: with the work's transaction, or after it failed without a death."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sync_batch WHERE id = %s", [group.id])


@contextmanager
def taken_up(group: Group) -> Iterator[None]:
    """Whatever is raised inside, this worker lives: nobody must think that it died over these people."""
    is_done = False
    try:
        yield
        is_done = True
    finally:
        if not is_done:
            try:
                lay_down(group)
            except DatabaseError:
                # The session itself broke: a new one is opened for whoever is next, and the group counts one death.
                connection.close()


def _take_up(source: str, limit: int, passed_over: Collection[int]) -> Group | None:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_UP.format(source=source), {"limit": limit, "passed_over": list(passed_over)})
        found = cursor.fetchone()
    return Group(found[0], found[1], 0) if found else None
