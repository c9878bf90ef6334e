"""Where copies of a person differ, side by side."""

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils.crypto import salted_hmac

from interventions.handlers import Cell, Comparison, Entity, FactRow
from sync import statements
from sync.mirrors import Declaration, Mirror, Pair, Place, SharedMirror, declaration
from sync.models import Attempt, LostValue

READ_TIMEOUT_MS = 300
# Between the words of a digest, one for each place that differs.
AND = ";"


@dataclass(frozen=True)
class _Sight:
    """One pair as read for one person."""

    wanted: str | None
    actual: str | None
    differs: bool


def compare(entities: Collection[Entity]) -> dict[Entity, Comparison]:
    """
    Read both sides of each entity now.

    What cannot be read (a renamed column, a locked table) is not equal: nothing is shown as fine that is not.
    """
    declared = declaration()
    sights, unread, present, missing = _look(declared, entities)
    return {entity: _comparison(declared, entity, sights, unread, present, (entity in missing)) for entity in entities}


def differing(entities: Collection[Entity]) -> dict[Entity, frozenset[str]]:
    """Give of each entity the words that its digest has for places that differ now; none where both sides are equal."""
    declared = declaration()
    sights, unread, _, missing = _look(declared, entities)
    return {e: frozenset(_words(_into(declared, e), e, sights, unread, (e in missing))) for e in entities}


def prune(*, at: dt.datetime) -> None:
    """Delete records of attempts and replaced values that are older than the settings allow."""
    Attempt.objects.filter(at__lt=at - dt.timedelta(days=settings.SYNC_ATTEMPTS_KEPT_DAYS)).delete()
    LostValue.objects.filter(at__lt=at - dt.timedelta(days=settings.SYNC_LOST_VALUES_KEPT_DAYS)).delete()


def _look(
    declared: Declaration, entities: Collection[Entity]
) -> tuple[dict[tuple[int, Pair], _Sight], set[Pair], dict[str, set[int] | None], set[Entity]]:
    """Read what is there, what cannot be read, who has a row where, and whose row is missing."""
    people = sorted({person_id for person_id, _ in entities})
    present = _present(declared, people)
    sights, unread = _sights(declared, people, present)
    missing = {
        (person_id, table.name)
        for table in declared.tables
        for person_id in _expected(declared, table.name, people, present)
        if person_id not in (present[table.name] or ())
    }
    return sights, unread, present, missing


def _into(declared: Declaration, entity: Entity) -> list[Pair]:
    return [pair for pair in declared.pairs if pair.copy.table == entity[1]]


def _words(
    into: list[Pair], entity: Entity, sights: dict[tuple[int, Pair], _Sight], unread: set[Pair], is_missing: bool
) -> list[str]:
    """Say what differs, place by place: an edit of another fact is no reason to ask again about an accepted difference."""
    person_id, target = entity
    told = [(str(p.copy), [s.wanted, s.actual]) for p in into if (s := sights.get((person_id, p))) and s.differs]
    told += [(str(p.copy), ["unread"]) for p in into if p in unread]
    told += [(target, ["missing"])] * is_missing
    return [f"{place}={_sealed(values)}" for place, values in told]


def _sights(
    declared: Declaration, people: list[int], present: dict[str, set[int] | None]
) -> tuple[dict[tuple[int, Pair], _Sight], set[Pair]]:
    sights: dict[tuple[int, Pair], _Sight] = {}
    unread: set[Pair] = set()
    for pair in declared.pairs:
        flow = statements.Flow(declared.table(pair.source.table), declared.table(pair.copy.table), (pair,))
        wanted_text, actual_text = statements.told(pair)
        query = (
            f"SELECT {statements.COPY}.{flow.target.key}, {wanted_text}, {actual_text}, {statements.pair_differs(pair)}"
            f" FROM {flow.target.name} AS {statements.COPY} JOIN {flow.source.name} ON {statements.joined(flow)}"
            f" WHERE {statements.COPY}.{flow.target.key} = ANY(%s)"
        )
        if present[flow.source.name] is None or present[flow.target.name] is None:
            # Out of reach: asking again would cost its time-out once for each fact.
            unread.add(pair)
            continue
        try:
            for person_id, wanted, actual, differs in _bounded(query, people):
                sights[person_id, pair] = _Sight(wanted, actual, differs)
        except DatabaseError:
            unread.add(pair)
    return sights, unread


def _present(declared: Declaration, people: list[int]) -> dict[str, set[int] | None]:
    """Find who has a row in each table; None: the table cannot be read, which is not the same as no row."""
    found: dict[str, set[int] | None] = {}
    for table in declared.tables:
        try:
            found[table.name] = {row[0] for row in _bounded(statements.present_rows(table), people)}
        except DatabaseError:
            found[table.name] = None
    return found


