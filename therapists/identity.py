"""Who is who: enrollments that claim one address, applicants, and profiles whose person is gone."""

import datetime as dt
from dataclasses import dataclass

from django.db import connection
from django.utils.crypto import salted_hmac

from interventions import findings
from interventions.findings import Finding
from sync import statements
from therapists.mirrors import DECLARATION, ENROLLMENTS, PROFILES
from therapists.models import Enrollment, Profile, Status

DUPLICATE, APPROVED_ALONE, ORPHAN = "duplicate_identity", "approved_without_user", "profile_without_user"
# One look lists so many of a kind at most; more are found by the next, once these are gone.
MOST_FOUND = 5_000
QUARANTINE = dt.timedelta(days=90)
# What a person decides field by field; a linked enrollment's name and address are its user's.
MERGED = ("full_name", "phone", "bio", "experience_years", "specialization", "profile_image_url", "status")
BESIDE_STATUS = ("approved_at", "status_reason")
# The rule of design.md 8 after "linked": the same order in which unlinked rows are taken.
RANK = DECLARATION.table(ENROLLMENTS).link_order
FREE = statements.linkable(DECLARATION, DECLARATION.table(ENROLLMENTS))


@dataclass(frozen=True)
class Clash:
    """Enrollments that claim one address, the provisional winner first."""

    members: tuple[Enrollment, ...]

    @property
    def entity_id(self) -> str:
        """What its item is about: the oldest of them."""
        return str(min(member.pk for member in self.members))


_CLASHES = f"""
WITH waiting AS (
    SELECT id, email_norm FROM therapist_enrollments WHERE {FREE}
), claims AS (
    SELECT waiting.id, coalesce('row ' || linked.id, 'address ' || waiting.email_norm) AS clash, linked.id AS linked_id
    FROM waiting LEFT JOIN ({statements.addresses(DECLARATION, "email_norm")}) AS known ON known.address = waiting.email_norm
    LEFT JOIN therapist_enrollments linked ON linked.user_id = known.person_id
), members AS (
    SELECT clash, id FROM claims UNION SELECT clash, linked_id FROM claims WHERE linked_id IS NOT NULL
)
SELECT array_agg(id ORDER BY id) FROM members
WHERE %(of)s::bigint IS NULL OR clash IN (SELECT clash FROM members WHERE id = %(of)s::bigint)
GROUP BY clash HAVING count(*) > 1 ORDER BY min(id) LIMIT {MOST_FOUND + 1}
"""


def review(*, at: dt.datetime) -> dict[str, tuple[int, int]]:
    """
    Look at who is who, and keep one item for each state that needs a person; gives (opened, resolved) by operation.

    Cheap: driven from rows without a person. Writes nothing but items, and since when a profile is quarantined.
    """
    clashes = _clashes()
    lone = _approved_alone({pk for ids in clashes for pk in ids})
    quarantine(at=at)
    orphans = Profile.objects.filter(user=None).count()
    found = {
        DUPLICATE: (ENROLLMENTS, [_duplicate(ids) for ids in clashes]),
        APPROVED_ALONE: (ENROLLMENTS, [Finding(str(pk), f"{ENROLLMENTS}: {APPROVED_ALONE}") for pk in lone]),
        # One for all: they have one cause, and a person decides about the kind.
        ORPHAN: (PROFILES, [Finding(PROFILES, f"{PROFILES}: {orphans} without a user")] if orphans else []),
    }
    return {
        operation: findings.review(
            operation=operation, target=target, findings=rows[:MOST_FOUND], is_complete=len(rows) <= MOST_FOUND, at=at
        )
        for operation, (target, rows) in found.items()
    }


def quarantine(*, at: dt.datetime) -> None:
    """Write down since when a profile has had no user, and forget it for those that have one again."""
    Profile.objects.filter(user=None, quarantined_at=None).update(quarantined_at=at)
    Profile.objects.filter(user__isnull=False, quarantined_at__isnull=False).update(quarantined_at=None)


def clash_of(enrollment_id: int) -> Clash | None:
    """Give the clash that an enrollment is in; None: there is none, or none any more."""
    found = _clashes(of=enrollment_id)
    return Clash(ranked(found[0])) if found else None


def ranked(ids: list[int]) -> tuple[Enrollment, ...]:
    """Give enrollments in the order of the rule: linked, then approved, pending, rejected, then newest, then lowest id."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM therapist_enrollments WHERE id = ANY(%s) ORDER BY (user_id IS NULL), {RANK}", [ids]
        )
        order = [row[0] for row in cursor.fetchall()]
    rows = Enrollment.objects.select_related("user").in_bulk(order)
    return tuple(rows[pk] for pk in order if pk in rows)


def digest(first: Enrollment, second: Enrollment) -> str:
    """Pin what somebody looked at, without holding it."""
    names = ("pk", "user_id", "superseded_by", "set_apart_for", "email_norm", *MERGED, *BESIDE_STATUS)
    seen = [[str(getattr(row, name)) for name in names] for row in sorted((first, second), key=lambda row: row.pk)]
    return salted_hmac("therapists.identity", repr(seen), algorithm="sha256").hexdigest()


def _clashes(of: int | None = None) -> list[list[int]]:
    with connection.cursor() as cursor:
        cursor.execute(_CLASHES, {"of": of})
        return [row[0] for row in cursor.fetchall()]


def _approved_alone(told: set[int]) -> list[int]:
    """Find approved enrollments without a user: not those that gave way, nor what a deleted person left."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM therapist_enrollments WHERE status = %s AND user_id IS NULL AND superseded_by IS NULL"
            f" AND (set_apart_for IS NOT NULL OR {FREE}) AND NOT id = ANY(%s) ORDER BY id LIMIT {MOST_FOUND + 1}",
            [Status.APPROVED, list(told)],
        )
        return [row[0] for row in cursor.fetchall()]


def _duplicate(ids: list[int]) -> Finding:
    return Finding(str(min(ids)), f"{ENROLLMENTS}: {DUPLICATE} ({len(ids)} rows)", members={"enrollments": ids})
