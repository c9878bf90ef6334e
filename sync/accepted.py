"""Differences that a person decided to leave as they are, for as long as neither side changes."""

from collections.abc import Collection

from interventions import items
from sync import drift
from sync.claims import Entity
from sync.mirrors import Place, declaration


def accepted_places(entities: Collection[Entity]) -> dict[Entity, frozenset[Place]]:
    """
    Give the copies of each entity whose difference is still the one that was accepted; nothing for the others.

    Who accepted that there is no row accepted every copy in it.
    """
    pinned = items.accepted_digests(list(entities)) if entities else {}
    if not pinned:
        return {}
    found = {}
    for entity, words in drift.differing([e for e in entities if e in pinned]).items():
        agreed = words & set(pinned[entity].split(drift.AND))
        copies = {pair.copy for pair in declaration().pairs if pair.copy.table == entity[1]}
        is_missing = any(word.startswith(f"{entity[1]}=") for word in agreed)
        places = frozenset(c for c in copies if is_missing or any(word.startswith(f"{c}=") for word in agreed))
        if places:
            found[entity] = places
    return found