def _expected(declared: Declaration, target: str, people: list[int], present: dict[str, set[int] | None]) -> set[int]:
    table = declared.table(target)
    statement = statements.expected_people(table, declared)
    if statement is None or table.expected is None or present[target] is None:
        return set()
    if present[table.expected.place.table] is None:
        return set()
    try:
        return {row[0] for row in _bounded(statement, people)}
    except DatabaseError:
        return set()


def _comparison(
    declared: Declaration,
    entity: Entity,
    sights: dict[tuple[int, Pair], _Sight],
    unread: set[Pair],
    present: dict[str, set[int] | None],
    is_missing: bool,
) -> Comparison:
    person_id, target = entity
    rows = tuple(_fact_row(declared, mirror, person_id, sights, unread, present) for mirror in declared.mirrors)
    into = _into(declared, entity)
    troubled = [p for p in into if p in unread or ((person_id, p) in sights and sights[person_id, p].differs)]
    words = _words(into, entity, sights, unread, is_missing)
    if not words:
        words = [f"{target}={_sealed([s.wanted for p in into if (s := sights.get((person_id, p)))])}"]
    return Comparison(
        rows=rows,
        is_equal=not troubled and not is_missing,
        digest=AND.join(sorted(words)),
        outlook=_outlook(target, [p for p in troubled if p not in unread], is_missing, any(p in unread for p in into)),
    )


def _sealed(values: list[str | None]) -> str:
    """Pin values without holding them."""
    return salted_hmac("sync.compared", json.dumps(values), algorithm="sha256").hexdigest()[:32]


def _fact_row(
    declared: Declaration,
    mirror: Mirror | SharedMirror,
    person_id: int,
    sights: dict[tuple[int, Pair], _Sight],
    unread: set[Pair],
    present: dict[str, set[int] | None],
) -> FactRow:
    pairs = [pair for pair in declared.pairs if pair.mirror == mirror]
    # Of a fact that may be written anywhere, the newest is the source: worth a word only where another place differs.
    is_contested = isinstance(mirror, SharedMirror) and any(
        sights[person_id, p].differs for p in pairs if (person_id, p) in sights
    )
    cells = []
    for table in declared.tables:
        place = _place_in(mirror, table.name)
        if place is None:
            cells.append(Cell(table.name, None))
        else:
            into = [p for p in pairs if p.copy == place]
            seen = [sights[person_id, p] for p in into if (person_id, p) in sights]
            cells.append(
                Cell(
                    table.name,
                    text=_text(person_id, place, pairs, sights, seen) if present[table.name] is not None else None,
                    differs=any(s.differs for s in seen) or any(p in unread for p in into),
                    is_source=not into or (is_contested and not any(s.differs for s in seen)),
                    is_absent=(rows := present[table.name]) is not None and person_id not in rows,
                    is_unread=rows is None or any(p in unread for p in into),
                )
            )
    return FactRow(mirror.fact, tuple(cells))


def _text(
    person_id: int, place: Place, pairs: list[Pair], sights: dict[tuple[int, Pair], _Sight], seen: list[_Sight]
) -> str | None:
    """What a place says: as compared, as a copy repeats it unchanged, or else read for itself."""
    if seen:
        return seen[0].actual
    for pair in pairs:
        if pair.source == place and pair.conversion.template == "{value}" and (person_id, pair) in sights:
            return sights[person_id, pair].wanted
    table = declaration().table(place.table)
    try:
        rows = _bounded(f"SELECT ({place.column})::text FROM {place.table} WHERE {table.key} = ANY(%s)", [person_id])
    except DatabaseError:
        return None
    return str(rows[0][0]) if rows and rows[0][0] is not None else None


def _place_in(mirror: Mirror | SharedMirror, table: str) -> Place | None:
    places = mirror.places if isinstance(mirror, SharedMirror) else (mirror.source, *(c.place for c in mirror.copies))
    return next((place for place in places if place.table == table), None)


def _outlook(target: str, differing: list[Pair], is_missing: bool, is_unread: bool) -> str:
    if is_missing:
        return f"There is no row of this person in {target}. A retry can write once the row exists."
    if is_unread:
        return f"{target} cannot be read at the moment. A retry reads it again."
    if not differing:
        return "Both sides are equal. A retry would write nothing."
    facts = ", ".join(dict.fromkeys(f"{p.mirror.fact} from {p.source.table}" for p in differing))
    return f"A retry writes {facts} into {target}, as the source is at that moment and not as it was at the failure."


def _bounded(query: str, people: list[int]) -> list[Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {READ_TIMEOUT_MS}")
        cursor.execute(query, [people])
        return list(cursor.fetchall())
