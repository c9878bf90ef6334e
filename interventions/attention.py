"""Who sees to what, and what is put off: each decision one transaction under the row's lock, with its line of history."""

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from interventions import patience
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import Cause, CauseState, History, Intervention
from interventions.models.causes import LONGEST_IGNORED

LONGEST_SNOOZED = dt.timedelta(days=30)
LONGEST_NOTE = 2000
CAUSE, ITEM = "cause", "intervention"
# What may have come before somebody who finds a thing other than they saw it, by what they wanted to decide.
_OWNER = ("cause_acknowledged", "cause_taken_over", "cause_handed_back", "cause_reopened", "cause_resolved")
_SNOOZE = ("cause_snoozed", "cause_unsnoozed", "cause_resolved")
_IGNORE = ("cause_ignored", "cause_unignored", "cause_resolved")
_NOTE = ("cause_noted", "cause_resolved")
_ENDED = ("resolved:auto", "resolved:verified", "resolved:superseded", "accepted:accepted", "accepted:sql")
_ASSIGNEE = ("assigned", "handed_back", *_ENDED)
_PUT_OFF = ("snoozed", "unsnoozed", "reopened", *_ENDED)
_Found = TypeVar("_Found", Cause, Intervention)


class Overtaken(Exception):
    """It is not any more as the person saw it, and nothing was changed. `line` says who did what when, where known."""

    def __init__(self, line: History | None) -> None:
        super().__init__(line)
        self.line = line


class WrongMoment(ValueError):
    """The moment is past, or further away than anything is put off."""


class NoReason(ValueError):
    """To ignore something needs a reason."""


def acknowledge(*, cause_id: uuid.UUID, by: str, at: dt.datetime, instead_of: str = "") -> Cause:
    """
    See to a cause from now on; `instead_of` whom the person saw doing it.

    Raises Overtaken, and Cause.DoesNotExist.
    """
    with _deciding(Cause, cause_id) as cause:
        is_seen_to = cause.state == CauseState.ACKNOWLEDGED
        _must_stand(cause, _is_live(cause) and (cause.owner if is_seen_to else "") == instead_of != by, _OWNER)
        before = (cause.owner, by) if is_seen_to else (cause.state, CauseState.ACKNOWLEDGED)
        _write(
            cause, "cause_taken_over" if is_seen_to else "cause_acknowledged", by, *before,
            state=CauseState.ACKNOWLEDGED, owner=by, acknowledged_at=at, acknowledged_by=by,
        )  # fmt: skip
    return cause


def hand_back(*, cause_id: uuid.UUID, by: str, owner: str = "") -> Cause:
    """
    See to a cause no longer; it is nobody's then. `owner`: whose it is, where somebody else hands it back for them.

    Raises Overtaken, also where another sees to it.
    """
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _is_live(cause) and cause.owner == (owner or by), _OWNER)
        _write(
            cause, "cause_handed_back", by, cause.state, CauseState.OPEN,
            state=CauseState.OPEN, owner=None, acknowledged_at=None, acknowledged_by=None,
        )  # fmt: skip
    return cause


def snooze(*, cause_id: uuid.UUID, until: dt.datetime, by: str, at: dt.datetime) -> Cause:
    """Take a cause and its items out of the inbox until then. Raises Overtaken where it is put off, and WrongMoment."""
    _must_be_ahead(until, at, LONGEST_SNOOZED)
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _is_live(cause) and not _is_ahead(cause.snoozed_until, at), _SNOOZE)
        _write(cause, "cause_snoozed", by, None, until.isoformat(), snoozed_until=until)
    return cause


def unsnooze(*, cause_id: uuid.UUID, by: str, at: dt.datetime) -> Cause:
    """Bring a cause back that was put off. Raises Overtaken where it is back."""
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _is_ahead(cause.snoozed_until, at), _SNOOZE)
        _write(cause, "cause_unsnoozed", by, _iso(cause.snoozed_until), None, snoozed_until=None)
    return cause


def ignore(*, cause_id: uuid.UUID, until: dt.datetime, reason: str, by: str, at: dt.datetime) -> Cause:
    """
    Leave a cause and its items out of the inbox and the alerts for a while, also where it goes and comes back.

    What is counted as different, owed or open stays counted. Raises Overtaken, WrongMoment and NoReason.
    """
    _must_be_ahead(until, at, LONGEST_IGNORED)
    if not reason.strip():
        raise NoReason
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _is_live(cause) and not _is_ahead(cause.ignored_until, at), _IGNORE)
        told = reason.strip()[:LONGEST_NOTE]
        _write(
            cause, "cause_ignored", by, None, until.isoformat(), ignored_at=at, ignored_until=until, ignored_reason=told
        )
    return cause


def unignore(*, cause_id: uuid.UUID, by: str, at: dt.datetime) -> Cause:
    """Heed a cause again. Raises Overtaken where it is heeded."""
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _is_ahead(cause.ignored_until, at), _IGNORE)
        gone = _iso(cause.ignored_until)
        _write(cause, "cause_unignored", by, gone, None, ignored_at=None, ignored_until=None, ignored_reason=None)
    return cause


