"""What is known about therapists, read from the sources."""

from django.db import connection
from django.db.models import QuerySet

from therapists.models import Enrollment, Status

# What a profile shows. An enrollment and its user have three times as many columns, and each costs its part.
SHOWN = (
    "user", "full_name", "email", "bio", "experience_years", "specialization", "phone", "profile_image_url", "status",
    "user__full_name", "user__email",
)  # fmt: skip


def profiles() -> QuerySet[Enrollment]:
    """Give enrollments with their users, and of both what a profile shows; the rest is read when it is asked for."""
    return Enrollment.objects.select_related("user").only(*SHOWN)


def own_enrollment(person_id: int) -> Enrollment:
    """Give a person's enrollment with its user; raises Enrollment.DoesNotExist."""
    return profiles().get(user_id=person_id)


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
