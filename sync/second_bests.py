"""What staff see and do about second bests: how many are kept and wait, what rests, and forgetting what is no longer right."""

import datetime as dt
from typing import Any

from django.db import transaction

from interventions.correlation import request_id
from interventions.models import History
from sync import errands, failing, kept


def overview(*, at: dt.datetime) -> dict[str, list[dict[str, Any]]]:
    """Give the kept answers and the errands by kind, and the services by what became of their calls."""
    return {"answers": kept.statistics(), "errands": errands.statistics(), "services": failing.statistics(at=at)}


def forget_answers(*, kind: str, person_id: int | None, by: str) -> int:
    """Forget the kept answers of a kind, of a person, or all where neither is named; gives how many."""
    with transaction.atomic():
        number = kept.clear(kind=kind, person_id=person_id)
        _note("answers_forgotten", kind or "all", number, by)
    return number


def call_again(*, service: str, by: str) -> int:
    """Let a service that rests be called at once, because somebody has mended it; gives the failures forgotten."""
    with transaction.atomic():
        number = failing.clear_failures(service)
        _note("service_reset", service, number, by)
    return number


def clear_finished(*, by: str) -> int:
    """Delete the record of errands that are over; gives how many."""
    with transaction.atomic():
        number = errands.clear_finished()
        _note("errands_cleared", "all", number, by)
    return number


def _note(action: str, about: str, number: int, by: str) -> None:
    if number:
        History.objects.create(
            actor=by, action=action, object_type="second best", object_id=about, to_state=str(number),
            request_id=request_id.get(),
        )  # fmt: skip
