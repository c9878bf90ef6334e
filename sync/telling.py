"""What staff see of an outside service's item: the facts that a retry would tell; what the service has, only it knows."""

import json
from collections.abc import Collection

from django.utils.crypto import salted_hmac

from interventions.handlers import Cell, Comparison, Entity, FactRow
from sync import facts, targets
from sync.facts import Facts
from sync.mirrors import declaration
from sync.models import Ledger

HERE = "here"
OUTLOOK = "A retry tells {target} what is said here now."
WITHDRAWS = "A retry has {target} forget this person."


def of_services(entities: Collection[Entity]) -> dict[Entity, str]:
    """Give the kind of service of each entity that is one's."""
    kinds = targets.services()
    return {entity: kinds[entity[1]] for entity in entities if entity[1] in kinds}


def compare(entities: Collection[Entity]) -> dict[Entity, Comparison]:
    """
    Show both sides of each service's entity, as far as they are known.

    They count as equal only where nothing is owed and what was told was read back: nothing is shown as fine that is not.
    """
    return {entity: _comparison(entity, kind) for entity, kind in of_services(entities).items()}


def _comparison(entity: Entity, kind: str) -> Comparison:
    person_id, target = entity
    service = declaration().service(kind)
    known = facts.read(person_id, service)
    row = Ledger.objects.filter(person_id=person_id, target=target).first()
    is_owed = row is None or row.owed_since is not None
    is_equal = row is not None and not is_owed and row.verified_revision == row.applied_revision
    rows = tuple(
        FactRow(
            name,
            (
                Cell(HERE, _text(known, name), is_source=True, is_absent=not known.is_known),
                Cell(target, None, differs=not is_equal, is_unread=not is_equal),
            ),
        )
        for name in (*service.facts, *service.besides)
    )
    outlook = (OUTLOOK if known.is_known else WITHDRAWS).format(target=target)
    return Comparison(rows=rows, is_equal=is_equal, digest=f"{target}={_sealed(known)}", outlook=outlook)


def _text(known: Facts, name: str) -> str | None:
    value = known.values.get(name)
    return None if value is None else str(value)


def _sealed(known: Facts) -> str:
    """Pin values without holding them."""
    words = json.dumps([known.is_known, known.values], default=str)
    return salted_hmac("sync.compared", words, algorithm="sha256").hexdigest()[:32]
