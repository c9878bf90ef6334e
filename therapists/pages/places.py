"""Where somebody's data is kept, and how up to date each place is, in words that need no explanation."""

import datetime as dt
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from interventions.api.envelope import Standing, TargetStanding, sentence
from sync import queries
from sync.fallback import with_graceful_degradation
from sync.queries import TargetState
from therapists import operations
from therapists.api.answers import saved
from therapists.mirrors import ENROLLMENTS, PROFILES, USERS
from therapists.models import Enrollment
from therapists.pages.frame import done, own, person_of, shown
from therapists.queries import own_enrollment

# What each place is to the person, and what of theirs is there.
PLACES = {
    USERS: ("Your account", "What you sign in with: your name, your address and your picture."),
    ENROLLMENTS: ("Your file with us", "What you told us when you applied, and every change since."),
    PROFILES: ("Your public profile", "What people who look for a therapist read about you."),
    "listing": ("Public directories", "Directories that show approved therapists. They hear of every change."),
    "mail": ("Letters to you", "What we write to you when a decision about your profile is made."),
    "sms": ("Text messages", "Reminders of bookings."),
    "analytics": ("Our statistics", "That something changed, and never what. No name and no address."),
    "assistant": ("Writing suggestions", "Suggestions for your bio, only when you ask for one."),
}
GOOD, SOON, LATER, STAFF = "good", "soon", "later", "staff"
STATES = {
    "in_sync": (GOOD, "Up to date", ""),
    "unverifiable": (GOOD, "Up to date", "They took your last change; they cannot be asked what they show."),
    "due": (SOON, "Following", "Your last change is on its way."),
    "leased": (SOON, "Following", "Your last change is being written there now."),
    "backing_off": (LATER, "Following", "It did not work at first. It is tried again by itself."),
    "parked": (LATER, "Waiting", "That place cannot be written right now. It follows by itself; nothing is lost."),
    "blocked": (STAFF, "Needs our staff", "It cannot be brought up to date by itself. Our staff have been told."),
}
UNTOLD = (SOON, "Following", "")


@dataclass(frozen=True)
class Place:
    """One place on the page; `since`: from when on it is behind, if it is."""

    name: str
    holds: str
    look: str
    word: str
    told: str
    since: dt.datetime | None


def states_of(person_id: int) -> list[TargetState] | None:
    """Give every place that applies to somebody; None: it cannot be read now."""
    try:
        found = [state for state in queries.sync_states([person_id]) if state.applies]
    except (DatabaseError, InterfaceError):
        return None
    order = list(PLACES)
    return sorted(found, key=lambda one: order.index(one.target) if one.target in PLACES else len(order))


def standing(states: list[TargetState] | None) -> Standing:
    """Sum up."""
    if states is None:
        return Standing(is_known=False)
    return Standing([TargetStanding(one.target, one.state, one.is_synced) for one in states])


def place(state: TargetState) -> Place:
    """Say one place in plain words; one that has no words yet by its own name."""
    name, holds = PLACES.get(state.target, (state.target.replace("_", " ").capitalize(), ""))
    look, word, told = STATES.get(state.state, UNTOLD)
    return Place(name, holds, look, word, told, None if state.is_synced else state.owed_since)


@own("GET", "POST")
def page(request: HttpRequest) -> HttpResponse:
    """Show where somebody's data is; a POST brings every place in line now, within bounds."""
    person_id = person_of(request)
    if not Enrollment.objects.filter(user_id=person_id).exists():
        return shown(request, "nothing", "places", is_therapist=False, status=404 if request.method == "POST" else 200)
    if request.method == "POST":
        tried = with_graceful_degradation(
            lambda: operations.sync_all_therapist_data(person_id),
            name="sync_all_therapist_data", entity_id=str(person_id),
        )  # fmt: skip
        told = saved(own_enrollment(person_id), what="Checked.", warnings=tried.warnings).data
        return done(request, told["message"], "own:places", is_well=not told["degraded"])
    states = states_of(person_id)
    return shown(
        request, "places", "places", is_therapist=True, places=[place(one) for one in states or []],
        is_known=states is not None, sentence=sentence(standing(states)), is_behind=standing(states).is_degraded,
    )  # fmt: skip
