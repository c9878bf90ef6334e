"""Staff's decisions about enrollments: approve, reject or suspend, and what a decision ends."""

import datetime as dt
import logging
from dataclasses import dataclass
from enum import StrEnum

from django.db import DatabaseError, connection, transaction

from interventions import idempotency
from interventions.correlation import request_id
from interventions.models import History
from interventions.sqlstates import name_of
from sync.strict import Strict
from therapists import bookings
from therapists.models import Enrollment, Profile, Status
from therapists.operations import (
    PRIMARY_LOCK_MS,
    PRIMARY_STATEMENT_MS,
    note_revision,
    primary,
    save_facts,
    set_bounds,
)

logger = logging.getLogger(__name__)

DECISION = Strict("decision", because="Whoever is rejected is let in nowhere, from the answer on.")
# A missing profile row is a copy's trouble: it may cost the decision this much and no more.
PROFILE_LOCK_MS, PROFILE_STATEMENT_MS = 20, 300


class Decision(StrEnum):
    """What staff may decide about an enrollment."""

    APPROVE = "approve"
    REJECT = "reject"
    SUSPEND = "suspend"


STATUS_AFTER = {
    Decision.APPROVE: Status.APPROVED, Decision.REJECT: Status.REJECTED, Decision.SUSPEND: Status.SUSPENDED,
}  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """The enrollment after a decision, and the ids of the bookings that it cancelled."""

    enrollment: Enrollment
    cancelled: list[int]


@DECISION.exact
def decide(*, enrollment_id: int, decision: Decision, reason: str, by: str, at: dt.datetime) -> Decided:
    """
    Decide about an enrollment, strictly: it is saved with its lines of history, or nothing is.

    With anything but an approval everything booked ahead of the therapist is cancelled, and what was paid is given back.
    The same decision again changes the reason only. Raises Enrollment.DoesNotExist.
    """
    wanted = STATUS_AFTER[Decision(decision)]
    with primary(by=by):
        enrollment = Enrollment.objects.select_for_update(no_key=True).get(pk=enrollment_id)
        person = enrollment.user_id
        if wanted is Status.APPROVED and person is not None:
            _ensure_profile(person)
        before = enrollment.status
        facts: dict[str, object] = {"status_reason": reason, "status": wanted}
        if before != wanted:
            facts["approved_at"] = at if wanted is Status.APPROVED else None
        save_facts(enrollment, facts)
        if before != wanted:
            History.objects.create(
                actor=by, action=str(decision), object_type="enrollment", object_id=str(enrollment.pk),
                from_state=before, to_state=wanted, request_id=request_id.get(),
            )  # fmt: skip
        # Whoever books or confirms holds the enrollment, too: they came before and are seen, or read the new status.
        ended = [person] if person is not None and wanted is not Status.APPROVED else []
        cancelled = bookings.call_off(people=ended, by=by, at=at) if ended else []
        note_revision(enrollment)
        idempotency.remember(cancelled=cancelled)
    return Decided(enrollment, cancelled)


def approve_therapist(*, enrollment_id: int, by: str, at: dt.datetime) -> Enrollment:
    """Approve an enrollment, and make the public profile's row where it is missing; raises Enrollment.DoesNotExist."""
    return decide(enrollment_id=enrollment_id, decision=Decision.APPROVE, reason="", by=by, at=at).enrollment


def _ensure_profile(person_id: int) -> None:
    """Make the profile's row where it is missing; its trouble is written down by the net and never undoes a decision."""
    try:
        with transaction.atomic():
            set_bounds(PROFILE_LOCK_MS, PROFILE_STATEMENT_MS)
            Profile.objects.bulk_create([Profile(user_id=person_id)], ignore_conflicts=True)
            with connection.cursor() as cursor:
                # Foreign keys are checked at commit, outside this savepoint, unless asked for now. Nothing else is
                # pending yet, so no copy is made early.
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            set_bounds(PRIMARY_LOCK_MS, PRIMARY_STATEMENT_MS)
    except DatabaseError as error:
        logger.warning("therapists.profile.not_created", extra={"person_id": person_id, "code": name_of(error)})
