"""Who the persons are, for people's eyes only: through the project's user model, whatever it calls its columns."""

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.db.models import Q

from sync import identity

MOST_FOUND = 200


def name_people(person_ids: Collection[int]) -> dict[int, str]:
    """Give the name of each person that exists."""
    return {user.pk: user.get_full_name() for user in get_user_model().objects.filter(pk__in=person_ids)}


def find_people(words: str) -> list[int]:
    """Give at most 200 ids of persons whose name or address, now or earlier, contains the words."""
    earlier = identity.find_by_earlier_address(words, limit=MOST_FOUND)
    match = Q(full_name__icontains=words) | Q(email__icontains=words) | Q(pk__in=earlier)
    return list(get_user_model().objects.filter(match).order_by("pk").values_list("pk", flat=True)[:MOST_FOUND])
