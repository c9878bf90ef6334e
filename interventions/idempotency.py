"""
Once per key: a keyed request's row is the first that its write's transaction writes, and commits with it or never was.

Whoever sends the same again waits at the unique index until that transaction has ended, and gets what it stored.
"""

import datetime as dt
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from interventions.failpoints import reach
from interventions.models import KeyedRequest
from interventions.sqlstates import code_of

logger = logging.getLogger(__name__)

# How long a duplicate waits for the first one's transaction, and then for its answer.
WAIT_MS, LOOK_SECONDS = 2_000, 0.01
# Storing an answer holds up nobody's: one that cannot be stored is composed anew when it is asked for.
STORE_MS, LONGEST_ANSWER = 300, 256 * 1024
# One purge deletes in so many strides of so many rows at most; the next one goes on.
STRIDE, STRIDES = 5_000, 40
LOCK_HELD = "55P03"
# Shared by whoever writes the row and alone by whoever asks for the outcome: an answer waits for what is under way.
_LOCK = "hashtextextended('keyed_request ' || %(person_id)s::text || ' ' || %(key)s::text, 0)"
_CLAIM = (
    "INSERT INTO keyed_request (id, person_id, key, method, route, digest)"
    " SELECT %(id)s, %(person_id)s, %(key)s, %(method)s, %(route)s, %(digest)s"
    f" FROM pg_advisory_xact_lock_shared({_LOCK}) ON CONFLICT DO NOTHING"
)
_FIND = (
    "SELECT id, digest, outcome, extract(epoch FROM clock_timestamp() - at), status, headers, body FROM keyed_request"
    " WHERE person_id = %s AND key = %s AND method = %s AND route = %s"
)


class KeyTaken(Exception):
    """A request with the same key has been committed meanwhile. This one changed nothing."""


class InFlight(Exception):
    """A request with the same key is under way, and did not end in time. This one changed nothing."""


@dataclass
class Asked:
    """A keyed request: whose it is, what it is sent to, and what it asks for, as a digest."""

    person_id: int
    key: str
    method: str
    route: str
    digest: str
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    number: str = ""
    outcome: dict[str, object] = field(default_factory=dict)
    is_forgotten: bool = False


@dataclass(frozen=True)
class Answer:
    """What was sent, byte for byte."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Kept:
    """The committed row of a key, as it stands; without an answer its request is at it, or died."""

    id: uuid.UUID
    digest: str
    outcome: Mapping[str, Any]
    age_seconds: float
    answer: Answer | None


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Let the write inside the block be that of this request."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def is_asked() -> bool:
    """Tell whether what is written now is written for a key."""
    return _asked.get() is not None


@contextmanager
def keyed(*, first: str = "", last: str = "") -> Iterator[None]:
    """
    Write the key of the request at hand as the first thing in the surrounding transaction, and its outcome as the last.

    `first` and `last` are statements of the caller's, such as limits, that go along at no round trip of their own.
    Without a key nothing but these is done. Raises KeyTaken and InFlight, whose transaction must be rolled back; may be
    nested, and tried again after a rollback.
    """
    asked = _asked.get()
    if asked is not None:
        _claim(asked, first)
    elif first:
        _execute(first)
    yield
    if asked is not None:
        last = _outcome(asked, last)
    if last:
        _execute(last)


def remember(*, number: str = "", **outcome: object) -> None:
    """
    Note what the write came to, for the row of its key: its number, and ids of what it made.

    `number`: the SQL of the number, read at the end of the write's transaction.
    """
    if asked := _asked.get():
        asked.number = number or asked.number
        asked.outcome |= outcome


def forget(*, unless: object = None) -> None:
    """Say that the transaction at hand changes nothing, unless there is something: the key is free again when it ends."""
    if not unless and (asked := _asked.get()):
        asked.is_forgotten = True


def find(asked: Asked) -> Kept | None:
    """Look up what is committed under the key of a request."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [asked.person_id, asked.key, asked.method, asked.route])
        row = cursor.fetchone()
    if row is None:
        return None
    pk, digest, outcome, age, status, headers, body = row
    answer = Answer(status, json.loads(headers), body) if body is not None else None
    return Kept(pk, digest, json.loads(outcome), float(age), answer)


def awaited(asked: Asked, kept: Kept | None) -> Kept:
    """
    Give the row with its answer, for which it waits until the row is WAIT_MS old; then whoever asks composes it.

    Raises InFlight where the row is gone.
    """
    while kept is not None and kept.answer is None and kept.age_seconds < WAIT_MS / 1000:
        time.sleep(LOOK_SECONDS)
        kept = find(asked)
    if kept is None:
        raise InFlight
    return kept


def store(row: uuid.UUID, answer: Answer) -> Answer:
    """
    Keep the answer, unless one is kept already; give the one to be sent. Never raises.

    What cannot be kept is sent all the same: the write is committed. Only a death of PostgreSQL itself within the same
    second can lose what was kept: then whoever sends the request again is answered anew, from the write's outcome.
    """
    if len(answer.body) > LONGEST_ANSWER:
        return answer
    reach("interventions.key.before_store")
    try:
        found = _store(row, answer)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("interventions.key.not_stored", extra={"reason": type(error).__name__})
        return answer
    reach("interventions.key.after_store")
    if found is None:
        # Either nothing was written, or somebody's write knows nothing of keys.
        logger.warning("interventions.key.unclaimed")
    return found or answer


