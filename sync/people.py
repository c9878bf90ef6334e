"""Who the persons are, for people's eyes only: through the project's user model, whatever it calls its columns."""

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.db.models.expressions import RawSQL

from interventions.arrays import array
from sync import identity


def name_people(person_ids: Collection[int]) -> dict[int, str]:
    """Give the name of each person that exists."""
    return {user.pk: user.get_full_name() for user in get_user_model().objects.filter(pk__in=person_ids)}


def staff_among(person_ids: Collection[int]) -> set[int]:
    """Give those of the persons who may sign in to the admin."""
    found = get_user_model().objects.filter(pk__in=person_ids, is_active=True, is_staff=True)
    return set(found.values_list("pk", flat=True))


def find_people(words: str, *, among: Collection[int]) -> list[int]:
    """
    Give whoever has that address, now or earlier, and which of these persons have a name or address that contains it.

    Of a million persons only those are read whom the caller asks about.
    """
    known = identity.find_by_address(words)
    earlier = identity.find_by_earlier_address(words, among=among)
    match = Q(full_name__icontains=words) | Q(email__icontains=words) | Q(pk__in=earlier)
    # As one text: thousands of parameters take longer than the answer.
    asked = RawSQL("SELECT unnest(%s::bigint[])", [array(among)])
    named = get_user_model().objects.filter(match, pk__in=asked).values_list("pk", flat=True)
    return sorted({*named, *([known] if known is not None else [])})
