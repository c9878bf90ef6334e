"""Bulk retries: planned, tried on a few, then at a bounded rate; each step one transaction, so that nothing is done twice."""

import csv
import datetime as dt
import io
import logging
import uuid
from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse

from interventions import cleaning, events, idempotency, operations, patience
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.items import SYSTEM
from interventions.models import History, Intervention, RetryOutcome, RetryRun, RetryRunItem, RetryState, State
from interventions.queries import NEEDS_A_PERSON

logger = logging.getLogger(__name__)

# So many are tried before the rest: one that fails again stops the run, and a person decides.
CANARIES = 5
# One step holds the rows of so many items; more are a matter of the next steps.
MOST_A_STEP = 500
# What workers have not answered yet: a worker that stands still must not find everything in its hands.
MOST_IN_FLIGHT = 2000
MOST_PLANNED = 200_000
LIVE = (RetryState.CANARY, RetryState.RUNNING)
ENDED = (RetryState.CANCELLED, RetryState.DONE)
# From which states a press of the button leads on.
_FROM = {
    "start": (RetryState.PLANNED,),
    "pause": LIVE,
    "resume": (RetryState.PAUSED, RetryState.STOPPED),
    "cancel": (RetryState.PLANNED, *LIVE, RetryState.PAUSED, RetryState.STOPPED),
}
_VERDICTS = """
UPDATE intervention_retry_run_item AS part SET at = %(at)s,
    outcome = CASE WHEN item.resolved OR item.id IS NULL THEN 'fixed' ELSE 'failed' END
FROM intervention_retry_run_item AS asked LEFT JOIN manual_intervention_log AS item ON item.id = asked.item_id
WHERE part.id = asked.id AND asked.run_id = %(run)s AND asked.outcome = 'asked'
  AND (item.id IS NULL OR item.resolved OR item.state <> 'retrying')
"""


class WrongState(Exception):
    """The run is not in a state in which that can be done."""


class NothingToRetry(Exception):
    """None of the items needs a person and names what could be tried again."""


def plan(*, items: "QuerySet[Intervention]", title: str, by: str, at: dt.datetime, cause: str = "") -> RetryRun:
    """
    Put a bulk retry of those of the items on record that need a person now, at most MOST_PLANNED; nothing is tried yet.

    `cause` names the fingerprint where all of them share it.

    Raises NothingToRetry.
    """
    wanted = items.filter(
        resolved=False, state__in=NEEDS_A_PERSON, timestamp__lte=at, person_id__isnull=False
    ).exclude(target="")  # fmt: skip
    found, words = wanted.order_by("timestamp", "pk").values_list("pk", "person_id", "target").query.sql_with_params()
    with transaction.atomic(), idempotency.keyed():
        run = RetryRun.objects.create(title=title, cause=cause, state=RetryState.PLANNED, asked_by=by, asked_at=at)
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO intervention_retry_run_item (run_id, item_id, person_id, target)"
                f" SELECT %s, found.* FROM ({found} LIMIT {MOST_PLANNED}) AS found",
                [run.pk, *words],
            )
            run.total = cursor.rowcount
        if not run.total:
            transaction.set_rollback(True)
            raise NothingToRetry
        run.save(update_fields=["total"])
        _note(run, "retry_planned", by, None)
        idempotency.remember(run=str(run.pk))
    return run


