"""Find drift and owe it, so that the workers bring it in line like any other debt."""

import logging

from django.db import DatabaseError
from django.utils import timezone

from sync import drift, identity, ledger
from sync.mirrors import declaration
from sync.models import Gap

logger = logging.getLogger(__name__)


def audit(*, owe: bool) -> dict[str, int | None]:
    """
    Compare every copy; give how many persons differ per target. With `owe` each is owed, which mends it.

    None: the target could not be read, which is not the same as no difference. The others are compared all the same.
    """
    closed = list(Gap.objects.filter(closed_at__isnull=False, audited_at=None).values_list("pk", flat=True))
    counts: dict[str, int | None] = {}
    for target in declaration().targets:
        try:
            counts[target] = _audit_target(target, owe=owe)
        except DatabaseError as error:
            code = getattr(error.__cause__, "sqlstate", None)
            logger.warning("sync.audit.unread", extra={"target": target, "code": code})
            counts[target] = None
    counts["unlinked"] = owe_unlinked() if owe else len(identity.unlinked())
    if owe and None not in counts.values():
        Gap.objects.filter(pk__in=closed).update(audited_at=timezone.now())
    return counts


def owe_unlinked() -> int:
    """
    Owe everything to persons for whom an unlinked row carries their address; gives their number.

    Two transactions that could not see each other, one with the person and one with the row, owe nothing of it.
    """
    unlinked = identity.unlinked()
    if unlinked:
        ledger.owe(people=unlinked, targets=declaration().targets, reason="link")
    return len(unlinked)


def _audit_target(target: str, *, owe: bool) -> int:
    differing = 0
    for found in drift.different(target):
        # A difference that a person accepted is no drift.
        accepted = {person_id for person_id, _ in ledger.excluded((p, target) for p in found)}
        people = [person_id for person_id in found if person_id not in accepted]
        differing += len(people)
        if owe and people:
            ledger.owe(people=people, targets=[target], reason="audit")
    return differing
