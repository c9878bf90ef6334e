"""What decisions about enrollments changed: kept column by column, to be read back and undone."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence

from django.conf import settings

from therapists.models import DecidedRow, Enrollment

# Every column that a decision may write.
COLUMNS = (
    "full_name", "phone", "bio", "experience_years", "specialization", "profile_image_url", "status", "approved_at",
    "status_reason", "superseded_by", "set_apart_for", "user_id", "email",
)  # fmt: skip
# What a row takes over from the user whom it is given to, after the decision: kept wherever the user changes.
OF_USER = frozenset({"full_name", "email", "profile_image_url"})
_FIELDS = {field.attname: field for field in Enrollment._meta.concrete_fields}

Image = dict[str, str | None]


def image(row: Enrollment) -> Image:
    """Give the columns as texts from which exactly the same values are read back."""
    return {name: None if getattr(row, name) is None else _FIELDS[name].value_to_string(row) for name in COLUMNS}


def values(columns: Mapping[str, str | None]) -> dict[str, object]:
    """Give the values that an image's texts stand for."""
    return {name: _FIELDS[name].to_python(text) for name, text in columns.items()}


def keep(*, before: Mapping[int, Image], rows: Sequence[Enrollment], choice: str, by: str, at: dt.datetime) -> None:
    """Write down what became of the rows since `before`, in the caller's transaction."""
    decision = uuid.uuid4()
    made = []
    for row in rows:
        was, now = before[row.pk], image(row)
        changed = {name for name in COLUMNS if was[name] != now[name]}
        given_back = changed | OF_USER if "user_id" in changed else changed
        made.append(
            DecidedRow(
                decision=decision, enrollment_id=row.pk, choice=choice, by=by, at=at,
                before={name: was[name] for name in COLUMNS if name in given_back},
                after={name: now[name] for name in COLUMNS if name in changed},
            )
        )  # fmt: skip
    DecidedRow.objects.bulk_create(made)


def last(enrollment_id: int) -> list[DecidedRow]:
    """Give the rows of the newest decision about an enrollment that was not undone; none where there is none on record."""
    newest = DecidedRow.objects.filter(enrollment_id=enrollment_id, undone_at=None).order_by("-id").first()
    return [] if newest is None else list(DecidedRow.objects.filter(decision=newest.decision).order_by("enrollment_id"))


def enrollments(decision: uuid.UUID) -> list[int]:
    """Give the ids of the enrollments that a decision was about, undone or not."""
    return list(DecidedRow.objects.filter(decision=decision).values_list("enrollment_id", flat=True))


def prune(*, at: dt.datetime) -> None:
    """Forget what was changed after the time for replaced values, and with it the chance of an undo."""
    DecidedRow.objects.filter(at__lt=at - dt.timedelta(days=settings.SYNC_LOST_VALUES_KEPT_DAYS)).delete()