def switch(*, run_id: uuid.UUID, action: str, by: str, at: dt.datetime) -> RetryRun:
    """
    Start, pause, resume or cancel. Retries that were asked for already are answered all the same.

    Going on after the first ones failed is a decision, and has its line of history like every other. Raises WrongState
    where the run's state does not allow it, RetryRun.DoesNotExist and KeyError.
    """
    allowed = _FROM[action]
    with patience.bounded():
        run = RetryRun.objects.select_for_update().get(pk=run_id)
        if run.state not in allowed:
            raise WrongState
        before = run.state
        if action == "pause":
            run.state = RetryState.PAUSED
        elif action == "cancel":
            run.state, run.finished_at = RetryState.CANCELLED, at
            run.retryrunitem_set.filter(outcome=RetryOutcome.WAITING).update(outcome=RetryOutcome.LEFT, at=at)
        else:
            run.is_past_canary = run.is_past_canary or before == RetryState.STOPPED
            run.state = RetryState.RUNNING if run.is_past_canary else RetryState.CANARY
            run.started_at, run.moved_at = run.started_at or at, at
        run.save()
        _note(run, f"run_{action}", by, before)
        reach("interventions.run.switch.before_commit")
    reach("interventions.run.switch.after_commit")
    return run


def advance_all(*, at: dt.datetime) -> int:
    """Take every run that is under way one step further, whatever becomes of the others; gives how many were asked for."""
    under_way = RetryRun.objects.exclude(state__in=(RetryState.PLANNED, RetryState.DONE))
    # A run that ended goes on until each of its retries has been answered.
    ids = under_way.filter(retryrunitem__outcome__in=(RetryOutcome.WAITING, RetryOutcome.ASKED)).distinct()
    asked = 0
    for pk in ids.order_by("asked_at").values_list("pk", flat=True):
        try:
            asked += advance(run_id=pk, at=at)
        except DatabaseError as error:
            logger.warning("interventions.run.step.failed", extra={"run": str(pk), "code": cleaning.code(error)})
    return asked


def advance(*, run_id: uuid.UUID, at: dt.datetime) -> int:
    """
    Take up the answers to what was asked for, and ask for the next retries; gives how many.

    One transaction under the run's lock: whoever dies in it has done nothing, and nobody does the same beside it.
    """
    with transaction.atomic():
        run = RetryRun.objects.select_for_update(skip_locked=True).filter(pk=run_id).first()
        if run is None:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_VERDICTS, {"run": run.pk, "at": at})
        counts = report(run)
        if run.state == RetryState.CANARY:
            _judge(run, counts)
        number = _allowance(run, counts, at)
        asked = _ask(run, number, at) if number else 0
        if run.state in LIVE and not asked and not counts["asked"] and not _has_waiting(run):
            before, run.state, run.finished_at = run.state, RetryState.DONE, at
            _note(run, "run_done", SYSTEM, before)
        run.moved_at = at
        run.save()
        events.announce("run.updated", [run.pk])
        reach("interventions.run.step.before_commit")
    reach("interventions.run.step.after_commit")
    if asked:
        operations.wake()
    return asked


def report(run: RetryRun) -> Counter[str]:
    """Count the run's items by outcome; the numbers add up to all of them."""
    return Counter(dict(run.retryrunitem_set.order_by().values_list("outcome").annotate(Count("pk"))))


def with_progress(runs: "QuerySet[RetryRun]") -> "QuerySet[RetryRun]":
    """
    Add to each run how many of its items are `waiting`, `asked` and `left`, and whether one of them `has_failed`.

    One statement, which reads those items alone.
    """
    failed = RetryRunItem.objects.filter(run=OuterRef("pk"), outcome=RetryOutcome.FAILED)
    return runs.annotate(
        waiting=_number_of(RetryOutcome.WAITING),
        asked=_number_of(RetryOutcome.ASKED),
        left=_number_of(RetryOutcome.LEFT),
        has_failed=Exists(failed),
    )


def as_csv(run: RetryRun) -> Iterator[str]:
    """Give the report line by line: ids, names of places and words of ours, nothing that a spreadsheet would run."""
    yield _row(("intervention", "person", "target", "outcome", "at (UTC)", "page"))
    pages = f"{settings.BASE_URL.rstrip('/')}{reverse('admin:interventions_intervention_changelist')}"
    for part in run.retryrunitem_set.order_by("pk").iterator(chunk_size=2000):
        label = RetryOutcome(part.outcome).label
        at, page = part.at.isoformat() if part.at else "", f"{pages}{part.item_id}/change/"
        yield _row((str(part.item_id), str(part.person_id), part.target, label, at, page))


