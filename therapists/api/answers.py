"""Answers about one enrollment, composed after the commit and the fan-out."""

import logging
from collections.abc import Sequence

from django.db import DatabaseError, InterfaceError
from rest_framework.response import Response

from interventions.api.envelope import Standing, answered
from interventions.patience import looking
from sync.api.standing import STATES, is_owed, standing_beside, standing_past_locks
from sync.receivers import Held
from therapists import versions
from therapists.api.serializers import profile_of
from therapists.models import Enrollment
from therapists.versions import Version

logger = logging.getLogger(__name__)


def current(enrollment: Enrollment) -> tuple[Enrollment, Version | None]:
    """
    Give the enrollment as it is now and the version that this is, from one statement: no tag covers what was not shown.

    Where that cannot be read now, which fails nobody's write: the one at hand, of no known version.
    """
    try:
        with looking():
            return versions.current(enrollment.pk)
    except (Enrollment.DoesNotExist, DatabaseError, InterfaceError) as error:
        logger.warning("therapists.revision.unread", extra={"reason": type(error).__name__})
        return enrollment, None


def saved(
    enrollment: Enrollment,
    *,
    data: object = None,
    what: str = "Saved.",
    warnings: Sequence[str] = (),
    fan_out: Held | None = None,
) -> Response:
    """Answer a write on an enrollment; without `data`, with the profile and its entity tag. `fan_out`: what waits for this look."""
    row, version, standing = _now(enrollment, fan_out or Held())
    answer = answered(
        standing, revision=version.revision if version else None, what=what, warnings=warnings,
        data=profile_of(row) if data is None else data,
    )  # fmt: skip
    return tagged(answer, version) if data is None else answer


def _now(enrollment: Enrollment, fan_out: Held) -> tuple[Enrollment, Version | None, Standing]:
    """Read profile, version and places from one statement; where one of them cannot be read now, each from its own."""
    try:
        row, version, states = _look(enrollment)
        standing = standing_beside(states)
        # Services hear of it later: they alone are no reason to look again.
        if fan_out.let_go(is_owed=is_owed(states)) and standing.is_degraded:
            row, version, states = _look(enrollment)
            standing = standing_beside(states)
        return row, version, standing
    except (Enrollment.DoesNotExist, DatabaseError, InterfaceError):
        fan_out.let_go()
        shown, known = current(enrollment)
        return shown, known, standing_past_locks(shown.user_id)


def _look(enrollment: Enrollment) -> tuple[Enrollment, Version, str | None]:
    with looking():
        return versions.current_beside(enrollment.pk, STATES)


def tagged(answer: Response, version: Version | None) -> Response:
    """Add the entity tag of the profile that is shown."""
    if version is not None:
        answer["ETag"] = version.tag
    return answer
