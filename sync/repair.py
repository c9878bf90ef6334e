"""Find drift and owe it, so that the workers bring it in line like any other debt."""

from django.utils import timezone

from sync import drift, ledger
from sync.mirrors import declaration
from sync.models import Gap


def audit(*, owe: bool) -> dict[str, int]:
    """Compare every copy; give how many persons differ per target. With `owe` each is owed, which mends it."""
    counts: dict[str, int] = {}
    for target in declaration().targets:
        counts[target] = 0
        for people in drift.different(target):
            counts[target] += len(people)
            if owe and people:
                ledger.owe(people=people, targets=[target], reason="audit")
    unlinked = drift.unlinked()
    counts["unlinked"] = len(unlinked)
    if owe and unlinked:
        ledger.owe(people=unlinked, targets=declaration().targets, reason="link")
    if owe:
        Gap.objects.filter(closed_at__isnull=False, audited_at=None).update(audited_at=timezone.now())
    return counts
