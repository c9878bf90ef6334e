"""What people may do with a therapist's data: each operation one transaction on the sources; copies follow by themselves."""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import IntegrityError, connection, transaction
from django.db.models import F, TextField, Value

from interventions import idempotency
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import History
from sync import changes as fact_changes
from sync import delivery, ledger, repair
from sync.delivery import Report
from sync.mirrors import declaration
from sync.strict import SecondBest, allow
from therapists import images, queries, versions
from therapists.models import Enrollment, User, normal_form

logger = logging.getLogger(__name__)

# Copies that cannot be brought in line now stay owed: the workers' floor is under it.
allow("sync_all_therapist_data", SecondBest.DEGRADED)

NAME, EMAIL = "full_name", "email"
ENROLLMENT_FACTS = frozenset({"bio", "experience_years", "specialization", "phone"})
EDITABLE_FACTS = ENROLLMENT_FACTS | {NAME, EMAIL}
ADDRESS_CONSTRAINT = "users_email_norm_unique"
# Longer than any honest transaction holds a row; whoever waits beyond is told to come back.
PRIMARY_LOCK_MS, PRIMARY_STATEMENT_MS = 2_000, 5_000
COMMIT_MS = 300
# One call of fix_all_inconsistencies() works at most so many rounds; what is left stays owed and the sweep takes it.
ROUNDS = 50


class AddressTaken(Exception):
    """Somebody else signs in with this address already, perhaps in another spelling. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


def edit_profile(
    *,
    person_id: int,
    changes: Mapping[str, object],
    by: str,
    at: dt.datetime,
    seen: versions.Version | None = None,
) -> Enrollment:
    """
    Save what a therapist changed about themselves; give the enrollment with its user as they are now.

    `seen`: the version that the changes were made to; what others changed since then beside them stays, too. Raises
    Enrollment.DoesNotExist for a person without one, ValueError for a fact that is not theirs to edit, and strictly, so
    that nothing at all is saved, AddressTaken and versions.ChangedMeanwhile.
    """
    if unknown := set(changes) - EDITABLE_FACTS:
        raise ValueError(f"Not editable: {', '.join(sorted(unknown))}")
    with primary(person_id, by=by):
        if seen is not None:
            versions.refuse_changed(person_id=person_id, changes=changes, seen=seen)
        # In locking order, and each row only when it changes: a lock on a row that we merely copy to is not waited for.
        user = _edited_user(person_id, changes, by) if changes.keys() & {NAME, EMAIL} else None
        if user and EMAIL in changes:
            # Mistyped, or given by somebody who found a session open: the next sign-in asks for a code that is mailed there.
            # Its normal form as it was read: the database makes the new one.
            changed = User.objects.filter(pk=person_id).exclude(email_norm=user.email_norm)
            changed.update(unproven_address=F("email_norm"))
        facts = {fact: value for fact, value in changes.items() if fact in ENROLLMENT_FACTS}
        enrollment, _ = queries.profile("user_id", person_id, is_locked=bool(facts))
        if any(getattr(enrollment, fact) != value for fact, value in facts.items()):
            save_facts(enrollment, facts)
        enrollment.user = user or enrollment.user
        note_revision(enrollment, with_user=True)
    logger.info("therapists.profile.edited", extra={"person_id": person_id, "facts": sorted(changes), "actor": by})
    return enrollment


def change_email(*, person_id: int, email: str, by: str, at: dt.datetime) -> User:
    """
    Give a person another address, strictly: it is saved with its line of history, or nothing is.

    The address given up still finds them: the database keeps it, whoever changes it. Raises AddressTaken and
    User.DoesNotExist.
    """
    with primary(person_id, by=by):
        user = _edited_user(person_id, {EMAIL: email}, by)
        if user is None:
            raise User.DoesNotExist
    return user


def set_avatar(*, person_id: int, upload: images.Upload, by: str, at: dt.datetime) -> Enrollment:
    """
    Make the uploaded image the therapist's avatar: checked, re-encoded, stored durably, and only then named by the row.

    Raises images.ImageRefused, and Enrollment.DoesNotExist for a person without an enrollment. The old file stays
    until no copy names it.
    """
    Enrollment.objects.only("pk").get(user_id=person_id)
    url = images.store(images.reencoded(upload))
    return _name_avatar(person_id, url, by)


def remove_avatar(*, person_id: int, by: str, at: dt.datetime) -> Enrollment:
    """Leave the therapist without an avatar; raises Enrollment.DoesNotExist."""
    return _name_avatar(person_id, None, by)


def sync_all_therapist_data(person_id: int) -> Report:
    """Bring every place of one therapist in line now; what fails stays owed, and becomes an item by the rules."""
    return delivery.bring_in_line([person_id])


def sync_avatar(person_id: int) -> Report:
    """Bring one therapist's avatar in line now. Places are brought in line as a whole: their other facts come along."""
    return delivery.bring_in_line([person_id])


