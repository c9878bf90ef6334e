"""Events: hints to whoever has a page open that something was written. What it says is asked for, and never told here."""

import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.backends.utils import CursorWrapper

from interventions.cleaning import code
from interventions.failpoints import reach
from interventions.models import StreamEvent

logger = logging.getLogger(__name__)

CHANNEL = "keepwell_events"
# Whoever appends waits for others who do, each for milliseconds; who cannot gives up: it is a hint.
_TURN = 0x6B77_0007
TURN_MS = 250
# More subjects than this at once are told as one event without any.
MOST_AT_ONCE = 50
MOST_KEPT = 50_000
_APPEND = """
INSERT INTO stream_event (topic, subject, people)
SELECT %(topic)s, subject, CASE WHEN %(is_own)s THEN ARRAY[subject::bigint] ELSE %(people)s::bigint[] END
FROM unnest(%(subjects)s::text[]) AS subject
"""


@dataclass(frozen=True)
class Event:
    """One event as it is on record; `people` whose own it is, None where it is about nobody in particular."""

    id: int
    topic: str
    subject: str | None
    people: frozenset[int] | None
    revision: int


def announce(topic: str, subjects: Iterable[object], *, people: Iterable[int] = ()) -> None:
    """
    Append an event for each subject after the caller's commit, whose own it is for `people`; many become one.

    For what bears no number by which the streams would find it. Best effort: it never fails the caller, and a process that dies
    in between leaves it out.
    """
    _after_commit(topic, subjects, sorted(set(people)) or None)


def announce_people(topic: str, people: Iterable[int]) -> None:
    """Append an event for each person after the caller's commit, which is their own, likewise."""
    _after_commit(topic, people, [])


def listen() -> None:
    """Let this session be told when something is appended."""
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")


def take_turn(cursor: CursorWrapper) -> None:
    """Take the right to append, until the end of the transaction. Raises OperationalError where others take too long."""
    cursor.execute(f"SET LOCAL lock_timeout = {TURN_MS}; SELECT pg_advisory_xact_lock({_TURN})")


def after(event_id: int, *, limit: int) -> list[Event]:
    """List the events after one, oldest first."""
    found = StreamEvent.objects.filter(pk__gt=event_id).order_by("pk")
    return [_event(*row) for row in found.values_list(*_FIELDS)[:limit]]


def recent(*, limit: int) -> tuple[list[Event], int]:
    """Give the newest events, oldest first, and the highest id that there ever was. Raises OperationalError as `take_turn` does."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Nobody is about to commit a lower id than the last one that was given.
        take_turn(cursor)
        found = StreamEvent.objects.order_by("-pk").values_list(*_FIELDS)[:limit]
        return [_event(*row) for row in reversed(found)], _newest(cursor)


def prune(*, at: dt.datetime) -> None:
    """Forget events that are older than the settings say, or more than MOST_KEPT ago."""
    StreamEvent.objects.filter(at__lt=at - dt.timedelta(minutes=settings.STREAMS_KEPT_MINUTES)).delete()
    with connection.cursor() as cursor:
        StreamEvent.objects.filter(pk__lte=_newest(cursor) - MOST_KEPT).delete()


_FIELDS = ("id", "topic", "subject", "people", "revision")


def _event(pk: int, topic: str, subject: str | None, people: list[int] | None, revision: int | None) -> Event:
    return Event(
        pk, topic, subject, None if people is None else frozenset(people), pk if revision is None else revision
    )


def _newest(cursor: CursorWrapper) -> int:
    cursor.execute("SELECT last_value - (NOT is_called)::int FROM stream_event_id_seq")
    return int(cursor.fetchone()[0])


def _after_commit(topic: str, subjects: Iterable[object], people: list[int] | None) -> None:
    known: list[str | None] = [*sorted({str(subject) for subject in subjects})]
    if len(known) > MOST_AT_ONCE:
        known, people = [None], None
    if known:
        transaction.on_commit(lambda: _append(topic, known, people), robust=True)


def _append(topic: str, subjects: list[str | None], people: list[int] | None) -> None:
    """Append at once, best effort; `people` empty: each subject is a person, whose own it is."""
    reach("interventions.events.before_append")
    words = {"topic": topic, "subjects": subjects, "people": people, "is_own": people == []}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            take_turn(cursor)
            cursor.execute(_APPEND, words)
            cursor.execute(f"NOTIFY {CHANNEL}")
    except (DatabaseError, InterfaceError) as error:
        logger.info("interventions.event.not_told", extra={"topic": topic, "code": code(error)})
    reach("interventions.events.after_append")
