"""What staff have paused: a person, a target, or a whole operation. What is owed there stays owed."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from django.db import connection

from sync.stops import Pause


class Scope(StrEnum):
    """What a pause is about."""

    PERSON = "person"
    TARGET = "target"
    OPERATION = "operation"


# What can be paused as a whole: its word, and what staff read.
SYNC, AUDIT, LINK = "sync", "audit", "link"
OPERATIONS = {
    SYNC: "Bringing copies in line",
    AUDIT: "Comparing every copy",
    LINK: "Linking rows to the person with their address",
}


@dataclass(frozen=True)
class Pauses:
    """What is paused among the people asked about."""

    people: frozenset[int] = frozenset()
    targets: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()

    def stops(self, person_id: int, target: str) -> bool:
        """Whether nothing may be attempted for this person's target."""
        return SYNC in self.operations or target in self.targets or person_id in self.people


def among(people: Collection[int]) -> Pauses:
    """Give every paused target and operation, and who of the people is paused."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT scope, key FROM sync_pause WHERE scope <> 'person'"
            " UNION ALL SELECT scope, key FROM sync_pause WHERE scope = 'person' AND key = ANY(%s)",
            [[str(person_id) for person_id in people]],
        )
        found = cursor.fetchall()
    keys = {scope: frozenset(key for word, key in found if word == scope) for scope in Scope}
    return Pauses(frozenset(int(key) for key in keys[Scope.PERSON]), keys[Scope.TARGET], keys[Scope.OPERATION])


def is_paused(operation: str) -> bool:
    """Whether an operation is paused."""
    return Pause.objects.filter(scope=Scope.OPERATION, key=operation).exists()


def listed(scope: Scope, keys: Collection[str] | None = None) -> dict[str, Pause]:
    """Give the pauses of a scope by key, of some keys or of all; those of people may be many."""
    found = Pause.objects.filter(scope=scope)
    return {pause.key: pause for pause in (found if keys is None else found.filter(key__in=keys))}