def fix_all_inconsistencies() -> dict[str, int | None]:
    """
    Compare every copy, owe what differs, and work until nothing more is due.

    Gives how many persons differed per target (None: it could not be read), and under `settled` and `failed` what came of it.
    """
    counts = repair.audit(owe=True)
    total = Report()
    for _ in range(ROUNDS):
        done = delivery.drain()
        total.add(done)
        if not done.claimed:
            break
    return counts | {"settled": total.settled, "failed": total.failed}


@contextmanager
def primary(*people: int, by: str = "") -> Iterator[None]:
    """
    Give one transaction that waits for other writers only so long; raises OperationalError then.

    It is signed: what the net writes down of its changes says by whom. The key of the request at hand is written first,
    and its outcome last.
    """
    limits = bounds(PRIMARY_LOCK_MS, PRIMARY_STATEMENT_MS) + fact_changes.signature(by)
    # Copies are made by the COMMIT: what hangs there, somebody's trigger on a copy, is cut short and owed.
    with transaction.atomic(), idempotency.keyed(first=limits, last=bounds(PRIMARY_LOCK_MS, COMMIT_MS)):
        reach("therapists.before_write", people)
        yield
        reach("therapists.before_commit", people)
    reach("therapists.after_commit", people)


def bounds(lock_ms: int, statement_ms: int) -> str:
    """Give the SQL that bounds what a transaction waits for, from then on."""
    return f"SET LOCAL lock_timeout = {lock_ms}; SET LOCAL statement_timeout = {statement_ms}"


def set_bounds(lock_ms: int, statement_ms: int) -> None:
    """Bound what this transaction waits for, from now on."""
    with connection.cursor() as cursor:
        cursor.execute(bounds(lock_ms, statement_ms))


def _edited_user(person_id: int, changes: Mapping[str, object], by: str) -> User | None:
    wanted = {fact: str(changes[fact]) for fact in (NAME, EMAIL) if fact in changes}
    user = User.objects.filter(pk=person_id).first()
    if user is None or all(getattr(user, fact) == value for fact, value in wanted.items()):
        return user
    user = User.objects.select_for_update(no_key=True).get(pk=person_id)
    changed = [fact for fact, value in wanted.items() if getattr(user, fact) != value]
    for fact in changed:
        setattr(user, fact, wanted[fact])
    if EMAIL in changed:
        _claim_address(user)
        History.objects.create(
            actor=by, action="email_changed", object_type="user", object_id=str(person_id), request_id=request_id.get()
        )
    _save_user(user, changed)
    return user


def _claim_address(user: User) -> None:
    """Refuse an address that is taken in any spelling: whoever is told so has waited for no lock."""
    same = User.objects.filter(email_norm=normal_form(Value(user.email, TextField())))
    if same.exclude(pk=user.pk).exists():
        raise AddressTaken


def _save_user(user: User, facts: list[str]) -> None:
    try:
        user.save(update_fields=facts)
    except IntegrityError as error:
        # Two took it at the same moment: the database lets one through.
        named = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        if named == ADDRESS_CONSTRAINT:
            raise AddressTaken from error
        raise


def _name_avatar(person_id: int, url: str | None, by: str) -> Enrollment:
    with primary(person_id, by=by):
        enrollment = Enrollment.objects.select_for_update(no_key=True).get(user_id=person_id)
        if enrollment.profile_image_url != url:
            save_facts(enrollment, {"profile_image_url": url})
        else:
            _make_newest(person_id)
        note_revision(enrollment)
    logger.info("therapists.avatar.named", extra={"person_id": person_id, "removed": url is None, "actor": by})
    return enrollment


def _make_newest(person_id: int) -> None:
    """Number a write that changed nothing here: another place may hold a newer avatar that has not come here yet."""
    newer = "UPDATE therapist_enrollments SET avatar_revision = nextval('sync_revision') WHERE user_id = %s"
    with connection.cursor() as cursor:
        cursor.execute(newer, [person_id])
    ledger.owe(people=[person_id], targets=declaration().targets, reason="asked")


def note_revision(enrollment: Enrollment, *, with_user: bool = False) -> None:
    """Note the number of the write for the key of the request at hand. The user's row is read only by whoever reads or writes it anyway."""
    if idempotency.is_asked():
        person_id = enrollment.user_id if with_user else None
        idempotency.remember(number=versions.number_of(enrollment.pk, person_id=person_id))


def save_facts(enrollment: Enrollment, facts: Mapping[str, object]) -> None:
    """Write these columns of an enrollment and no others, in the caller's transaction."""
    for fact, value in facts.items():
        setattr(enrollment, fact, value)
    # Named fields only: a stale full-row save would be a write like any other.
    enrollment.save(update_fields=[*facts, "updated_at"])
