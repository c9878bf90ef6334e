"""
Leases: how one target's owed rows are given out for work that cannot hold a transaction open, a call to a service.

Taking a lease and telling what came of it are two transactions, and the call stands between them. A lease carries a
fence, a number that only rises: whoever comes back after the lease was given to somebody else is refused.
"""

import datetime as dt
from collections.abc import Collection
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
    owed_since: dt.datetime
    # What the service was told last.
    told: str | None


_TAKE = """
WITH due AS MATERIALIZED (
    SELECT person_id, target FROM sync_ledger
    WHERE target = %(target)s AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at <= clock_timestamp() AND coalesce(lease_until <= clock_timestamp(), true)
      AND crashes < %(allowed)s AND (%(people)s::bigint[] IS NULL OR person_id = ANY(%(people)s))
      AND NOT EXISTS (SELECT FROM sync_pause AS s WHERE s.scope = 'person' AND s.key = sync_ledger.person_id::text)
    ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
-- The crash is counted before the work starts: who dies cannot count any more. Telling any outcome takes it back.
UPDATE sync_ledger AS l SET lease_owner = %(owner)s, fence = nextval('sync_revision'), crashes = l.crashes + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM due WHERE l.person_id = due.person_id AND l.target = due.target
RETURNING l.person_id, l.target, l.desired_revision, l.fence, l.attempts, l.owed_since, l.told
"""
_MINE = "person_id = %(person_id)s AND target = %(target)s AND fence = %(fence)s AND lease_owner IS NOT NULL"
# What was asked for while the call ran stays owed, and is due at once.
_SETTLE = f"""
UPDATE sync_ledger SET applied_revision = greatest(applied_revision, %(revision)s),
    verified_revision = CASE WHEN %(is_verified)s THEN greatest(verified_revision, %(revision)s) ELSE verified_revision END,
    owed_since = CASE WHEN desired_revision > %(revision)s THEN clock_timestamp() END,
    next_attempt_at = CASE WHEN desired_revision > %(revision)s THEN clock_timestamp() END,
    attempts = 0, crashes = 0, lease_owner = NULL, lease_until = NULL, last_error_code = NULL, last_error_object = NULL,
    blocked_schema = NULL, told = coalesce(%(told)s, told)
WHERE {_MINE}
"""
_HAND_BACK = f"""
UPDATE sync_ledger SET lease_owner = NULL, lease_until = NULL, crashes = greatest(0, crashes - 1) WHERE {_MINE}
"""
# What was asked for while the call ran is tried at once, and its failures counted on.
_FAIL = f"""
UPDATE sync_ledger SET attempts = %(attempts)s, crashes = 0, lease_owner = NULL, lease_until = NULL,
    next_attempt_at = CASE WHEN desired_revision > %(revision)s THEN clock_timestamp() ELSE %(next_attempt_at)s::timestamptz END,
    last_error_code = %(code)s, last_error_object = nullif(%(detail)s, ''), blocked_schema = %(shape)s
WHERE {_MINE}
"""
_PUT_OFF = f"""
UPDATE sync_ledger SET lease_owner = NULL, lease_until = NULL, crashes = greatest(0, crashes - 1),
    next_attempt_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE {_MINE}
"""
_TELL = f"UPDATE sync_ledger SET told = %(told)s WHERE {_MINE}"
_IS_DUE = """
SELECT EXISTS (SELECT FROM sync_ledger
    WHERE target = %s AND owed_since IS NOT NULL AND NOT is_paused AND excluded_reason IS NULL
      AND next_attempt_at <= clock_timestamp() AND coalesce(lease_until <= clock_timestamp(), true))
"""
_BLOCK_POISONED = """
UPDATE sync_ledger SET next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL, last_error_code = %(code)s
WHERE target = %(target)s AND owed_since IS NOT NULL AND next_attempt_at IS NOT NULL AND crashes >= %(allowed)s
  AND lease_until <= clock_timestamp()
RETURNING person_id, attempts
"""
_POISONED = """
SELECT person_id, target FROM sync_ledger
WHERE target = %(target)s AND owed_since IS NOT NULL AND next_attempt_at IS NOT NULL AND crashes >= %(allowed)s
  AND lease_until <= clock_timestamp()
"""
CRASHES_ALLOWED = 3


