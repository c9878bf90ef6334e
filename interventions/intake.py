"""What waits in the spool is taken into the log, each record once, whoever dies meanwhile."""

import datetime as dt
import logging
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.utils import timezone

from interventions import cleaning, entries, fingerprint, items, spool
from interventions.entries import Entry
from interventions.failpoints import reach
from interventions.handlers import Entity, handler
from interventions.items import Failure

logger = logging.getLogger(__name__)

# Records added in one transaction.
BATCH = 500
# After so many records that were refused one by one the rest waits for the next time.
MOST_REFUSED = 100
# SQLSTATEs that speak of a record. With any other the log itself is out of order, and would say the same of each.
_OF_A_RECORD = ("22", "23", "54", "P0")
_LOCK = 0x6B77_0001
SPOOL, NO_ROOM = "spool", "no_room"


@dataclass(frozen=True)
class Waiting:
    """One record of the spool and the file that it stands in."""

    path: Path
    late: Entry | tuple[Failure, dt.datetime]


@dataclass
class Intake:
    """How many records stand in the log now, and how many were refused; files set aside; entities with new items."""

    taken: int = 0
    refused: int = 0
    set_aside: int = 0
    entities: list[Entity] = field(default_factory=list)


def take_in() -> Intake:
    """
    Add what the spool holds to the log, as far as the log takes it; the rest stays. Raises nothing for either of them.

    A file goes when all its records stand in the log, committed. Whoever dies between the two leaves it for the next
    time, which adds nothing twice.
    """
    report = Intake()
    try:
        paths, without_room = spool.waiting(), spool.take_refused()
    except OSError as error:
        logger.critical("interventions.spool.broken", extra={"code": type(error).__name__, "errno": error.errno})
        return report
    # In any order: were the oldest refused again and again, those behind them would never be reached.
    random.shuffle(paths)
    batch = [_of_no_room(*without_room)] if without_room else []
    is_open = True
    for path in paths:
        batch += _read(path, report)
        if len(batch) >= BATCH:
            is_open, batch = _take(batch, report), []
        if not is_open:
            return report
    _take(batch, report)
    return report


def _read(path: Path, report: Intake) -> list[Waiting]:
    try:
        return [Waiting(path, _parsed(record)) for record in spool.read(path)]
    except (spool.Unreadable, AttributeError, KeyError, TypeError, ValueError):
        spool.set_aside(path)
        report.set_aside += 1
        return []


def _parsed(record: spool.Record) -> Entry | tuple[Failure, dt.datetime]:
    return items.from_record(record) if "target" in record else entries.from_record(record)


def _of_no_room(number_id: uuid.UUID, path: Path, number: int) -> Waiting:
    """Give an entry that says how many failures are in the logs of the processes alone."""
    made = entries.entry(
        operation=SPOOL, entity_id=number_id, payload={"failures": number}, at=timezone.now(),
        error=f"{number} failures found no room in the spool. The logs have them: interventions.log.lost.",
    )  # fmt: skip
    cause = fingerprint.of(target="", operation=SPOOL, kind="full", code=NO_ROOM, detail=SPOOL)
    return Waiting(path, replace(made, id=str(number_id), code=NO_ROOM, cause=cause))


def _take(batch: Sequence[Waiting], report: Intake) -> bool:
    """Add a batch and forget the files that are in the log as a whole; give whether the log is worth asking for more."""
    added: set[int] = set()
    is_open = _add(batch, added, report)
    reach("interventions.intake.after_commit")
    report.taken += len(added)
    left = {one.path for one in batch if id(one) not in added}
    for path in {one.path for one in batch} - left:
        spool.remove(path)
    if report.entities:
        handler().wake()
    if left and report.refused:
        logger.error("interventions.spool.left", extra={"files": len(left), "refused": report.refused})
    return is_open


def _add(batch: Sequence[Waiting], added: set[int], report: Intake) -> bool:
    if not batch:
        return True
    try:
        with transaction.atomic():
            if not _is_alone():
                return False
            new = _write(batch)
            reach("interventions.intake.before_commit")
    except DatabaseFailure as error:
        code = cleaning.code(error)
        if not code.startswith(_OF_A_RECORD):
            logger.error("interventions.log.failed", extra={"operation": SPOOL, "refused": code})
            return False
        if len(batch) > 1:
            half = len(batch) // 2
            return _add(batch[:half], added, report) and _add(batch[half:], added, report)
        report.refused += 1
        return report.refused < MOST_REFUSED
    report.entities += new
    added.update(id(one) for one in batch)
    return True


def _write(batch: Sequence[Waiting]) -> list[Entity]:
    entries.add([one.late for one in batch if isinstance(one.late, Entry)])
    late = [one.late for one in batch if not isinstance(one.late, Entry)]
    new = items.add_late(late) if late else []
    if new:
        # Nobody could have resolved them meanwhile: the engine looks whether they still fail.
        handler().retry(new)
    return new


def _is_alone() -> bool:
    """Two at once would do the same work twice; the lock goes with the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])
