"""What the desk of interventions may ask of the engine."""

from collections.abc import Collection

from interventions import handlers
from interventions.handlers import Comparison, Entity, Replaced, Try
from sync import adoption, drift, ledger, queries, targets, telling
from sync.doorbell import bell
from sync.people import find_people, name_people, staff_among


class Desk:
    """The handler of every item of the engine."""

    def retry(self, entities: Collection[Entity]) -> None:
        """Owe the targets anew: whoever takes up the debt reads the source as it is then."""
        for target in targets.names():
            people = [person_id for person_id, name in entities if name == target]
            if people:
                ledger.owe(people=people, targets=[target], reason="asked")

    def wake(self) -> None:
        """Ring the workers."""
        bell.ring()

    def hold(self, entities: Collection[Entity]) -> None:
        """Hold what the ledger says of the targets, as whoever brings them in line does."""
        ledger.rows(entities)

    def compare(self, entities: Collection[Entity]) -> dict[Entity, Comparison]:
        """Read both sides now."""
        told = telling.compare(entities)
        return drift.compare([entity for entity in entities if entity not in told]) | told

    def accept(self, entities: Collection[Entity]) -> None:
        """Leave the targets as they are."""
        ledger.exclude(entities=entities, reason="accepted")

    def label(self, person_ids: Collection[int]) -> dict[int, str]:
        """Give the persons' names."""
        return name_people(person_ids)

    def staff(self, person_ids: Collection[int]) -> Collection[int]:
        """Give those who may work at the desk."""
        return staff_among(person_ids)

    def find(self, words: str, *, among: Collection[int]) -> Collection[int]:
        """Find persons by name or address."""
        return find_people(words, among=among)

    def replaced(self, entities: Collection[Entity]) -> list[Replaced]:
        """List what was written into these copies and replaced, newest first."""
        return adoption.replaced(entities)

    def adopt(self, value_id: int, fact: str) -> Entity:
        """Write a replaced value to its source."""
        return adoption.adopt(value_id, fact)

    def tries(self, entity: Entity) -> list[Try]:
        """List the recorded attempts, newest first."""
        return [
            Try(a.at.isoformat(), a.attempt, a.outcome, a.error_object or "", a.duration_ms)
            for a in queries.attempts(*entity)
        ]

    def next_tries(self, entities: Collection[Entity]) -> dict[Entity, str]:
        """Give the planned next tries."""
        planned = queries.next_attempts({person_id for person_id, _ in entities})
        return {entity: at.isoformat() for entity, at in planned.items() if entity in set(entities)}


def register() -> None:
    """Offer the engine to the desk."""
    handlers.register(Desk())