def note(*, cause_id: uuid.UUID, text: str, by: str, was: str = "") -> Cause:
    """Write the note of a cause in place of the one that the person saw. Raises Overtaken where another stands there."""
    with _deciding(Cause, cause_id) as cause:
        _must_stand(cause, _plain(cause.note) == _plain(was), _NOTE)
        _write(cause, "cause_noted", by, None, None, note=_plain(text)[:LONGEST_NOTE])
    return cause


def assign(*, item_id: uuid.UUID, by: str, instead_of: str = "") -> Intervention:
    """
    See to an item from now on, whoever sees to its cause; `instead_of` whom the person saw doing it.

    Raises Overtaken, and Intervention.DoesNotExist.
    """
    with _deciding(Intervention, item_id) as item:
        _must_stand(item, not item.resolved and (item.assignee or "") == instead_of != by, _ASSIGNEE)
        _write(item, "assigned", by, item.assignee, by, assignee=by)
    return item


def hand_back_item(*, item_id: uuid.UUID, by: str, owner: str = "") -> Intervention:
    """See to an item no longer; `owner` as for a cause. Raises Overtaken, also where another sees to it."""
    with _deciding(Intervention, item_id) as item:
        _must_stand(item, not item.resolved and item.assignee == (owner or by), _ASSIGNEE)
        _write(item, "handed_back", by, item.assignee, None, assignee=None)
    return item


def hand_back_all(*, owner: str, by: str) -> tuple[int, int]:
    """Let whatever somebody sees to be nobody's again, so that alerts are heard; gives how many causes and items."""
    held = Cause.objects.exclude(state=CauseState.RESOLVED).filter(owner=owner).values_list("pk", flat=True)
    items = Intervention.objects.filter(resolved=False, assignee=owner).values_list("pk", flat=True)
    causes = sum(_is_done(partial(hand_back, cause_id=pk, by=by, owner=owner)) for pk in list(held))
    return causes, sum(_is_done(partial(hand_back_item, item_id=pk, by=by, owner=owner)) for pk in list(items))


def snooze_item(*, item_id: uuid.UUID, until: dt.datetime, by: str, at: dt.datetime) -> Intervention:
    """Take an item out of the inbox until then. Raises Overtaken where it is put off or resolved, and WrongMoment."""
    _must_be_ahead(until, at, LONGEST_SNOOZED)
    with _deciding(Intervention, item_id) as item:
        _must_stand(item, not item.resolved and not _is_ahead(item.snoozed_until, at), _PUT_OFF)
        _write(item, "snoozed", by, None, until.isoformat(), snoozed_until=until)
    return item


def unsnooze_item(*, item_id: uuid.UUID, by: str, at: dt.datetime) -> Intervention:
    """Bring an item back that was put off. Raises Overtaken where it is back."""
    with _deciding(Intervention, item_id) as item:
        _must_stand(item, not item.resolved and _is_ahead(item.snoozed_until, at), _PUT_OFF)
        _write(item, "unsnoozed", by, _iso(item.snoozed_until), None, snoozed_until=None)
    return item


def _is_done(act: Callable[[], object]) -> bool:
    try:
        act()
    except Overtaken:
        return False  # somebody took it over meanwhile, or it was resolved
    return True


@contextmanager
def _deciding(model: type[_Found], pk: uuid.UUID) -> Iterator[_Found]:
    """Hold the row, as it stands when nobody else can change it; commit what was decided about it with its line."""
    with patience.bounded():
        found = model._default_manager.select_for_update().get(pk=pk)
        yield found
        reach("interventions.decision.before_commit")
    reach("interventions.decision.after_commit")


def _must_stand(found: _Found, stands: bool, before: Collection[str]) -> None:
    """Raise Overtaken with what was decided last where it does not stand as it must."""
    if stands:
        return
    kind = CAUSE if isinstance(found, Cause) else ITEM
    raise Overtaken(History.objects.of(kind, str(found.pk)).filter(action__in=before).last())


def _must_be_ahead(until: dt.datetime, at: dt.datetime, most: dt.timedelta) -> None:
    if not at < until <= at + most:
        raise WrongMoment


def _write(found: _Found, action: str, by: str, before: str | None, after: str | None, **values: object) -> None:
    for name, value in values.items():
        setattr(found, name, value)
    found.save(update_fields=list(values))
    kind = CAUSE if isinstance(found, Cause) else ITEM
    History.objects.create(
        actor=by, action=action, object_type=kind, object_id=str(found.pk), from_state=before, to_state=after,
        request_id=request_id.get(),
    )  # fmt: skip


def _is_live(cause: Cause) -> bool:
    return cause.state != CauseState.RESOLVED


def _is_ahead(moment: dt.datetime | None, at: dt.datetime) -> bool:
    return moment is not None and moment > at


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _plain(text: str) -> str:
    """Give a note as it is compared: a browser's line ends are those of everybody."""
    return "\n".join(text.strip().splitlines())
