"""The figures of the first week: how consistent the facts are, what needs a person, what failed in users' faces."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from interventions import failures
from interventions.models import Intervention
from sync import surveys
from sync.consistency import Consistency, by_fact

WEEK = dt.timedelta(days=7)
FEWER_ITEMS = 5
# What the founding documents watch, by method and route.
WATCHED = {
    "Avatar upload": "PUT /api/v1/therapists/me/avatar/",
    "Profile edit": "PATCH /api/v1/therapists/me/",
    "Therapist approval": "POST /api/v1/enrollments/<int:pk>/decision/",
}


@dataclass(frozen=True)
class Week:
    """The figures. `unread` names the places that could not be read: nothing of theirs counts as consistent."""

    facts: tuple[Consistency, ...]
    open_interventions: int
    errors: dict[str, int]
    unread: tuple[str, ...] = ()

    @property
    def is_on_target(self) -> bool:
        """Whether everything is as the founding documents want it."""
        is_equal = all(one.consistent == one.of for one in self.facts)
        return is_equal and not self.unread and self.open_interventions < FEWER_ITEMS and not any(self.errors.values())

    def as_json(self) -> dict[str, Any]:
        """Give the figures for machines."""
        return {
            "facts": {f.fact: {"consistent": f.consistent, "of": f.of, "percent": f.percent} for f in self.facts},
            "open_interventions": self.open_interventions, "open_target": f"< {FEWER_ITEMS}", "errors": self.errors,
            "unread": list(self.unread), "is_on_target": self.is_on_target,
        }  # fmt: skip


def figures(*, at: dt.datetime) -> Week:
    """Compare everybody now and count; takes as long as an audit. Raises DatabaseError when it cannot know."""
    survey = surveys.everybody()
    facts = by_fact(survey.unequal, surveys.compared_people())
    return assembled(facts, at=at, unread=tuple(sorted(survey.unread)))


def assembled(facts: tuple[Consistency, ...], *, at: dt.datetime, unread: tuple[str, ...] = ()) -> Week:
    """Put together what an audit found and what is counted now."""
    return Week(
        facts=facts,
        open_interventions=Intervention.objects.filter(resolved=False).count(),
        errors=errors(at=at),
        unread=unread,
    )


def errors(*, at: dt.datetime) -> dict[str, int]:
    """Give how often each watched operation failed within a week, then the others that did."""
    found = failures.since(at - WEEK)
    watched = {name: found.pop(operation, 0) for name, operation in WATCHED.items()}
    return watched | found
