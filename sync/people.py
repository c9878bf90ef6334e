"""Who the persons are, for people's eyes only: through the project's user model, whatever it calls its columns."""

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.db.models import Q

MOST_FOUND = 200


def name_people(person_ids: Collection[int]) -> dict[int, str]:
    """Give the name of each person that exists."""
    return {user.pk: user.get_full_name() for user in get_user_model().objects.filter(pk__in=person_ids)}


def find_people(words: str) -> list[int]:
    """Give at most 200 ids of persons whose name or address contains the words."""
    match = Q(full_name__icontains=words) | Q(email__icontains=words)
    return list(get_user_model().objects.filter(match).order_by("pk").values_list("pk", flat=True)[:MOST_FOUND])