def outcome_of(*, person_id: int, key: str) -> KeyedRequest | None:
    """
    Give what came of a person's newest request with this key; None: nothing, and nothing is under way.

    Raises InFlight where a request is, and does not end in time.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        try:
            cursor.execute(
                f"SET LOCAL lock_timeout = {WAIT_MS}; SELECT pg_advisory_xact_lock({_LOCK})",
                {"person_id": person_id, "key": key},
            )
        except OperationalError as error:
            raise _in_flight(error) from error
        return KeyedRequest.objects.filter(person_id=person_id, key=key).order_by("-at").first()


def prune(*, at: dt.datetime) -> int:
    """Delete what is older than IDEMPOTENCY_RETENTION_HOURS, in short strides; warn where too much is left. Gives how many."""
    before, gone = at - dt.timedelta(hours=settings.IDEMPOTENCY_RETENTION_HOURS), 0
    for _ in range(STRIDES):
        oldest = KeyedRequest.objects.filter(at__lt=before).order_by("at").values("pk")[:STRIDE]
        number = KeyedRequest.objects.filter(pk__in=oldest).delete()[0]
        gone += number
        if number < STRIDE:
            break
    if (rows := statistics()["rows"]) > settings.IDEMPOTENCY_WARN_ROWS:
        logger.warning("interventions.key.many", extra={"rows": rows, "most": settings.IDEMPOTENCY_WARN_ROWS})
    return gone


def statistics() -> dict[str, Any]:
    """Tell how many keys are kept (as PostgreSQL estimates it), in how much space, since when, and how many are unanswered."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT greatest(n_live_tup, 0), pg_total_relation_size(relid), (SELECT min(at) FROM keyed_request),"
            " (SELECT count(*) FROM (SELECT FROM keyed_request WHERE body IS NULL"
            "   AND at BETWEEN now() - interval '1 day' AND now() - interval '1 minute' LIMIT 1000) AS unanswered)"
            " FROM pg_stat_user_tables WHERE relid = 'keyed_request'::regclass"
        )
        rows, size, oldest, unanswered = cursor.fetchone()
    return {
        "rows": int(rows), "bytes": int(size), "oldest_at": oldest and oldest.isoformat(), "unanswered": unanswered,
        "is_too_many": rows > settings.IDEMPOTENCY_WARN_ROWS,
    }  # fmt: skip


def _claim(asked: Asked, then: str) -> None:
    words = {name: getattr(asked, name) for name in ("id", "person_id", "key", "method", "route", "digest")}
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                f"SET LOCAL lock_timeout = {WAIT_MS}; {_CLAIM}; {then or 'SET LOCAL lock_timeout TO DEFAULT'}", words
            )
        except OperationalError as error:
            raise _in_flight(error) from error
        cursor.nextset()
        is_mine = cursor.rowcount == 1
        if not is_mine:
            # By an earlier transaction of this request, or further out in this one.
            cursor.execute("SELECT FROM keyed_request WHERE id = %s", [asked.id])
            is_mine = cursor.rowcount == 1
    if not is_mine:
        raise KeyTaken
    reach("interventions.key.after_claim", [asked.person_id])


def _in_flight(error: OperationalError) -> Exception:
    return InFlight() if code_of(error) == LOCK_HELD else error


def _outcome(asked: Asked, last: str) -> str:
    """Write what is noted of the outcome, together with `last` where that is one round trip; give what is left of it."""
    if asked.is_forgotten:
        _execute("DELETE FROM keyed_request WHERE id = %s", asked.id)
        return last
    if not asked.number and not asked.outcome:
        return last
    _execute(
        f"UPDATE keyed_request SET revision = {asked.number or 'NULL'}, outcome = %s WHERE id = %s; {last}",
        json.dumps(asked.outcome), asked.id,
    )  # fmt: skip
    return ""


def _store(row: uuid.UUID, answer: Answer) -> Answer | None:
    with connection.cursor() as cursor:
        # The write is on the disk already; its answer waits for no disk.
        cursor.execute(
            f"SET LOCAL statement_timeout = {STORE_MS}; SET LOCAL synchronous_commit = off;"
            " UPDATE keyed_request SET status = %s, headers = %s, body = %s WHERE id = %s AND body IS NULL",
            [answer.status, json.dumps(dict(answer.headers)), answer.body, row],
        )
        cursor.nextset()
        cursor.nextset()
        if cursor.rowcount == 1:
            return answer
        cursor.execute("SELECT status, headers, body FROM keyed_request WHERE id = %s AND body IS NOT NULL", [row])
        found = cursor.fetchone()
    return Answer(found[0], json.loads(found[1]), found[2]) if found else None


def _execute(statements: str, *words: str | int | uuid.UUID | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements, words or None)
