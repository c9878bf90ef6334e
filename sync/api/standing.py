"""How a person's copies stand, read after the commit, quickly or not at all."""

import datetime as dt
import logging
from collections.abc import Callable, Collection

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from interventions.api.envelope import Standing, TargetStanding
from interventions.sqlstates import sqlstate
from sync import queries
from sync.mirrors import declaration
from sync.queries import TargetState

logger = logging.getLogger(__name__)
# Services hear of a change after the answer, from workers; for so long that is no delay.
TOLD_WITHIN = dt.timedelta(seconds=30)


# Of the person whose row `e` belongs to, for `standing_beside`.
STATES = queries.states_beside("e.user_id")


def read_standing(person_id: int | None) -> Standing:
    """Tell how the person's copies stand; None is nobody, who has no copies. Never raises: `is_known` says what failed."""
    return _standing(person_id, queries.sync_states)


def standing_after_write(person_id: int | None) -> Standing:
    """
    As `read_standing`, for the answer to a write: services are among the places where they are in trouble, and only then.

    They hear of a change after the answer, from workers: counted as behind they would make every write look as if
    something were amiss. One that failed, waits for staff, or has not heard for longer than TOLD_WITHIN is among them.
    """
    return _standing(person_id, queries.sync_states, are_healthy_services_left_out=True)


def standing_beside(states: str | None) -> Standing:
    """As `standing_after_write`, from what a statement read with STATES."""
    return _told(queries.told_beside(states), are_healthy_services_left_out=True)


def is_owed(states: str | None) -> bool:
    """Tell whether a statement has read with STATES that something is owed somewhere, services included."""
    return any(state.applies and not state.is_synced for state in queries.told_beside(states))


def standing_past_locks(person_id: int | None) -> Standing:
    """As `standing_after_write`, from debt and ledger alone: where a look at the copies has just failed."""
    return _standing(person_id, queries.states_of_owed, are_healthy_services_left_out=True)


def _standing(
    person_id: int | None,
    states: Callable[[Collection[int]], list[TargetState]],
    *,
    are_healthy_services_left_out: bool = False,
) -> Standing:
    if person_id is None:
        return Standing()
    try:
        found = states([person_id])
    except (DatabaseError, InterfaceError) as error:
        code = sqlstate(error)
        logger.warning("sync.standing.unread", extra={"person_id": person_id, "code": code})
        return Standing(is_known=False)
    return _told(found, are_healthy_services_left_out=are_healthy_services_left_out)


def _told(found: Collection[TargetState], *, are_healthy_services_left_out: bool) -> Standing:
    states = [state for state in found if state.applies]
    if are_healthy_services_left_out:
        states = [state for state in states if not _is_healthy_service(state)]
    return Standing([TargetStanding(s.target, s.state, s.is_synced) for s in states])


def _is_healthy_service(state: TargetState) -> bool:
    if state.target in declaration().targets:
        return False
    is_new = state.owed_since is None or timezone.now() - state.owed_since < TOLD_WITHIN
    return state.is_synced or (state.state == "due" and not state.attempts and is_new)
