"""How the copies of the persons on a page stand, in words that staff read."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError
from django.urls import reverse

from interventions.admin import sentences
from interventions.patience import looking
from sync import pauses, queries
from sync.pauses import Scope
from sync.queries import TargetState
from therapists.mirrors import ENROLLMENTS, PROFILES, USERS
from therapists.models import Enrollment, Profile

PLACES = {
    USERS: "User", ENROLLMENTS: "Enrollment", PROFILES: "Public profile", "listing": "Public directory", "mail": "Notices by mail",
    "analytics": "Analytics",
}  # fmt: skip
# Looks are the desk's style classes.
GOOD, BUSY, LATE, BAD, PLAIN = "kw-resolved", "kw-retrying", "kw-reopened", "kw-open", "kw-plain"
STATES = {
    "in_sync": ("up to date", GOOD),
    "unverifiable": ("up to date, cannot be read back", GOOD),
    "due": ("follows now", BUSY),
    "leased": ("being written", BUSY),
    "backing_off": ("tried again by itself", LATE),
    "parked": ("waits until it works again or is switched on", LATE),
    "blocked": ("needs a person", BAD),
    "excluded": ("no copy kept", PLAIN),
    "deleted": ("deleted", PLAIN),
}
DUE = frozenset({"due", "leased"})
NEEDS_A_PERSON = frozenset({"blocked"})


@dataclass(frozen=True)
class Summary:
    """One person's copies in one word, and how it looks."""

    word: str
    look: str


NOBODY = Summary("not linked", PLAIN)
UNREAD = Summary("cannot be read", BAD)


@dataclass(frozen=True)
class CopyLine:
    """One place of one person on the change page."""

    place: str
    word: str
    look: str
    since: dt.datetime | None
    next_try_at: dt.datetime | None
    attempts: int
    link: str
    # Nothing is planned because it is anybody's turn now.
    is_due: bool


def summary(states: Sequence[TargetState]) -> Summary:
    """Sum one person's states up."""
    kept = [state for state in states if state.applies]
    if not kept:
        return Summary("no copies", PLAIN)
    if any(state.state in NEEDS_A_PERSON for state in kept):
        return Summary("needs a person", BAD)
    synced = sum(state.is_synced for state in kept)
    if synced == len(kept):
        return Summary("up to date", GOOD)
    return Summary(f"{synced} of {len(kept)}, following", LATE)


def summaries(person_ids: Collection[int]) -> dict[int, Summary]:
    """Sum up the copies of each person in one reading; `UNREAD` where there is none to be had."""
    states = _states(person_ids)
    if states is None:
        return dict.fromkeys(person_ids, UNREAD)
    return {i: summary([state for state in states if state.person_id == i]) for i in person_ids}


def lines(person_id: int) -> list[CopyLine] | None:
    """List every place of one person with a link to its row, if anything is kept; None: it cannot be read."""
    states = _states([person_id])
    if states is None or not any(state.applies for state in states):
        return None if states is None else []
    links = _links(person_id)
    return [
        CopyLine(
            PLACES.get(state.target, state.target), *STATES.get(state.state, (state.state, PLAIN)),
            state.owed_since, state.next_attempt_at, state.attempts, links.get(state.target, ""),
            state.state in DUE,
        )
        for state in states
    ]  # fmt: skip


@dataclass(frozen=True)
class PauseLine:
    """Who switched the work on a person's copies off, when and why."""

    who: str
    at: dt.datetime
    note: str


def pause_of(person_id: int) -> PauseLine | None:
    """Tell who paused the work on this person's copies; None: nobody, or it cannot be read."""
    try:
        with looking():
            found = pauses.listed(Scope.PERSON, [str(person_id)]).get(str(person_id))
            return None if found is None else PauseLine(sentences.who([found.by])[found.by], found.at, found.note)
    except (DatabaseError, InterfaceError):
        return None


def _states(person_ids: Collection[int]) -> list[TargetState] | None:
    if not person_ids:
        return []
    try:
        with looking():
            return queries.sync_states(person_ids)
    except (DatabaseError, InterfaceError):
        return None


def _links(person_id: int) -> dict[str, str]:
    found = {USERS: reverse("admin:therapists_user_change", args=[person_id])}
    try:
        with looking():
            for target, model in ((ENROLLMENTS, Enrollment), (PROFILES, Profile)):
                pk = model.objects.filter(user_id=person_id).values_list("pk", flat=True).first()
                if pk is not None:
                    found[target] = reverse(f"admin:therapists_{model._meta.model_name}_change", args=[pk])
    except (DatabaseError, InterfaceError):
        return found
    return found
