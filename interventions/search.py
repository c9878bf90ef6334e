"""Finding items by what staff know: a name, an address, an id, words of an error; in bounded time, however long the log."""

import uuid

from django.db import connection
from django.db.models import BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from interventions.arrays import array
from interventions.handlers import handler
from interventions.models import Intervention

# Words and parts of names are looked for in the newest of what is open and of what was resolved; ids and whole
# addresses in everything. An index of every error's letters would cost each failure more than the search is worth.
OPEN_LOOKED_AT, RESOLVED_LOOKED_AT = 20_000, 10_000
_DIGITS = 19
_RECENT = f"""
WITH recent AS MATERIALIZED (
    (SELECT id, person_id, error FROM manual_intervention_log WHERE NOT resolved
     ORDER BY timestamp DESC LIMIT {OPEN_LOOKED_AT})
    UNION ALL
    (SELECT id, person_id, error FROM manual_intervention_log WHERE resolved
     ORDER BY resolved_at DESC LIMIT {RESOLVED_LOOKED_AT}))
SELECT array_agg(id::text) FILTER (WHERE strpos(lower(error), lower(%(words)s)) > 0), array_agg(DISTINCT person_id) FROM recent
"""


def id_in(words: str) -> int | None:
    """Give the id that the words are; None for what PostgreSQL has no id for."""
    return int(words) if words.isdecimal() and len(words) < _DIGITS else None


def narrowed(items: "QuerySet[Intervention]", words: str) -> "QuerySet[Intervention]":
    """Narrow to the items that the words name, tell of, or whose person they name."""
    # As one text: thousands of parameters take longer than the answer.
    return items.filter(pk__in=RawSQL("SELECT unnest(%s::uuid[])", [array(matching(words, items))]))


def matching(words: str, items: "QuerySet[Intervention]") -> list[str]:
    """
    Give the ids of the items that the words name, tell of, or whose person they name; in no order.

    Of the persons' items only those that are among `items`, the others as they are. As texts: thousands of UUID objects
    cost more than finding them.
    """
    try:
        return [str(uuid.UUID(words))]
    except ValueError:
        pass
    with connection.cursor() as cursor:
        cursor.execute(_RECENT, {"words": words})
        telling, concerned = cursor.fetchone()
        found = set(telling or ())
        people = set(handler().find(words, among=[person for person in concerned or () if person is not None]))
        if (person := id_in(words)) is not None:
            people.add(person)
    if people:
        found.update(_of_people(items, people))
    return list(found)


def _of_people(items: "QuerySet[Intervention]", people: set[int]) -> "QuerySet[Intervention, str]":
    # With its table: a list narrowed to one bulk retry reads that one's items too, and they name a person as well.
    named = RawSQL(
        "manual_intervention_log.person_id = ANY(%s::bigint[])", [array(sorted(people))], output_field=BooleanField()
    )
    ids = items.filter(named).order_by("person_id", "target").values_list(Cast("pk", TextField()), flat=True)
    return ids[:OPEN_LOOKED_AT]
