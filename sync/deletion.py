"""Deletion is a desired state: told by tombstones, carried out by workers, held when it comes in masses."""

import datetime as dt
import logging
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Q, QuerySet

from interventions import findings
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.findings import Finding
from interventions.models import History
from interventions.sqlstates import sqlstate
from sync import reconcile, statements
from sync.mirrors import Declaration, Table, declaration
from sync.models import Hold, Tombstone

logger = logging.getLogger(__name__)

MASS = "mass_deletion"
HELD_TABLE = "sync_hold"
MOST_AT_ONCE = 500


@dataclass
class Report:
    """How many deletions were carried out, and how many were held back just now."""

    retired: int = 0
    held: int = 0


class DecidedAlready(Exception):
    """Somebody decided about these deletions before; `hold` says who and what."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(type(self).__doc__)
        self.hold = hold


def retire(*, at: dt.datetime) -> Report:
    """
    Carry out what deletions mean for the copies, unless there are too many of them at once.

    A copy whose source's row is gone takes the value that is declared for that; what has no such value stays as it was
    known last. Rows are never made or deleted here. Failures stay open for the next call.
    """
    report = Report()
    for table in declaration().tables:
        report.held += _hold_masses(table, at)
    for _ in range(20):
        with transaction.atomic():
            reconcile.set_bounds(settings.SYNC_BATCH_TIMEOUT_MS)
            open_ones = list(_open().select_for_update(skip_locked=True).order_by("pk")[:MOST_AT_ONCE])
            reach("sync.deletion.after_claim", [one.person_id for one in open_ones])
            done = [one for one in open_ones if _carry_out(one)]
            Tombstone.objects.filter(pk__in=[one.pk for one in done]).update(applied_at=at)
            reach("sync.deletion.before_commit", [one.person_id for one in done])
        reach("sync.deletion.after_commit", [one.person_id for one in done])
        report.retired += len(done)
        if len(done) < MOST_AT_ONCE:
            break
    _review(at)
    return report


def decide(*, hold_id: int, is_released: bool, by: str, at: dt.datetime) -> Hold:
    """
    Let held deletions take effect, or keep the copies as they are: then the deletions count as mistakes.

    Rejected ones leave no tombstone: rows that come back are linked and kept equal as before. Raises DecidedAlready.
    """
    with transaction.atomic():
        hold = Hold.objects.select_for_update().get(pk=hold_id)
        if hold.decided_at is not None:
            raise DecidedAlready(hold)
        hold.decided_at, hold.decided_by, hold.is_released = at, by, is_released
        hold.save(update_fields=["decided_at", "decided_by", "is_released"])
        if not is_released:
            Tombstone.objects.filter(hold_id=hold.pk).delete()
        word = "deletions_released" if is_released else "deletions_rejected"
        History.objects.create(
            actor=by, action=word, object_type="hold", object_id=str(hold.pk), request_id=request_id.get()
        )
        findings.decided(operation=MASS, target=HELD_TABLE, entity_ids=[str(hold.pk)], by=by, at=at)
        reach("sync.hold.decide.before_commit")
    reach("sync.hold.decide.after_commit")
    return hold


def prune(*, at: dt.datetime) -> None:
    """Take tombstones away after their time; what waits for a decision stays."""
    old = Tombstone.objects.filter(at__lt=at - dt.timedelta(days=settings.SYNC_TOMBSTONES_KEPT_DAYS))
    old.filter(Q(applied_at__isnull=False) | Q(kind=Tombstone.Kind.UNLINKED)).delete()


def _open() -> "QuerySet[Tombstone]":
    released = Hold.objects.filter(is_released=True).values("pk")
    return Tombstone.objects.filter(
        Q(hold_id=None) | Q(hold_id__in=released), applied_at=None, kind=Tombstone.Kind.DELETED
    )


def _hold_masses(table: Table, at: dt.datetime) -> int:
    """Hold what was deleted from one table when it is more than anybody deletes by hand."""
    since = at - dt.timedelta(minutes=settings.SYNC_MASS_DELETION_MINUTES)
    recent = Tombstone.objects.filter(target=table.name, kind=Tombstone.Kind.DELETED, at__gt=since)
    # What a person has let pass is no part of the next mass.
    counted = recent.exclude(hold_id__in=Hold.objects.filter(decided_at__isnull=False).values("pk"))
    number = counted.count()
    waiting = counted.filter(applied_at=None, hold_id=None)
    if not _is_mass(table, number) or not waiting.exists():
        return 0
    with transaction.atomic():
        hold = Hold.objects.select_for_update().filter(target=table.name, decided_at=None).first()
        if hold is None:
            hold = Hold.objects.create(target=table.name)
        held = waiting.update(hold_id=hold.pk)
        reach("sync.hold.before_commit")
    reach("sync.hold.after_commit")
    logger.warning("sync.deletions.held", extra={"target": table.name, "number": held})
    return held


def _is_mass(table: Table, number: int) -> bool:
    if number > settings.SYNC_MASS_DELETIONS:
        return True
    if number < settings.SYNC_MASS_DELETION_LEAST:
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.name}")
        before = int(cursor.fetchone()[0]) + number
    return number * 100 > before * settings.SYNC_MASS_DELETION_PERCENT


def _carry_out(tombstone: Tombstone) -> bool:
    """Give each copy of a source that is gone its declared value; True when nothing is left to do."""
    declared = declaration()
    source = declared.table(tombstone.target)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            for target in declared.tables:
                if statement := _absence(declared, source, target):
                    cursor.execute(f"LOCK TABLE ONLY {target.name} IN ROW EXCLUSIVE MODE NOWAIT")
                    cursor.execute(statement, {"person": tombstone.person_id})
    except DatabaseError as error:
        logger.info("sync.deletion.open", extra={"tombstone": tombstone.pk, "code": sqlstate(error)})
        return False
    return True


def _absence(declared: Declaration, source: Table, target: Table) -> str | None:
    """Give the UPDATE of one person's copies of a source's row that is not there; None: nothing is declared for that."""
    pairs = [
        pair
        for pair in declared.pairs
        if (pair.source.table, pair.copy.table) == (source.name, target.name) and pair.absent is not None
    ]
    if not pairs:
        return None
    assignments = ", ".join(f"{pair.copy.column} = {pair.absent}" for pair in pairs)
    differs = " OR ".join(f"{pair.copy.column} IS DISTINCT FROM {pair.absent}" for pair in pairs)
    return (
        f"UPDATE {target.name} SET {assignments}, net_revision = nextval('{statements.SEQUENCE}')"
        f" WHERE {target.key} = %(person)s AND ({differs})"
        f" AND NOT EXISTS (SELECT FROM {source.name} WHERE {source.key} = %(person)s)"
    )


def _review(at: dt.datetime) -> None:
    """Keep one item for each hold that waits for a decision."""
    waiting = Hold.objects.filter(decided_at=None)
    numbers = dict(
        Tombstone.objects.filter(hold_id__in=waiting.values("pk"))
        .values("hold_id").annotate(number=Count("id")).values_list("hold_id", "number")
    )  # fmt: skip
    found = [
        Finding(str(hold.pk), f"{hold.target}: {numbers.get(hold.pk, 0)} deletions at once are held")
        for hold in waiting
    ]
    findings.review(operation=MASS, target=HELD_TABLE, findings=found, is_complete=True, at=at)
