"""Differences that a person decided to leave as they are, for as long as neither side changes."""

from collections.abc import Collection

from interventions import items
from sync import drift
from sync.claims import Entity
from sync.mirrors import Place, declaration


def accepted_places(entities: Collection[Entity]) -> dict[Entity, frozenset[Place]]:
    """Give the copies of each entity whose difference is still the one that was accepted; nothing for the others."""
    pinned = items.accepted_digests(list(entities)) if entities else {}
    if not pinned:
        return {}
    found = {}
    for entity, comparison in drift.compare([e for e in entities if e in pinned]).items():
        agreed = set(pinned[entity].split(drift.AND)) & set(comparison.digest.split(drift.AND))
        copies = {pair.copy for pair in declaration().pairs if pair.copy.table == entity[1]}
        places = frozenset(copy for copy in copies if any(word.startswith(f"{copy}=") for word in agreed))
        if places:
            found[entity] = places
    return found