def take(*, target: str, owner: str, limit: int, seconds: float, people: Collection[int] | None = None) -> list[Lease]:
    """
    Give out up to `limit` rows of a target that are due and that nobody holds, longest due first, for so many seconds.

    `people`: of these alone. Nobody's whom staff have paused.

    Committed by the caller before the work starts. Nobody waits for anybody. What `poisoned` lists is given to nobody.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _TAKE,
            {
                "target": target, "owner": owner, "limit": limit, "seconds": seconds, "allowed": CRASHES_ALLOWED,
                "people": None if people is None else list(people),
            },
        )  # fmt: skip
        taken = [Lease(*row) for row in cursor.fetchall()]
    reach("sync.lease.after_take", [lease.person_id for lease in taken])
    return taken


def settle(lease: Lease, *, is_verified: bool, told: str | None = None) -> bool:
    """
    Write down that the target is at the lease's revision, whether that was read back, and what it was told.

    Gives False, and changes nothing, where the lease was given to somebody else meanwhile.
    """
    return _write(_SETTLE, lease, revision=lease.revision, is_verified=is_verified, told=told)


def fail(
    lease: Lease, *, code: str, detail: str, next_attempt_at: dt.datetime | None, attempts: int, shape: str
) -> bool:
    """
    Write down a failed call and when it is tried again; None: blocked, until `shape` changes or somebody asks.

    Gives False, and changes nothing, where the lease was given to somebody else meanwhile.
    """
    return _write(
        _FAIL, lease, revision=lease.revision, code=code, detail=detail, next_attempt_at=next_attempt_at,
        attempts=attempts, shape=shape,
    )  # fmt: skip


def put_off(lease: Lease, *, seconds: float) -> bool:
    """Give a lease back unused, due again after so long."""
    return _write(_PUT_OFF, lease, seconds=seconds)


def tell(lease: Lease, word: str) -> bool:
    """Write down, before the call, what the service may have heard; False where the lease is somebody else's."""
    return _write(_TELL, lease, told=word)


def is_due(target: str) -> bool:
    """Whether a row of a target could be given out now."""
    with connection.cursor() as cursor:
        cursor.execute(_IS_DUE, [target])
        return bool(cursor.fetchone()[0])


def block_poisoned(target: str, *, code: str) -> list[tuple[int, int]]:
    """Block what `poisoned` lists, in the caller's transaction; gives each person and the attempts so far."""
    with connection.cursor() as cursor:
        cursor.execute(_BLOCK_POISONED, {"target": target, "allowed": CRASHES_ALLOWED, "code": code})
        return list(cursor.fetchall())


def hand_back(lease: Lease) -> bool:
    """Give a lease back unused, its row as due as it was; False where it was given to somebody else meanwhile."""
    return _write(_HAND_BACK, lease)


def poisoned(target: str) -> list[tuple[int, str]]:
    """List the rows over which so many workers died that no further one should be given to them."""
    with connection.cursor() as cursor:
        cursor.execute(_POISONED, {"target": target, "allowed": CRASHES_ALLOWED})
        return list(cursor.fetchall())


def _write(statement: str, lease: Lease, **words: float | bool | str | dt.datetime | None) -> bool:
    mine = words | {"person_id": lease.person_id, "target": lease.target, "fence": lease.fence}
    reach("sync.lease.before_write", [lease.person_id])
    with connection.cursor() as cursor:
        cursor.execute(statement, mine)
        is_mine = bool(cursor.rowcount)
    reach("sync.lease.after_write", [lease.person_id])
    return is_mine
