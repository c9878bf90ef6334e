"""How far audits have looked: every write carries a number, and an audit remembers up to which it saw them all."""

import datetime as dt
import logging

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet

from interventions.failpoints import reach
from interventions.sqlstates import sqlstate
from sync import net, statements
from sync.mirrors import declaration
from sync.models import Audit

logger = logging.getLogger(__name__)

# With more writes than that since the last audit, comparing everybody is as cheap.
MOST_WRITTEN = 50_000
LOCK_MS, KEPT_DAYS = 200, 30
_SEEN = """
SELECT covered FROM sync_audit
WHERE finished_at IS NOT NULL AND covered IS NOT NULL AND NOT EXISTS (SELECT FROM sync_gap WHERE audited_at IS NULL)
  AND EXISTS (SELECT FROM sync_audit WHERE is_full AND finished_at IS NOT NULL AND covered IS NOT NULL)
ORDER BY id DESC LIMIT 1
"""


def begin(*, is_full: bool) -> Audit:
    """
    Put an audit on record before it reads anything.

    The number comes first and the transaction id after it: whoever took a number up to this one had its id before, so
    has a lower one. (The highest id of a snapshot would not do: it is one past the last that ended, not the last begun.)
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT last_value FROM {statements.SEQUENCE}")
        (revision,) = cursor.fetchone()
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (xid,) = cursor.fetchone()
        audit = Audit.objects.create(is_full=is_full, revision=revision, xid=xid)
    reach("sync.audit.after_begin")
    audit.covered = _covered()
    return audit


def finish(audit: Audit, *, found: dict[str, object], at: dt.datetime) -> None:
    """Put on record what was found, and that everything up to `covered` has been seen."""
    audit.finished_at, audit.found = at, found
    reach("sync.audit.before_finish")
    audit.save(update_fields=["finished_at", "found", "covered"])
    reach("sync.audit.after_finish")
    if audit.is_full:
        _summarize()


def seen_up_to() -> int | None:
    """Give the number up to which every write has been seen by an audit; None: there is no telling, look at everybody."""
    with connection.cursor() as cursor:
        cursor.execute(_SEEN)
        found = cursor.fetchone()
    return None if found is None else int(found[0])


def written_since(number: int) -> list[int] | None:
    """
    Give the persons of whom a row was written with a higher number, in any table; None: too many to list.

    A small index of page ranges finds them without reading the tables.
    """
    newer = " OR ".join(f"{column} > %(number)s" for column in net.WRITTEN)
    everywhere = " UNION ALL ".join(
        f"(SELECT {table.key} FROM {table.name} WHERE ({newer}) AND {table.key} IS NOT NULL LIMIT {MOST_WRITTEN + 1})"
        for table in declaration().tables
    )
    with transaction.atomic(), connection.cursor() as cursor:
        # The statistics know nothing of the newest numbers.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
        cursor.execute(f"SELECT DISTINCT * FROM ({everywhere}) AS written LIMIT {MOST_WRITTEN + 1}", {"number": number})
        people = sorted(row[0] for row in cursor.fetchall())
    return people if len(people) <= MOST_WRITTEN else None


def prune(*, at: dt.datetime) -> None:
    """Forget audits of long ago, the newest full one aside."""
    old = Audit.objects.filter(started_at__lt=at - dt.timedelta(days=KEPT_DAYS))
    newest = _finished().filter(is_full=True).order_by("-id").values_list("pk", flat=True)[:1]
    old.exclude(pk__in=list(newest)).delete()


def _finished() -> QuerySet[Audit]:
    return Audit.objects.filter(finished_at__isnull=False, covered__isnull=False)


def _covered() -> int | None:
    """Give the highest remembered number of which every transaction has ended by now, so that whoever reads sees it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        (oldest,) = cursor.fetchone()
    return Audit.objects.filter(xid__lte=oldest).order_by("-id").values_list("revision", flat=True).first()


def _summarize() -> None:
    """Let the index know of pages that were filled since it was made; autovacuum does so too, later."""
    for table in declaration().tables:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
                cursor.execute("SELECT brin_summarize_new_values(to_regclass(%s))", [f"{table.name}_numbered"])
        except DatabaseError as error:
            logger.info("sync.audit.not_summarized", extra={"table": table.name, "code": sqlstate(error)})
