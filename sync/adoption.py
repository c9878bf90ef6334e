"""What somebody wrote into an owned copy: kept when the source's value took its place, and adopted when a person says so."""

import json
from collections.abc import Collection

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Model, Q

from interventions.failpoints import reach
from interventions.handlers import Entity, NotAdoptable, Replaced
from sync import changes
from sync.mirrors import Mirror, Pair, declaration
from sync.models import LostValue

MOST_SHOWN = 50
DECIDED = "This is decided, not adopted: change it at its source."
NO_WAY_BACK = "What the copy says cannot be turned into what the source says."
GONE = "Somebody adopted or erased it meanwhile."


def replaced(entities: Collection[Entity]) -> list[Replaced]:
    """List what was written into these copies and replaced, newest first, at most MOST_SHOWN facts."""
    wanted = Q(pk__in=[])
    for person_id, target in entities:
        wanted |= Q(person_id=person_id, target=target)
    return [
        Replaced(
            value_id=lost.pk, person_id=lost.person_id, target=lost.target, fact=pair.mirror.fact, text=_text(value),
            at=lost.at.isoformat(), written_by=lost.written_by, why_not=_why_not(pair),
        )
        for lost in LostValue.objects.filter(wanted).order_by("-id")[:MOST_SHOWN]
        for column, value in lost.values.items()
        if (pair := _pair(lost.target, column)) is not None
    ]  # fmt: skip


def adopt(value_id: int, fact: str) -> Entity:
    """
    Save the replaced value at its source through its model, so that receivers and net see a person's write.

    The value is forgotten here in the same transaction. Raises NotAdoptable, with nothing changed.
    """
    lost = LostValue.objects.select_for_update().filter(pk=value_id).first()
    column = next((c for c in (lost.values if lost else {}) if _fact(lost, c) == fact), None)
    pair = _pair(lost.target, column) if lost and column else None
    if lost is None or column is None or pair is None:
        raise NotAdoptable(GONE)
    if why_not := _why_not(pair):
        raise NotAdoptable(why_not)
    table = declaration().table(pair.source.table)
    row = (
        _model(table.name)._default_manager.select_for_update(no_key=True).filter(**{table.key: lost.person_id}).first()
    )
    if row is None:
        raise NotAdoptable("The source's row is not there any more.")
    reach("sync.adopt.before_write", [lost.person_id])
    field = next(f for f in row._meta.concrete_fields if f.column == pair.source.column)
    try:
        with transaction.atomic():
            changes.sign()
            setattr(row, field.name, field.clean(_at_source(pair, lost.values[column]), row))
            stamps = [f.name for f in row._meta.concrete_fields if getattr(f, "auto_now", False)]
            row.save(update_fields=[field.name, *stamps])
    except (ValidationError, IntegrityError) as error:
        raise NotAdoptable("The source does not allow this value.") from error
    reach("sync.adopt.after_write", [lost.person_id])
    lost.values.pop(column)
    if lost.values:
        lost.save(update_fields=["values"])
    else:
        lost.delete()
    return lost.person_id, lost.target


def _why_not(pair: Pair) -> str:
    if isinstance(pair.mirror, Mirror) and pair.mirror.is_decided:
        return DECIDED
    return NO_WAY_BACK if pair.conversion.back is None else ""


def _at_source(pair: Pair, value: object) -> object:
    """Turn the copy's value into the source's, by the conversion's own SQL."""
    given = f"(jsonb_populate_record(NULL::{pair.copy.table}, %s::jsonb)).{pair.copy.column}"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {(pair.conversion.back or '{value}').format(value='given')} FROM (SELECT {given} AS given) AS lost",
                [json.dumps({pair.copy.column: value})],
            )
            return cursor.fetchone()[0]
    except DatabaseError as error:
        raise NotAdoptable(NO_WAY_BACK) from error


def _pair(target: str, column: str) -> Pair | None:
    return next(
        (p for p in declaration().pairs if (p.copy.table, p.copy.column) == (target, column) and not p.is_shared),
        None,
    )


def _fact(lost: LostValue | None, column: str) -> str | None:
    pair = _pair(lost.target, column) if lost else None
    return pair.mirror.fact if pair else None


def _model(table: str) -> type[Model]:
    return next(model for model in apps.get_models() if model._meta.db_table == table)


def _text(value: object) -> str | None:
    if value is None:
        return None
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
