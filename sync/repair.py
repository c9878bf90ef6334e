"""Find drift and owe it, or write many at a time in a run; forget what was replaced."""

import datetime as dt
import logging
import time
import uuid
from collections.abc import Mapping

from django.conf import settings
from django.utils import timezone

from interventions import failures
from interventions.failpoints import reach
from sync import identity, ledger, marks, mending, runs, surveys, undoing
from sync.mirrors import declaration
from sync.models import Gap, Run, RunChange, RunKind, RunState

# A task takes a run so much further and leaves the rest to the next: nothing holds a worker for long.
WORKERS_SECONDS = 20

logger = logging.getLogger(__name__)


def audit(*, owe: bool, is_full: bool = True) -> dict[str, int | None]:
    """
    Compare every copy; give how many persons differ per target. With `owe` each is owed, which mends it.

    A full one gives what is blocked a chance besides. Not `is_full`: only what was written since the last audit, where that can be told; a write that no trigger saw leaves
    no trace of its time. None: the target could not be read, which is not the same as no difference. The others are
    compared all the same.
    """
    closed = list(Gap.objects.filter(closed_at__isnull=False, audited_at=None).values_list("pk", flat=True))
    since = None if is_full else marks.seen_up_to()
    written = None if since is None else marks.written_since(since)
    begun = marks.begin(is_full=written is None)
    hear = _owe if owe else _leave
    survey = surveys.everybody(seen=hear) if written is None else surveys.some(written, seen=hear)
    for target, code in survey.unread.items():
        logger.warning("sync.audit.unread", extra={"target": target, "code": code})
    counts: dict[str, int | None] = {
        target: None if target in survey.unread else survey.people[target] for target in declaration().targets
    }
    if owe and is_full:
        ledger.unblock(schema="", everything=True)
    if written is None:
        counts["unlinked"] = owe_unlinked() if owe else len(identity.unlinked())
    if not survey.unread and (owe or not survey.drift):
        # What was found and not owed must be found again.
        compared = {"compared": surveys.compared_people()} if written is None else {}
        marks.finish(begun, found=survey.as_json() | compared, at=timezone.now())
    if owe and written is None and not survey.unread:
        Gap.objects.filter(pk__in=closed).update(audited_at=timezone.now())
    return counts


def advance(run_id: uuid.UUID) -> bool:
    """Take a run one stride further; gives whether there is more to do. Raises Run.DoesNotExist and DatabaseError."""
    kind = Run.objects.values_list("kind", flat=True).get(pk=run_id)
    return undoing.advance(run_id) if kind == RunKind.UNDO else mending.advance(run_id)


def advance_for_workers(*, seconds: float = WORKERS_SECONDS) -> None:
    """Plan and advance the runs that were left to workers, for so long; the next call goes on where this one stopped."""
    deadline = time.monotonic() + seconds
    for run in Run.objects.filter(is_for_workers=True, state__in=(RunState.PLANNING, RunState.RUNNING)).order_by(
        "asked_at"
    ):
        if run.state == RunState.PLANNING:
            runs.write_plan(run_id=run.pk)
        while time.monotonic() < deadline and advance(run.pk):
            pass


def prune(*, at: dt.datetime) -> None:
    """Forget replaced values after their time, with them the chance of an undo, and audits and counts of long ago."""
    since = at - dt.timedelta(days=settings.SYNC_LOST_VALUES_KEPT_DAYS)
    RunChange.objects.filter(run__asked_at__lt=since).exclude(before=None).update(before=None, after=None)
    marks.prune(at=at)
    failures.prune(at=at)


def owe_unlinked() -> int:
    """
    Owe everything to persons for whom an unlinked row carries their address; gives their number.

    Two transactions that could not see each other, one with the person and one with the row, owe nothing of it.
    """
    unlinked = identity.unlinked()
    if unlinked:
        reach("sync.link.before_owe", unlinked)
        ledger.owe(people=unlinked, targets=declaration().targets, reason="link")
    return len(unlinked)


def _owe(people: Mapping[str, list[int]]) -> None:
    for target, found in people.items():
        reach("sync.audit.before_owe", found)
        ledger.owe(people=found, targets=[target], reason="audit")
        reach("sync.audit.after_owe", found)


def _leave(people: Mapping[str, list[int]]) -> None:
    """An audit that owes nothing only counts."""
