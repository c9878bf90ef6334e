"""What is known about therapists, read from the sources."""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet

from therapists.mirrors import ENROLLMENTS, USERS
from therapists.models import Enrollment, Status, User


def _columns(model: type[Model], *names: str) -> tuple[str, ...]:
    """Give the names in the order in which the model takes their values."""
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname in names)


# What a profile shows of the enrollment `e` and of its user `u`; the rest is read when it is asked for.
SHOWN = _columns(
    Enrollment, "id", "user_id", "full_name", "email", "bio", "experience_years", "specialization", "phone",
    "profile_image_url", "status",
)  # fmt: skip
SHOWN_OF_USER = _columns(User, "id", "full_name", "email")
# In so many words: composed by the framework for each reading, it cost three times what reading it does.
_PROFILE = (
    f"SELECT {', '.join([f'e.{name}' for name in SHOWN] + [f'u.{name}' for name in SHOWN_OF_USER])} %s"
    f" FROM {ENROLLMENTS} e LEFT JOIN {USERS} u ON u.id = e.user_id WHERE e.%s = %%s %s"
)


def own_enrollment(person_id: int) -> Enrollment:
    """Give a person's enrollment with its user; raises Enrollment.DoesNotExist."""
    return profile("user_id", person_id)[0]


def profile(
    named: str, word: int, *, also: Sequence[str] = (), is_locked: bool = False
) -> tuple[Enrollment, tuple[Any, ...]]:
    """
    Give the enrollment with this `id` or `user_id`, with its user, and what `also` asks of both their rows.

    `is_locked`: its own row alone is locked, to be written. Raises Enrollment.DoesNotExist.
    """
    lock = "FOR NO KEY UPDATE OF e" if is_locked else ""
    with connection.cursor() as cursor:
        cursor.execute(_PROFILE % ("".join(f", {one}" for one in also), named, lock), [word])
        row = cursor.fetchone()
    if row is None:
        raise Enrollment.DoesNotExist
    of_user = len(SHOWN)
    rest = of_user + len(SHOWN_OF_USER)
    found = Enrollment.from_db(connection.alias, SHOWN, row[:of_user])
    found.user = User.from_db(connection.alias, SHOWN_OF_USER, row[of_user:rest]) if found.user_id else None
    return found, row[rest:]


def enrollments(status: str | None = None) -> QuerySet[Enrollment]:
    """Give enrollments, narrowed to one status where given; unordered."""
    found = Enrollment.objects.all()
    return found.filter(status=status) if status else found


def directory() -> QuerySet[Enrollment]:
    """
    Give the therapists whom everybody may see, with their users: approved, and not switched off; unordered.

    The decision itself is read and no copy of it: whoever is rejected is gone from here with the decision.
    """
    return Enrollment.objects.select_related("user").filter(status=Status.APPROVED, user__is_active=True)


def as_typed(names: list[str]) -> str:
    """Give a list of names as a person would type it, so that exactly these names are read out of it again."""
    return str(_asked("keepwell_list_to_text", names))


def may_be_unreadable(specialization: str) -> bool:
    """Tell whether it holds what can be written wrongly: quotation marks, or brackets around. Most people's does not."""
    return '"' in specialization or specialization.lstrip()[:1] in {"[", "{"}


def is_readable(specialization: str) -> bool:
    """Tell whether names can be read out of what a person typed."""
    return _asked("keepwell_text_to_list", specialization) is not None


def _asked(function: str, word: str | list[str]) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [word])
        return cursor.fetchone()[0]
