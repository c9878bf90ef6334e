"""What was written since the last look, by anybody and by any means, becomes events: nobody who writes has to think of it."""

from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from interventions import events
from interventions.failpoints import reach
from interventions.models import StreamMark
from sync import statements
from sync.mirrors import Declaration, declaration

PROFILE = "profile.updated"
# What the desk's history is about, and the topic that tells of it.
DESK = {
    "intervention": "intervention.updated", "cause": "cause.updated", "retry_run": "run.updated",
    "run": "repair.updated", "target": "target.updated", "operation": "target.updated",
}  # fmt: skip
# More than so many of one kind at once are told as one event without a subject, no more often than so.
MOST_TOLD, AGAIN_SECONDS = 500, 5
NUMBERS, HISTORY = "numbers", "history"
_SEQUENCES = {NUMBERS: statements.SEQUENCE, HISTORY: "intervention_history_id_seq"}
_LAST = "SELECT " + ", ".join(f"(SELECT last_value - (NOT is_called)::int FROM {name})" for name in _SEQUENCES.values())
# The numbers are read before the transaction gets its id: whoever took one up to these has a lower id, or has ended.
_OLDEST = "SELECT pg_current_xact_id()::text::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_MANY = """
INSERT INTO stream_event (topic) SELECT told.topic FROM unnest(%(topics)s::text[]) AS told (topic) WHERE NOT EXISTS (
    SELECT FROM stream_event AS e WHERE e.topic = told.topic AND e.subject IS NULL
    AND e.at > clock_timestamp() - make_interval(secs => %(seconds)s))
"""
_FEW = """
INSERT INTO stream_event (topic, subject, people, revision)
SELECT topic, subject, CASE WHEN person IS NOT NULL THEN ARRAY[person] END, revision
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS told (topic, subject, person, revision)
"""
_OF_DESK = f"""
SELECT told.topic, line.subject, NULL::bigint, line.revision
FROM (SELECT object_type, object_id AS subject, max(id) AS revision FROM intervention_history
      WHERE id > %(reached)s AND object_type = ANY(%(types)s::text[]) GROUP BY object_type, object_id) AS line
JOIN unnest(%(types)s::text[], %(topics)s::text[]) AS told (object_type, topic) USING (object_type)
WHERE NOT EXISTS (SELECT FROM stream_event AS e
    WHERE e.topic = told.topic AND e.subject = line.subject AND e.revision >= line.revision)
ORDER BY line.revision LIMIT {MOST_TOLD + 1}
"""
_Row = tuple[str, str, int | None, int]


def numbers() -> tuple[int, ...]:
    """Give the highest numbers that were given: where they are as before, nobody has written. Raises DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST)
        found: tuple[int, ...] = cursor.fetchone()
    return found


def look() -> bool:
    """
    Append an event for each write that nobody has told of yet; gives whether somebody may be about to commit another one.

    Each write is told once, also where transactions end in another order than their numbers; a bulk write as one event. Costs
    one statement while nothing is written. Raises DatabaseError.
    """
    marks = {mark.source: mark for mark in StreamMark.objects.all()}
    if len(marks) == len(_SEQUENCES) and not _is_behind(marks, dict(zip(_SEQUENCES, numbers(), strict=True))):
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        events.take_turn(cursor)
        is_behind = _look(cursor)
        reach("sync.look.before_commit")
    reach("sync.look.after_commit")
    return is_behind


def _is_behind(marks: dict[str, StreamMark], last: dict[str, int]) -> bool:
    return any(marks[source].reached < number for source, number in last.items())


def _look(cursor: CursorWrapper) -> bool:
    cursor.execute(_LAST)
    last = dict(zip(_SEQUENCES, cursor.fetchone(), strict=True))
    cursor.execute(_OLDEST)
    xid, oldest = cursor.fetchone()
    marks = {mark.source: mark for mark in StreamMark.objects.all()}
    for source, number in last.items():
        # What was before the first look is for nobody.
        if source not in marks:
            marks[source] = StreamMark.objects.create(source=source, reached=number, ahead=number, xid=xid)
    for source, mark in marks.items():
        if mark.reached >= last[source]:
            continue
        _tell(cursor, _READ[source](cursor, mark.reached))
        # They had ended before anything was read here, so everything up to `ahead` was seen.
        if mark.xid < oldest:
            mark.reached, mark.ahead, mark.xid = mark.ahead, last[source], xid
            mark.save()
    return _is_behind(marks, last)


def _tell(cursor: CursorWrapper, rows: list[_Row]) -> None:
    if len(rows) > MOST_TOLD:
        topics = sorted({topic for topic, *_ in rows})
        cursor.execute(_MANY, {"topics": topics, "seconds": AGAIN_SECONDS})
    elif rows:
        cursor.execute(_FEW, [list(column) for column in zip(*rows, strict=True)])


def _written(cursor: CursorWrapper, reached: int) -> list[_Row]:
    """Read whose rows bear a number that nobody has told of: each write has one, and each fact that of its last change."""
    declared = declaration()
    # The statistics know nothing of the newest numbers.
    cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
    words: dict[str, Any] = {"reached": reached, "own": _own_topics(declared), "profile": PROFILE}
    cursor.execute(_of_people(declared), words)
    found: list[_Row] = cursor.fetchall()
    return found


def _of_desk(cursor: CursorWrapper, reached: int) -> list[_Row]:
    """Read what the desk's history is about of which nobody has told."""
    cursor.execute(_OF_DESK, {"reached": reached, "types": [*DESK], "topics": [*DESK.values()]})
    found: list[_Row] = cursor.fetchall()
    return found


_READ = {NUMBERS: _written, HISTORY: _of_desk}


def _of_people(declared: Declaration) -> str:
    rows = " UNION ALL ".join(
        f"SELECT {table.key} AS person, revision, {statements.CHANGES} AS changes FROM {table.name}"
        f" WHERE revision > %(reached)s AND {table.key} IS NOT NULL"
        for table in declared.tables
    )
    # Of a row that is new no fact bears a number of its own.
    return f"""
SELECT topic, person::text, person, number FROM (
    SELECT DISTINCT CASE WHEN fact = ANY(%(own)s::text[]) THEN fact || '.updated' ELSE %(profile)s END AS topic, person,
           coalesce(number, revision) AS number
    FROM ({rows}) AS written LEFT JOIN LATERAL (
        SELECT key AS fact, (value ->> 3)::bigint AS number FROM jsonb_each(written.changes)
        WHERE (value ->> 3)::bigint > %(reached)s) AS changed ON true
) AS told
WHERE NOT EXISTS (SELECT FROM stream_event AS e
    WHERE e.topic = told.topic AND e.subject = told.person::text AND e.revision = told.number)
ORDER BY number LIMIT {MOST_TOLD + 1}"""


def _own_topics(declared: Declaration) -> list[str]:
    """List the facts that have a topic of their own: those that may be written in any of their places."""
    return sorted({pair.mirror.fact for pair in declared.pairs if pair.is_shared})
