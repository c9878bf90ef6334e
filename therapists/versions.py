"""Which state of a profile somebody has seen, and which of its facts were changed since: nobody's change is lost unseen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sync import changes as fact_changes
from therapists.mirrors import ENROLLMENTS, USERS
from therapists.models import Enrollment, User
from therapists.queries import profile

# Facts that stand in the user's row; the others of a profile stand in the enrollment's.
USER_FACTS = frozenset({"full_name", "email"})
_TAG = re.compile(r'"([0-9]{1,18})-([0-9]{1,18})"')


@dataclass(frozen=True)
class Version:
    """
    The numbers of the newest writes of an enrollment and of its user, read in one statement.

    Both, for numbers follow each other in one row alone: of two rows, the write with the lower one may be committed later.
    """

    enrollment: int
    user: int

    @property
    def revision(self) -> int:
        """The higher of the two."""
        return max(self.enrollment, self.user)

    @property
    def tag(self) -> str:
        """The entity tag."""
        return f'"{self.enrollment}-{self.user}"'

    @classmethod
    def of_tag(cls, tag: str) -> "Version | None":
        """Read an entity tag; None where it is none of ours."""
        found = _TAG.fullmatch(tag)
        return cls(int(found[1]), int(found[2])) if found else None


_NUMBERS = ("coalesce(e.revision, 0)", "coalesce(u.revision, 0)")
# What nobody has read here: against it everything was changed.
UNKNOWN = Version(-1, -1)


class ChangedMeanwhile(Exception):
    """
    What is to be written was changed since it was seen, so nothing was saved.

    `both`: by fact, what was sent and what is stored.
    """

    def __init__(self, both: Mapping[str, tuple[object, object]]) -> None:
        super().__init__("This was changed since you read it.")
        self.both = both


def current(enrollment_id: int = 0, *, person_id: int | None = None) -> tuple[Enrollment, Version]:
    """
    Give an enrollment, by its own id or by its person's, with its user, and the version that they are.

    Raises Enrollment.DoesNotExist, and DatabaseError where the net's columns, unknown to the models, are not there.
    """
    named, word = ("id", enrollment_id) if person_id is None else ("user_id", person_id)
    found, numbers = profile(named, word, also=_NUMBERS)
    return found, Version(*numbers)


def current_beside(enrollment_id: int, also: str) -> tuple[Enrollment, Version, Any]:
    """As `current`, with the value of one expression more over the rows `e` and `u`."""
    found, (*numbers, value) = profile("id", enrollment_id, also=(*_NUMBERS, also))
    return found, Version(*numbers), value


def number_of(enrollment_id: int, *, person_id: int | None = None) -> str:
    """
    Give the SQL of the number of the newest write of an enrollment, or of it and this person's user, for their key's row.

    It cannot fail the transaction that it is read in: where the net's column is not there, its name is that of the key's
    row itself, which holds none yet.
    """
    rows = [(ENROLLMENTS, enrollment_id)] + ([(USERS, person_id)] if person_id is not None else [])
    numbers = ", ".join(f"(SELECT revision FROM {table} WHERE id = {int(pk)})" for table, pk in rows)
    return f"greatest({numbers})"


def refuse_changed(*, person_id: int, changes: Mapping[str, object], seen: Version) -> None:
    """
    Lock the rows that the changes are for, and refuse them where one of these facts was changed since `seen`.

    What says the same already is no conflict. Raises ChangedMeanwhile, and Enrollment.DoesNotExist.
    """
    user = enrollment = None
    if USER_FACTS & changes.keys():
        user = User.objects.select_for_update(no_key=True).filter(pk=person_id).first()
    if changes.keys() - USER_FACTS:
        enrollment = Enrollment.objects.select_for_update(no_key=True).get(user_id=person_id)
    both = {
        fact: (wanted, getattr(user if fact in USER_FACTS else enrollment, fact, None))
        for fact, wanted in changes.items()
    }
    if seen != UNKNOWN:
        since = fact_changes.columns_changed(person_id, {ENROLLMENTS: seen.enrollment, USERS: seen.user})
        newer = {column for table, column in since if (table == USERS) is (column in USER_FACTS)}
        both = {fact: (wanted, stored) for fact, (wanted, stored) in both.items() if fact in newer and wanted != stored}
    if both:
        raise ChangedMeanwhile(both)
