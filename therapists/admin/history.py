"""Which facts of a person changed last, where, when and by whom, in words; never what they say."""

import datetime as dt
from dataclasses import dataclass

from interventions.admin import sentences
from sync import changes
from therapists.admin.copies import PLACES


@dataclass(frozen=True)
class FactLine:
    """One fact's last change in one place."""

    fact: str
    place: str
    at: dt.datetime
    who: str
    is_replaced: bool


def lines(person_id: int) -> list[FactLine]:
    """List what is known of a person, newest first. Raises DatabaseError."""
    found = changes.newest(person_id)
    names = sentences.who({change.actor for change in found})
    return [
        FactLine(
            change.fact.replace("_", " "), PLACES.get(change.place, change.place), change.at, names[change.actor],
            change.is_replaced,
        )
        for change in found
    ]  # fmt: skip
