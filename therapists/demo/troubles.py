"""Real troubles for the demo's first start, so that the desk has something to show; nothing here is made up in a log."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from interventions import operations as interventions
from interventions.models import Intervention
from sync import delivery
from therapists.mirrors import PROFILES

# An old column of the public directory holds so much, and the constraint says so.
PHONE_CONSTRAINT, PHONE_MOST = "profiles_phone_short", 40
LONG_PHONE = "+44 7700 900417 (mornings, please let it ring), or +44 7700 900733 after six"
# Triggers of a directory program that nobody maintains any more: one pins a text, one waits for an export that died.
PIN, EXPORT = "legacy_directory_pin", "legacy_directory_export"
# People per trouble, in the order in which they are taken.
GROUPS = LONG_PHONES, ACCEPTED, WITHOUT_PROFILE, PINNED, EXPORTED, MENDED, UNREAD = 3, 1, 2, 1, 1, 3, 1
PEOPLE = sum(GROUPS)
# A list that a form of long ago cut off.
CUT_OFF = '["Trauma", "EMDR'


def seed_troubles(*, decided_by: int) -> None:
    """
    Break a dozen people's copies in the ways that happen, and let the engine find out.

    `decided_by` is the id of the lead who accepts one difference. Afterwards: three numbers refused by a constraint, two profiles missing, one text that does not stay as written,
    one list of specializations that was cut off and cannot be read, one copy that is tried again and again, and four interventions resolved, one of them by a person's decision.
    """
    people = _well_kept(PEOPLE)
    if len(people) < PEOPLE:
        return
    taken = iter(people)
    groups = [[next(taken) for _ in range(size)] for size in GROUPS]
    long_phones, accepted, without_profile, pinned, exported, mended, unread = groups
    with transaction.atomic():
        _refuse_long_phones()
        _install_legacy_program(pinned=pinned[0], exported=exported)
        _write_phones([*long_phones, *accepted], LONG_PHONE)
        _remove_profiles([*without_profile, *mended])
        _run("UPDATE therapist_enrollments SET specialization = %s WHERE user_id = ANY(%s)", [CUT_OFF, unread])
        _edit_bios([*pinned, *exported], " New: evening groups on Tuesdays.")
    delivery.bring_in_line(people)
    _restore_profiles(mended)
    delivery.bring_in_line(mended)
    _accept(accepted, decided_by)


def _well_kept(number: int) -> list[int]:
    """Find approved therapists with all three rows in line, none of the cast."""
    return _rows(
        "SELECT u.id FROM users u JOIN therapist_enrollments e ON e.user_id = u.id"
        " JOIN therapist_profiles p ON p.user_id = u.id"
        " WHERE e.status = 'approved' AND u.is_verified AND p.verification_status = e.status AND u.password = '!'"
        " AND e.full_name = u.full_name AND NOT keepwell_list_differs(p.specialization, e.specialization) AND (p.bio, p.phone, p.experience_years) = (e.bio, e.phone, e.experience_years)"
        " ORDER BY u.id LIMIT %s",
        [number],
    )


def _refuse_long_phones() -> None:
    _run(
        f"ALTER TABLE {PROFILES} DROP CONSTRAINT IF EXISTS {PHONE_CONSTRAINT}, ADD CONSTRAINT {PHONE_CONSTRAINT}"
        f" CHECK (char_length(phone) <= {PHONE_MOST}) NOT VALID"
    )


def _install_legacy_program(*, pinned: int, exported: Sequence[int]) -> None:
    """Two triggers that touch these people only; every other row never meets them."""
    _run(
        f"CREATE OR REPLACE FUNCTION {PIN}() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN NEW.bio := OLD.bio; RETURN NEW; END $$"
    )
    _run(
        f"CREATE OR REPLACE FUNCTION {EXPORT}() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE 'The directory export has not ended.' USING ERRCODE = 'lock_not_available'; END $$"
    )
    for name, people in ((PIN, [pinned]), (EXPORT, exported)):
        _run(
            f"CREATE OR REPLACE TRIGGER {name} BEFORE UPDATE ON {PROFILES} FOR EACH ROW"
            f" WHEN (NEW.user_id IN ({', '.join(str(int(person)) for person in people)})) EXECUTE FUNCTION {name}()"
        )


def _write_phones(people: list[int], phone: str) -> None:
    _run("UPDATE therapist_enrollments SET phone = %s, updated_at = now() WHERE user_id = ANY(%s)", [phone, people])


def _edit_bios(people: list[int], addition: str) -> None:
    _run("UPDATE therapist_enrollments SET bio = bio || %s, updated_at = now() WHERE user_id = ANY(%s)",
         [addition, people])  # fmt: skip


def _remove_profiles(people: list[int]) -> None:
    _run("DELETE FROM therapist_profiles WHERE user_id = ANY(%s)", [people])


def _restore_profiles(people: list[int]) -> None:
    _run("INSERT INTO therapist_profiles (user_id, updated_at) SELECT unnest(%s::bigint[]), now()", [people])


def _accept(people: list[int], by: int) -> None:
    """Record the decision that these differences stay."""
    items = Intervention.objects.filter(resolved=False, person_id__in=people, target=PROFILES)
    interventions.mark_resolved(
        items=items, by=f"user:{by}", may_accept=True, at=timezone.now(),
        note="Both numbers are needed in the file; the public page keeps the first one.",
    )  # fmt: skip


def _run(statement: str, words: list[Any] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, words)


def _rows(statement: str, words: list[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, words)
        return [row[0] for row in cursor.fetchall()]
