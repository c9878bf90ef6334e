"""How a person's copies stand, read after the commit, quickly or not at all."""

import logging

from django.db import DatabaseError, InterfaceError

from interventions.api.envelope import Standing, TargetStanding
from sync import queries

logger = logging.getLogger(__name__)


def read_standing(person_id: int | None) -> Standing:
    """Tell how the person's copies stand; None is nobody, who has no copies. Never raises: `is_known` says what failed."""
    if person_id is None:
        return Standing()
    try:
        states = queries.sync_states([person_id])
    except (DatabaseError, InterfaceError) as error:
        code = str(getattr(error.__cause__, "sqlstate", None) or "08000")
        logger.warning("sync.standing.unread", extra={"person_id": person_id, "code": code})
        return Standing(is_known=False)
    return Standing([TargetStanding(s.target, s.state, s.is_synced) for s in states if s.applies])