def prune(*, at: dt.datetime) -> None:
    """Forget runs that ended long ago, or were planned then and never started, with their items; history stays."""
    before = at - dt.timedelta(days=settings.SYNC_ATTEMPTS_KEPT_DAYS)
    never = Q(state=RetryState.PLANNED, asked_at__lt=before)
    RetryRun.objects.filter(Q(state__in=ENDED, finished_at__lt=before) | never).delete()


def _number_of(outcome: RetryOutcome) -> Coalesce:
    of_run = RetryRunItem.objects.filter(run=OuterRef("pk"), outcome=outcome).order_by().values("run")
    return Coalesce(Subquery(of_run.values(number=Count("pk"))), 0)


def _judge(run: RetryRun, counts: Counter[str]) -> None:
    """Decide by the first ones: one that failed again stops the run; while one has no answer, everything waits."""
    if counts["failed"] and counts["waiting"]:
        before, run.state = run.state, RetryState.STOPPED
        _note(run, "run_stop", SYSTEM, before)
    elif not counts["asked"] and (counts["fixed"] or counts["failed"]):
        run.is_past_canary, run.state = True, RetryState.RUNNING


def _allowance(run: RetryRun, counts: Counter[str], at: dt.datetime) -> int:
    """Give how many more may be asked for now."""
    if run.state == RetryState.CANARY:
        return 0 if counts["asked"] else CANARIES
    if run.state != RetryState.RUNNING:
        return 0
    seconds = (at - run.moved_at).total_seconds() if run.moved_at else 0.0
    by_rate = max(1, round(seconds * settings.RETRY_RUN_PER_SECOND))
    return max(0, min(by_rate, MOST_A_STEP, MOST_IN_FLIGHT - counts["asked"]))


def _ask(run: RetryRun, number: int, at: dt.datetime) -> int:
    parts = {p.item_id: p for p in run.retryrunitem_set.filter(outcome=RetryOutcome.WAITING).order_by("pk")[:number]}
    wanted = Intervention.objects.filter(pk__in=parts).order_by("pk")
    # Never waited for: whoever holds one item would hold the worker, and with it every run.
    items = {item.pk: item for item in wanted.select_for_update(skip_locked=True)}
    held = set(wanted.values_list("pk", flat=True)) - items.keys() if len(items) < len(parts) else set[uuid.UUID]()
    parts = {item_id: part for item_id, part in parts.items() if item_id not in held}
    for item_id, part in parts.items():
        item = items.get(item_id)
        if item is None or item.resolved:
            part.outcome = RetryOutcome.ALREADY
        elif item.state == State.RETRYING:
            part.outcome = RetryOutcome.SKIPPED
        else:
            part.outcome = RetryOutcome.ASKED
        part.at = at
    RetryRunItem.objects.bulk_update(parts.values(), ["outcome", "at"])
    asked = [item_id for item_id, part in parts.items() if part.outcome == RetryOutcome.ASKED]
    if asked:
        operations.ask_again(items=[items[i] for i in asked], by=run.asked_by, at=at, run_id=run.pk)
    return len(asked)


def _has_waiting(run: RetryRun) -> bool:
    return run.retryrunitem_set.filter(outcome=RetryOutcome.WAITING).exists()


def _note(run: RetryRun, action: str, by: str, before: str | None) -> None:
    History.objects.create(
        actor=by, action=action, object_type="retry_run", object_id=str(run.pk), from_state=before,
        to_state=run.state, run_id=run.pk, request_id=request_id.get(),
    )  # fmt: skip


def _row(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    # What begins like a formula is a text.
    csv.writer(out).writerow([f"'{cell}" if cell[:1] in set("=+-@\t\r") else cell for cell in cells])
    return out.getvalue()
