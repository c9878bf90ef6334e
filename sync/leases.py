"""
Leases: how one target's owed rows are given out for work that cannot hold a transaction open, a call to a service.

Taking a lease and telling what came of it are two transactions, and the call stands between them. A lease carries a
fence, a number that only rises: whoever comes back after the lease was given to somebody else is refused.
"""

from dataclasses import dataclass

from django.db import connection

from interventions.failpoints import reach


@dataclass(frozen=True)
class Lease:
    """The right to bring one person's target up to date, to `revision`, until it is given to somebody else."""

    person_id: int
    target: str
    # What the ledger wanted when the lease was taken; the key of the call, too: the same work has the same key.
    revision: int
    fence: int
    attempts: int


_TAKE = """
WITH due AS MATERIALIZED (
    SELECT person_id, target FROM sync_ledger
    WHERE target = %(target)s AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at <= clock_timestamp() AND coalesce(lease_until <= clock_timestamp(), true)
      AND crashes < %(allowed)s
    ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
-- The crash is counted before the work starts: who dies cannot count any more. Telling any outcome takes it back.
UPDATE sync_ledger AS l SET lease_owner = %(owner)s, fence = nextval('sync_revision'), crashes = l.crashes + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM due WHERE l.person_id = due.person_id AND l.target = due.target
RETURNING l.person_id, l.target, l.desired_revision, l.fence, l.attempts
"""
_MINE = "person_id = %(person_id)s AND target = %(target)s AND fence = %(fence)s AND lease_owner IS NOT NULL"
# What was asked for while the call ran stays owed, and is due at once.
_SETTLE = f"""
UPDATE sync_ledger SET applied_revision = greatest(applied_revision, %(revision)s),
    verified_revision = CASE WHEN %(is_verified)s THEN greatest(verified_revision, %(revision)s) ELSE verified_revision END,
    owed_since = CASE WHEN desired_revision > %(revision)s THEN clock_timestamp() END,
    next_attempt_at = CASE WHEN desired_revision > %(revision)s THEN clock_timestamp() END,
    attempts = 0, crashes = 0, lease_owner = NULL, lease_until = NULL, last_error_code = NULL, last_error_object = NULL
WHERE {_MINE}
"""
_HAND_BACK = f"""
UPDATE sync_ledger SET lease_owner = NULL, lease_until = NULL, crashes = greatest(0, crashes - 1) WHERE {_MINE}
"""
_POISONED = """
SELECT person_id, target FROM sync_ledger
WHERE target = %(target)s AND owed_since IS NOT NULL AND next_attempt_at IS NOT NULL AND crashes >= %(allowed)s
  AND lease_until <= clock_timestamp()
"""
CRASHES_ALLOWED = 3


def take(*, target: str, owner: str, limit: int, seconds: float) -> list[Lease]:
    """
    Give out up to `limit` rows of a target that are due and that nobody holds, longest due first, for so many seconds.

    Committed by the caller before the work starts. Nobody waits for anybody. What `poisoned` lists is given to nobody.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE, {"target": target, "owner": owner, "limit": limit, "seconds": seconds, "allowed": CRASHES_ALLOWED}
        )
        taken = [Lease(*row) for row in cursor.fetchall()]
    reach("sync.lease.after_take", [lease.person_id for lease in taken])
    return taken


def settle(lease: Lease, *, is_verified: bool) -> bool:
    """
    Write down that the target is at the lease's revision, and whether that was read back.

    Gives False, and changes nothing, where the lease was given to somebody else meanwhile.
    """
    return _write(_SETTLE, lease, revision=lease.revision, is_verified=is_verified)


def hand_back(lease: Lease) -> bool:
    """Give a lease back unused, its row as due as it was; False where it was given to somebody else meanwhile."""
    return _write(_HAND_BACK, lease)


def poisoned(target: str) -> list[tuple[int, str]]:
    """List the rows over which so many workers died that no further one should be given to them."""
    with connection.cursor() as cursor:
        cursor.execute(_POISONED, {"target": target, "allowed": CRASHES_ALLOWED})
        return list(cursor.fetchall())


def _write(statement: str, lease: Lease, **words: int | bool | str) -> bool:
    mine = words | {"person_id": lease.person_id, "target": lease.target, "fence": lease.fence}
    reach("sync.lease.before_write", [lease.person_id])
    with connection.cursor() as cursor:
        cursor.execute(statement, mine)
        is_mine = bool(cursor.rowcount)
    reach("sync.lease.after_write", [lease.person_id])
    return is_mine
