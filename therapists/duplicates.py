"""What a person may decide about two enrollments that claim one address: locked, compared once more, told in history."""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from enum import StrEnum

from interventions import findings
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import History
from therapists import bookings, decisions, identity
from therapists.mirrors import ENROLLMENTS
from therapists.models import DecidedRow, Enrollment, Status, User
from therapists.operations import primary, save_facts

SUBJECT = "enrollment"


class Choice(StrEnum):
    """What becomes of two enrollments of one address; A is the provisional winner."""

    MERGE = "merge"
    KEEP_A = "keep_a"
    KEEP_B = "keep_b"
    TWO_PEOPLE = "two_people"


class DecidedAlready(Exception):
    """Somebody else has decided about these two; `line` is the history of it, where there is one."""

    def __init__(self, line: History | None) -> None:
        super().__init__("These two no longer claim one address.")
        self.line = line


class ChangedMeanwhile(Exception):
    """One of the two was changed after they were compared. Nothing was decided."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def decide(
    *, first_id: int, second_id: int, choice: Choice, picks: Mapping[str, str], compared: str, by: str, at: dt.datetime
) -> Enrollment:
    """
    End the clash of two enrollments as a person decided; give the one that stands for the address from now on.

    `picks` says for a merge, fact by fact, from which side ("a" or "b") it is taken; what is not named stays A's.
    `compared` is the digest of what the person saw: both are locked and compared again. The row that gives way is kept
    as it is and takes no part any more. Raises DecidedAlready, ChangedMeanwhile and ValueError for unknown picks.
    """
    if unknown := set(picks) - set(identity.MERGED) | set(picks.values()) - {"a", "b"}:
        raise ValueError(f"Not to be picked: {', '.join(sorted(unknown))}")
    with primary(*_people(first_id, second_id), by=by):
        first, second = _locked(first_id, second_id)
        clash = identity.clash_of(first.pk)
        if clash is None or second.pk not in {member.pk for member in clash.members}:
            raise DecidedAlready(last_decision(first_id, second_id))
        if identity.digest(first, second) != compared:
            raise ChangedMeanwhile
        first, second = identity.ranked([first.pk, second.pk])
        reach("therapists.merge.before_write", _people(first.pk, second.pk))
        before = {row.pk: decisions.image(row) for row in (first, second)}
        match choice:
            case Choice.MERGE:
                kept, other = first, second
                _take_over(kept, other, picks, by)
            case Choice.KEEP_A | Choice.TWO_PEOPLE:
                kept, other = first, second
            case Choice.KEEP_B:
                kept, other = second, first
        _give_way(kept, other, choice)
        _call_off([kept], by, at)
        decisions.keep(before=before, rows=(first, second), choice=choice, by=by, at=at)
        History.objects.bulk_create(
            _line(row, f"duplicate:{choice}", by, to=f"{SUBJECT} {kept.pk}") for row in (kept, other)
        )
        findings.decided(operation=identity.DUPLICATE, target=ENROLLMENTS, entity_ids=[clash.entity_id], by=by, at=at)
    return kept


def undo(*, decision: uuid.UUID, by: str, at: dt.datetime) -> int | None:
    """
    Give both enrollments back every column that a decision changed, as it was, byte for byte; then they clash again.

    Gives the person whom one of them belongs to. Raises DecidedAlready where it was undone or is not on record any
    more, and ChangedMeanwhile, with nothing changed, where one of these columns was changed since.
    """
    found = DecidedRow.objects.filter(decision=decision, undone_at=None)
    ids = list(found.values_list("enrollment_id", flat=True))
    if len(ids) != 2:
        raise DecidedAlready(last_decision(*decisions.enrollments(decision)))
    with primary(*_people(*ids), by=by):
        rows = {row.pk: row for row in _locked(*ids)}
        changes = {change.enrollment_id: change for change in found.select_for_update()}
        if set(changes) != set(rows):
            raise DecidedAlready(last_decision(*ids))
        for pk, change in changes.items():
            now = decisions.image(rows[pk])
            if any(now[name] != text for name, text in change.after.items()):
                raise ChangedMeanwhile
        # A user belongs to one enrollment at every moment: whoever has one now gives it up first.
        for pk in sorted(rows, key=lambda pk: changes[pk].after.get("user_id") is None):
            if facts := decisions.values(changes[pk].before):
                save_facts(rows[pk], facts)
        found.update(undone_at=at)
        _call_off(rows.values(), by, at)
        History.objects.bulk_create(_line(row, "duplicate:undone", by, to=None) for row in rows.values())
    return next((row.user_id for row in rows.values() if row.user_id is not None), None)


def last_decision(*enrollment_ids: int) -> History | None:
    """Give the newest line of history about a decision on one of these enrollments."""
    ids = [str(pk) for pk in enrollment_ids]
    lines = History.objects.filter(object_type=SUBJECT, object_id__in=ids, action__startswith="duplicate:")
    return lines.order_by("-id").first()


def _locked(first_id: int, second_id: int) -> tuple[Enrollment, Enrollment]:
    """Lock in the order in which everybody locks: the persons, then their enrollments."""
    ids = [first_id, second_id]
    list(User.objects.select_for_update(no_key=True).filter(pk__in=_people(*ids)).order_by("pk"))
    rows = {row.pk: row for row in Enrollment.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")}
    if set(rows) != set(ids) or first_id == second_id:
        raise DecidedAlready(last_decision(first_id, second_id))
    return rows[first_id], rows[second_id]


def _people(*enrollment_ids: int) -> list[int]:
    linked = Enrollment.objects.filter(pk__in=enrollment_ids, user__isnull=False)
    return [person for person in linked.values_list("user_id", flat=True) if person is not None]


def _take_over(kept: Enrollment, other: Enrollment, picks: Mapping[str, str], by: str) -> None:
    facts = {
        fact: getattr(other, fact)
        for fact, side in picks.items()
        if side == "b" and (fact != "full_name" or kept.user_id is None) and getattr(kept, fact) != getattr(other, fact)
    }
    if "status" in facts:
        facts |= {name: getattr(other, name) for name in identity.BESIDE_STATUS}
        History.objects.bulk_create([_line(kept, "status_merged", by, was=kept.status, to=other.status)])
    if facts:
        save_facts(kept, facts)


def _give_way(kept: Enrollment, other: Enrollment, choice: Choice) -> None:
    if choice is Choice.TWO_PEOPLE:
        # Only for this address: with another one of its own it may be linked like any row.
        save_facts(other, {"set_apart_for": other.email_norm})
        return
    person = other.user_id
    save_facts(other, {"superseded_by": kept.pk, "user_id": None})
    if person is not None:
        save_facts(kept, {"user_id": person})


def _call_off(rows: Iterable[Enrollment], by: str, at: dt.datetime) -> None:
    """End what is booked with people who are not approved any more, as a rejection does."""
    people = [row.user_id for row in rows if row.user_id is not None and row.status != Status.APPROVED]
    if people:
        bookings.call_off(people=people, by=by, at=at)


def _line(row: Enrollment, action: str, by: str, *, to: str | None, was: str | None = None) -> History:
    return History(
        actor=by, action=action, object_type=SUBJECT, object_id=str(row.pk), from_state=was, to_state=to,
        request_id=request_id.get(),
    )  # fmt: skip
