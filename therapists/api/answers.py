"""Answers about one enrollment, composed after the commit and the fan-out."""

import logging
from collections.abc import Sequence

from django.db import DatabaseError, InterfaceError
from rest_framework.response import Response

from interventions.api.envelope import answered
from sync.api.standing import bounded_read, read_standing
from therapists.api.serializers import profile_of
from therapists.models import Enrollment
from therapists.queries import revision_of

logger = logging.getLogger(__name__)


def revision(enrollment: Enrollment) -> int | None:
    """Give the revision that an answer shows; None when it cannot be read now, which fails nobody's write."""
    try:
        with bounded_read():
            return revision_of(enrollment.pk)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("therapists.revision.unread", extra={"reason": type(error).__name__})
        return None


def saved(
    enrollment: Enrollment, *, data: object = None, what: str = "Saved.", warnings: Sequence[str] = ()
) -> Response:
    """Answer a write on an enrollment; without `data`, with the profile."""
    return answered(
        read_standing(enrollment.user_id), revision=revision(enrollment), what=what, warnings=warnings,
        data=profile_of(enrollment) if data is None else data,
    )  # fmt: skip
